"""A lazy Dask array that says how large it is before it is made dense in one piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array
from dask.utils import format_bytes

from recscale_dask.errors import OptionError


class Rectangle(dask.array.Array):  # type: ignore[misc]
    """A Dask array that refuses to become one NumPy array of more than `limit` bytes.

    Only the whole: its slices, and what is computed of it, are plain Dask arrays, and stores such as ``to_zarr``
    take it chunk by chunk.
    """

    limit: int | None = None

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what puts the chunks together: what every way to compute a collection asks for first.

        Raises
        ------
        OptionError
            If the result is larger than the limit.
        """
        if self.limit is not None and self.nbytes > self.limit:
            n_users, n_items = self.shape
            raise OptionError(
                f"the dense product of {n_users} users and {n_items} items takes {format_bytes(self.nbytes)}, more "
                f"than the limit of {format_bytes(self.limit)}. Write it with .to_zarr(path), iterate over "
                "model.rows(users), ask for fewer users or items, or pass limit=None to reconstruct."
            )
        found: tuple[Callable[..., Any], tuple[Any, ...]] = super().__dask_postcompute__()
        return found
