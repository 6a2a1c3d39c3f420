"""Codes of ids that stream by: first ones in the order of arrival, and in the end those of a sorted vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.vocabulary import MAX_IDS, Vocabulary
from recscale_dask.errors import DataError
from recscale_dask.linalg.id_tables import (
    code_bytes,
    code_integers,
    count_offsets,
    fill_slots,
    hash_bytes,
    hash_integers,
)
from recscale_dask.types import Codes

_FEW = 1 << 18  # integers of so narrow a range need not be counted to know that they fit
WIDEST = 1 << 24
"""Widest range of integers that are counted in an array rather than looked up in a table; 128 MB."""

_FIRST_ROOM = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """What turns the numbers of some rows into codes: ``codes[number - first]``."""

    codes: Codes
    first: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """All ids that streamed by.

    Attributes
    ----------
    vocabulary : Vocabulary
        Sorted.
    counts : ndarray of int64, shape (n_ids,)
        Rows of each.
    lookups : tuple of Lookup
        One per epoch of the numbers that `Ids.add` returned.
    """

    vocabulary: Vocabulary
    counts: NDArray[np.int64]
    lookups: tuple[Lookup, ...]


class Ids(Protocol):
    """Ids that stream by."""

    epoch: int
    """Of the numbers that were returned last: which of the lookups they are for."""

    def add(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return a number for each id of a column without nulls."""
        ...

    def finish(self) -> Coded:
        """Return what the numbers mean."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        ...

    @property
    def most(self) -> int:
        """How many there are at most, of those that were added."""
        ...


def ids_of(kind: pa.DataType, *, exact_text: bool) -> Ids:
    """Return an empty collection of ids of an Arrow type.

    Parameters
    ----------
    kind : pyarrow.DataType
        Integers of any width, (large) strings, fixed-size binary or UUIDs.
    exact_text : bool
        Whether text becomes integers if all ids survive that and back.

    Raises
    ------
    DataError
        If ids cannot be of this type.
    """
    if pa.types.is_integer(kind):
        return IntegerIds(kind)
    fixed = pa.types.is_fixed_size_binary(kind) or isinstance(kind, pa.UuidType)
    if fixed or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ByteIds(kind, exact_text=exact_text)
    raise DataError(f"ids must be integers, strings or UUIDs, not {kind}; convert the column first.")


class IntegerIds:
    """Integers: counted by how far they are from the first while that is narrow, then in a hash table."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self.epoch = 0
        self._anchor: int | None = None
        self._first = 0
        self._counts = np.zeros(0, np.int64)
        self._table: _IntegerTable | None = None
        self._early = np.empty(0, np.int64)  # offsets that were seen before there was a table

    def add(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return a number for each id of a column without nulls."""
        parts = [self._add(_as_int64(chunk)) for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def _add(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        if self._table is None:
            least, most = int(ids.min()), int(ids.max())
            if self._anchor is None:
                self._anchor = least
            if self._make_room(least - self._anchor, most - self._anchor):
                offsets = np.empty(len(ids), np.int32)
                count_offsets(ids, self._anchor, self._first, self._counts, offsets)
                return offsets
            self._early = self._first + np.flatnonzero(self._counts)
            self._table = _IntegerTable()
            self._table.add(self._anchor + self._early)
            self._table.counts[: len(self._early)] = self._counts[self._early - self._first]
            self._counts = np.zeros(0, np.int64)
            self.epoch = 1
        return self._table.add(ids)

    def _make_room(self, least: int, most: int) -> bool:
        """Widen the range of counts to these offsets; return whether it is narrow enough."""
        first, stop = min(self._first, least), max(self._first + len(self._counts), most + 1)
        if stop - first > WIDEST:
            return False
        if stop - first > len(self._counts):
            spare = min(WIDEST - (stop - first), stop - first)  # so that copying costs little in all
            low = spare // 2 if least < self._first else 0
            wider = np.zeros(stop - first + spare, np.int64)
            at = self._first - (first - low)
            wider[at : at + len(self._counts)] = self._counts
            self._first, self._counts = first - low, wider
        return True

    def finish(self) -> Coded:
        """Return what the numbers mean."""
        early = self._early if self._table is not None else self._first + np.flatnonzero(self._counts)
        anchor = self._anchor or 0
        if self._table is None:
            ids, counts = anchor + early, self._counts[early - self._first]
        else:
            ids, counts = self._table.ids(), self._table.known_counts()
        signed = pa.array(ids.view(np.uint64) if self._kind == pa.uint64() else ids)
        vocabulary, codes = Vocabulary.from_ids(signed.cast(self._kind))
        lookups = []
        low = int(early[0]) if len(early) else 0
        by_offset = np.full(int(early[-1]) - low + 1 if len(early) else 0, -1, np.int32)
        by_offset[early - low] = codes[: len(early)]
        lookups.append(Lookup(by_offset, low))
        if self._table is not None:
            lookups.append(Lookup(codes))
        return Coded(vocabulary, _by_code(counts, codes), tuple(lookups))

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return self._counts.nbytes + (self._table.nbytes if self._table is not None else 0)

    @property
    def most(self) -> int:
        """How many there are at most, of those that were added."""
        if self._table is not None:
            return self._table.n
        return len(self._counts) if len(self._counts) <= _FEW else int(np.count_nonzero(self._counts))


class ByteIds:
    """Text, UUIDs and fixed-size binary."""

    epoch = 0

    def __init__(self, kind: pa.DataType, *, exact_text: bool) -> None:
        self._kind = kind
        self._exact_text = exact_text
        self._table = _ByteTable()

    def add(self, column: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return a number for each id of a column without nulls."""
        parts = [self._table.add(*_as_bytes(chunk)) for chunk in column.chunks if len(chunk)]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def finish(self) -> Coded:
        """Return what the numbers mean."""
        data, starts = self._table.known_bytes()
        ids = _from_bytes(data, starts, self._kind)
        if self._exact_text:
            ids = _exact(ids)
        vocabulary, codes = Vocabulary.from_ids(ids)
        return Coded(vocabulary, _by_code(self._table.known_counts(), codes), (Lookup(codes),))

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return self._table.nbytes

    @property
    def most(self) -> int:
        """How many there are, of those that were added."""
        return self._table.n


class _IntegerTable:
    def __init__(self) -> None:
        self.n = 0
        self._slots = np.full(2 * _FIRST_ROOM, -1, np.int32)
        self._known = np.empty(_FIRST_ROOM, np.int64)
        self.counts = np.empty(_FIRST_ROOM, np.int64)

    def add(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        codes, hashes, row = np.empty(len(ids), np.int32), np.empty(len(ids), np.uint64), 0
        hash_integers(ids, hashes)
        while row < len(ids):
            room = len(self._known)
            row, self.n = code_integers(ids, hashes, self._slots, self._known, self.counts, self.n, room, row, codes)
            if row < len(ids):
                self._known, self.counts = _longer(self._known), _longer(self.counts)
                self._slots = np.full(2 * len(self._known), -1, np.int32)
                hashes_known = np.empty(self.n, np.uint64)
                hash_integers(self.ids(), hashes_known)
                fill_slots(hashes_known, self._slots)
        return codes

    def ids(self) -> NDArray[np.int64]:
        return self._known[: self.n]

    def known_counts(self) -> NDArray[np.int64]:
        return self.counts[: self.n]

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes + self._known.nbytes + self.counts.nbytes


class _ByteTable:
    def __init__(self) -> None:
        self.n = 0
        self._slots = np.full(2 * _FIRST_ROOM, -1, np.int32)
        self._hashes = np.empty(_FIRST_ROOM, np.uint64)
        self._counts = np.empty(_FIRST_ROOM, np.int64)
        self._starts = np.zeros(_FIRST_ROOM + 1, np.int64)
        self._known = np.empty(16 * _FIRST_ROOM, np.uint8)

    def add(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int32]:
        n = len(offsets) - 1
        codes, hashes, row = np.empty(n, np.int32), np.empty(n, np.uint64), 0
        hash_bytes(data, offsets, hashes)
        while row < n:
            row, self.n = code_bytes(
                data,
                offsets,
                hashes,
                self._slots,
                self._hashes,
                self._known,
                self._starts,
                self._counts,
                self.n,
                len(self._counts),
                row,
                codes,
            )
            if row < n and self.n < len(self._counts):
                needed = int(self._starts[self.n] + offsets[row + 1] - offsets[row])
                self._known = _longer(self._known, needed)
            elif row < n:
                self._hashes, self._counts = _longer(self._hashes), _longer(self._counts)
                self._starts = _longer(self._starts, len(self._counts) + 1)
                self._slots = np.full(2 * len(self._counts), -1, np.int32)
                fill_slots(self._hashes[: self.n], self._slots)
        return codes

    def known_bytes(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        starts = self._starts[: self.n + 1]
        return self._known[: starts[-1]], starts

    def known_counts(self) -> NDArray[np.int64]:
        return self._counts[: self.n]

    @property
    def nbytes(self) -> int:
        arrays = (self._slots, self._hashes, self._counts, self._starts, self._known)
        return sum(each.nbytes for each in arrays)


def _longer(array: NDArray[Any], needed: int = 0) -> NDArray[Any]:
    if len(array) >= MAX_IDS and not needed:
        raise DataError(f"there are more than the {MAX_IDS} distinct ids that are possible. Split the data.")
    longer = np.empty(max(2 * len(array), needed), array.dtype)
    longer[: len(array)] = array
    return longer


def _by_code(counts: NDArray[np.int64], codes: Codes) -> NDArray[np.int64]:
    sorted_counts = np.empty(len(counts), np.int64)
    sorted_counts[codes] = counts
    return sorted_counts


def _as_int64(chunk: pa.Array) -> NDArray[np.int64]:
    numbers = chunk.to_numpy(zero_copy_only=True)
    return _read_only(numbers.view(np.int64) if numbers.dtype == np.uint64 else numbers.astype(np.int64, copy=False))


def _as_bytes(chunk: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of ids, and where each begins; the last entry is where the last ends."""
    if isinstance(chunk, pa.ExtensionArray):
        chunk = chunk.storage
    data = chunk.buffers()[-1]
    letters = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    if pa.types.is_fixed_size_binary(chunk.type):
        width = chunk.type.byte_width
        offsets = np.arange(chunk.offset, chunk.offset + len(chunk) + 1, dtype=np.int64) * width
    else:
        kind = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        entries = np.frombuffer(chunk.buffers()[1], kind)
        offsets = entries[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    return _read_only(letters), offsets


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that kernels compiled once take, whoever owns the memory."""
    view = array.view()
    view.flags.writeable = False
    return view


def _from_bytes(data: NDArray[np.uint8], starts: NDArray[np.int64], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, _from_bytes(data, starts, kind.storage_type))
    if pa.types.is_fixed_size_binary(kind):
        return pa.Array.from_buffers(kind, len(starts) - 1, [None, pa.py_buffer(data)])
    return pa.LargeStringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(data))


def _exact(ids: pa.Array) -> pa.Array:
    """Return text as int64 where all of it survives that and back; see `recscale_dask.io.frames.with_exact_ids`."""
    from recscale_dask.io.frames import with_exact_ids

    return with_exact_ids(pa.table({"id": ids}), ["id"])["id"]
