"""A job on its way to the process that is connected to Ray."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.execution.shared_file import FileRecipe


@dataclass(frozen=True, slots=True)
class Shipment:
    """A job on its way.

    Attributes
    ----------
    index : int
        Its number.
    data : bytes
        The packed job.
    keys : tuple of str
        The values that stand in its places.
    blank : FileRecipe or None
        A file for a large result.
    """

    index: int
    data: bytes = b""
    keys: tuple[str, ...] = ()
    blank: FileRecipe | None = None
