"""How an ingest divides the memory that it may take."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.errors import OptionError
from recscale_dask.execution.memory import byte_text

_PROCESS = 512 << 20  # of Python, its libraries, and what they hold while they decode a piece
_LEAST = 256 << 20
_SORTING_BYTES = 160  # a row, while it is sorted and combined
_THREADS = 2

SORTED_ID = 230
"""Bytes of each different id while Arrow finds out its place: a hash table of more than twice the size."""


@dataclass(frozen=True, slots=True)
class Room:
    """Sizes that follow from a limit of memory; the store does not depend on them.

    Attributes
    ----------
    limit : int or None
        Bytes that the process may take in all.
    """

    limit: int | None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < _PROCESS + _LEAST:
            raise OptionError(
                f"memory_limit={byte_text(self.limit)} is too small for any ingest: Python and its libraries alone "
                f"take {byte_text(_PROCESS)}. Give {byte_text(_PROCESS + _LEAST)} or more."
            )

    @property
    def chunk_rows(self) -> int:
        """Rows that are written at a time, and then put into groups."""
        return min(1 << 22, self._free // 160)

    @property
    def group_rows(self) -> int:
        """Rows that are sorted at a time, on each of a few threads."""
        return min(1 << 21, self._free // 2 // _THREADS // _SORTING_BYTES)

    def check_ids(self, nbytes: int, n_ids: int, n_rows: int) -> None:
        """Raise an OptionError if ids alone take more than there is.

        Parameters
        ----------
        nbytes : int
            Of the ids of users and items.
        n_ids : int
            Of the kind of which there are more: users and items are sorted one after the other.
        n_rows : int
            That were read.
        """
        needed = nbytes + SORTED_ID * n_ids
        if self.limit is not None and needed > self._free:
            raise OptionError(
                f"memory_limit={byte_text(self.limit)} is too small: the different ids in the first {n_rows:,} rows "
                f"take {byte_text(needed)} when they are sorted. Give {byte_text(_PROCESS + 2 * needed)} or more."
            )

    def check_user(self, rows: int, user: object) -> None:
        """Raise an OptionError if the rows of one user, which are sorted together, take more than there is."""
        needed = _PROCESS + rows * _SORTING_BYTES
        if self.limit is not None and needed > self.limit:
            raise OptionError(
                f"memory_limit={byte_text(self.limit)} is too small: the {rows:,} rows of user {user!r} are sorted "
                f"together. Give {byte_text(needed)} or more, or leave that user out."
            )

    @property
    def _free(self) -> int:
        return (1 << 40) if self.limit is None else self.limit - _PROCESS
