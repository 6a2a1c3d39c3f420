"""Reports on disk."""

from __future__ import annotations

import os
from importlib.metadata import version

from recscale_dask.outputs import written_file
from recscale_dask.page import Page


def write_page(page: Page, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a page to a file that appears whole or not at all.

    Raises
    ------
    OutputError
        If it exists (and `overwrite` is false) or cannot be written.
    """
    footer = f"Made by recscale_dask {version('recscale-dask')}. This page is one file, and loads nothing."
    with written_file(path, overwrite=overwrite) as beside:
        beside.write_text(page.html(footer), encoding="utf-8")
