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
    """Return the interactions in a file or frame; see `recscale_dask.io.interactions.read_interactions`.

    Formats are the built-in ones and those that plugins register.
    """
    manager = plugin_manager()

    def reader(name: str) -> Any:
        return lambda source, columns: manager.resolve("readers", name)(source, columns)

    readers = {offer.spec.name: reader(offer.spec.name) for offer in manager.offers("readers")}
    return interactions.read_interactions(
        source, user=user, item=item, value=value, time=time, format=format, readers=readers
    )


read_interactions.__doc__ = interactions.read_interactions.__doc__
