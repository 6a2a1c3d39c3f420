"""Reports on disk."""

from __future__ import annotations

import os
from importlib.metadata import version

from recscale_dask.outputs import check_file, check_suffix, written_file
from recscale_dask.page import Page


def check_page(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise an OutputError if a page cannot be written there, before any work is done."""
    check_file(path, overwrite=overwrite)
    check_suffix(path, "HTML", (".html", ".htm"))


def write_page(page: Page, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a page to a file that appears whole or not at all.

    Raises
    ------
    OutputError
        If it exists (and `overwrite` is false), cannot be written, or ends in neither .html nor .htm.
    """
    check_page(path, overwrite=overwrite)
    footer = f"Made by recscale_dask {version('recscale-dask')}. This page is one file, and loads nothing."
    with written_file(path, overwrite=overwrite) as beside:
        beside.write_text(page.html(footer), encoding="utf-8")
