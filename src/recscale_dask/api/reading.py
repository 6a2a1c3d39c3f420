"""Reading interactions, with the formats that plugins add."""

from __future__ import annotations

from typing import Any

from recscale_dask.api.plugins import plugin_manager
from recscale_dask.data.interactions import Interactions
from recscale_dask.io import interactions
from recscale_dask.io.frames import Column


def read_interactions(
    source: Any,
    *,
    user: Column = None,
    item: Column = None,
    value: Column = None,
    time: Column = None,
    format: str | None = None,
) -> Interactions:
    """Return the interactions in a file or frame, with every id as it was and every value checked.

    Parameters
    ----------
    source : path or frame
        A path, folder, glob or fsspec URL of CSV, TSV, MovieLens ``::``, Parquet or Arrow IPC files, or a
        list of these; or a pandas, Polars, PyArrow, DuckDB, Dask or Spark frame.
    user, item : str or int, optional
        Column names, or positions counting from 0 (the way for text files without a header). Guessed from
        well-known names such as ``userId`` and ``movie_id`` if there is one guess. Text without a header
        that starts with numbers is read as user, item, value, time.
    value, time : str, int or False, optional
        As above, and False to ignore such a column. Without values every row counts 1.
    format : {"csv", "tsv", "movielens", "parquet", "arrow", "adjacency"} or that of a plugin, optional
        Told from the suffix or the first bytes, except ``"adjacency"``: lines of ``user item item ...``.

    Raises
    ------
    DataError
        If the source is missing, empty or malformed, or a column cannot be found; the message says where.
    UnknownNameError
        If nothing reads that format.
    OptionError
        If a format is given with a frame.
    PluginError
        If what reads that format is broken.

    Notes
    -----
    Ids in text files become integers only when all in their column survive that and back, so that ``007``
    stays text.
    """
    manager = plugin_manager()

    def reader(name: str) -> Any:
        return lambda source, columns: manager.resolve("readers", name)(source, columns)

    readers = {offer.spec.name: reader(offer.spec.name) for offer in manager.offers("readers")}
    return interactions.read_interactions(
        source, user=user, item=item, value=value, time=time, format=format, readers=readers
    )
