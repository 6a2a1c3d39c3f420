"""Ids and their codes: which user or item each row or column of the matrix stands for."""

from __future__ import annotations

import hashlib
import uuid
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recscale_dask.errors import DataError, OptionError, UnknownIdError, UnknownIdWarning
from recscale_dask.types import Codes, IntArray

MAX_IDS = 2**31 - 1
"""Codes are int32; no vocabulary is larger."""

_SHOWN = 60  # characters of an id in a message
_PIECE = 1 << 16  # ids that are looked up in the cache


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Distinct ids; the code of an id is its position.

    Parameters
    ----------
    ids : pyarrow.Array of shape (n,)
        Integers of any width, strings, fixed-size binary or ``arrow.uuid``, distinct. `from_ids` makes one of
        anything else and sorts it, so that codes do not depend on the order of the input; behind those, ids that
        came later (`extended`) follow in the order that they came in.
    """

    ids: pa.Array

    @classmethod
    def from_ids(cls, ids: Any) -> tuple[Vocabulary, Codes]:
        """Return the vocabulary of these ids, and the code of each.

        Parameters
        ----------
        ids : array_like of shape (n,)
            A list, NumPy array or Arrow array of integers, strings, UUIDs or fixed-size binary.

        Returns
        -------
        vocabulary : Vocabulary
        codes : ndarray of shape (n,), int32

        Raises
        ------
        DataError
            If an id is null, the ids are of another type or of several, or more than 2**31 - 1 are distinct.
        """
        column = _id_column(ids)
        if not len(column):
            return cls(column.combine_chunks()), np.empty(0, dtype=np.int32)
        encoded = _storage(column).dictionary_encode().unify_dictionaries()
        distinct = encoded.chunk(0).dictionary
        if pa.types.is_large_string(column.type):
            distinct = distinct.cast(pa.string())
        if len(distinct) > MAX_IDS:
            raise DataError(f"{len(distinct)} distinct ids are more than the {MAX_IDS} possible. Split the data.")
        order = pc.sort_indices(distinct)
        rank = np.empty(len(distinct), dtype=np.int32)
        rank[order.to_numpy()] = np.arange(len(distinct), dtype=np.int32)
        codes = rank[np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])]
        return cls(_with_type(distinct.take(order), column.type)), codes

    def extended(self, ids: Any) -> tuple[Vocabulary, Codes]:
        """Return this vocabulary with what is new of these ids behind it, sorted, and the code of each of them.

        Codes of ids that it has already stay what they are.

        Parameters
        ----------
        ids : array_like of shape (n,)
            As for `from_ids`. Ids of another type become ids of the type of this vocabulary: text that is the usual
            form of an integer or a UUID, or integers as text. Integers that are too wide make it int64.

        Returns
        -------
        vocabulary : Vocabulary
            This one if nothing is new.
        codes : ndarray of shape (n,), int32

        Raises
        ------
        DataError
            If an id is null or cannot be one of this type, or there are more than 2**31 - 1.
        """
        if not len(self):
            return Vocabulary.from_ids(ids)
        given, own = Vocabulary.from_ids(ids)
        codes = self.codes(given.ids, missing="ignore").copy()
        new = np.flatnonzero(codes < 0)
        if not len(new):
            return self, codes[own]
        if len(self) + len(new) > MAX_IDS:
            raise DataError(f"{len(self) + len(new)} ids are more than the {MAX_IDS} possible. Split the data.")
        added, order = Vocabulary.from_ids(_converted(given.take(new), self.ids.type))
        codes[new] = order + np.int32(len(self))
        known = self.ids if self.ids.type == added.ids.type else self.ids.cast(added.ids.type)
        return Vocabulary(pa.concat_arrays([known, added.ids])), codes[own]

    @classmethod
    def range(cls, n: int) -> Vocabulary:
        """Return the ids 0 to n - 1 (int64), for a matrix that has none of its own."""
        return cls(pa.array(np.arange(n, dtype=np.int64)))

    def codes(self, ids: Any, *, missing: Literal["raise", "warn", "ignore"] = "raise", kind: str = "id") -> Codes:
        """Return the code of each id.

        Parameters
        ----------
        ids : array_like of shape (n,)
            As for `from_ids`. Ids of another type are compared as text, so ``"12"`` finds the integer 12
            (and ``"012"`` does not), and a UUID is found by its usual lower-case text.
        missing : {"raise", "warn", "ignore"}
            What to do about unknown ids; ``"warn"`` and ``"ignore"`` give them the code -1.
        kind : str
            What the ids stand for, such as ``"user"``; used in messages only.

        Returns
        -------
        ndarray of shape (n,), int32

        Raises
        ------
        UnknownIdError
            If ids are unknown, with up to five of them.
        DataError
            If an id is null, or of a type that cannot be compared with this vocabulary.

        Warns
        -----
        UnknownIdWarning
            With ``missing="warn"``, if ids are unknown.
        """
        if missing not in ("raise", "warn", "ignore"):
            raise OptionError(f"missing={missing!r} is not a choice; use 'raise', 'warn' or 'ignore'.")
        column = _id_column(ids)
        codes = self._codes(column)
        if missing != "ignore" and len(codes) and codes.min() < 0:
            unknown = column.filter(pa.array(codes < 0)).unique()
            shown = ", ".join(_shown(each) for each in unknown[:5]) + (", ..." if len(unknown) > 5 else "")
            count = f"{len(unknown)} unknown {kind}{'s' if len(unknown) > 1 else ''}"
            if missing == "warn":
                warnings.warn(f"{count} skipped: {shown}", UnknownIdWarning, stacklevel=2)
            else:
                known_ids = "from {} to {}".format(*map(_shown, self._ends())) if len(self) else "none at all"
                raise UnknownIdError(f"{count}: {shown}. Known are {len(self)}, {known_ids}; leave the others out.")
        return codes

    def _codes(self, column: pa.ChunkedArray) -> Codes:
        if self._first is not None and _fits_int64(column.type):
            gapless = np.empty(len(column), np.int32)
            for start in range(0, len(column), _PIECE):
                numbers = column.slice(start, _PIECE).cast(pa.int64()).to_numpy()
                places = numbers - np.int64(self._first)  # wraps around far below the first
                known = places.view(np.uint64) < len(self)
                gapless[start : start + _PIECE] = np.where(known, places, -1)
            return gapless
        found = pc.index_in(*_comparable(column, self.ids))
        codes: Codes = pc.fill_null(found, -1).to_numpy().astype(np.int32, copy=False)
        return codes

    @property
    def is_range(self) -> bool:
        """Whether the ids are 0, 1, 2, ..., which is what rows and columns without ids have."""
        return self._first == 0

    @cached_property
    def _first(self) -> int | None:
        """The first of integer ids without a gap, whose codes need no table; None for others."""
        if not len(self) or not _fits_int64(self.ids.type):
            return None
        first, last = int(self.ids[0].as_py()), int(self.ids[-1].as_py())
        if last - first != len(self) - 1:
            return None
        for start in range(0, len(self), _PIECE):  # ids that came later may be anywhere
            numbers = self.ids.slice(start, _PIECE).cast(pa.int64()).to_numpy()
            if not np.array_equal(numbers, np.arange(first + start, first + start + len(numbers))):
                return None
        return first

    def _ends(self) -> tuple[pa.Scalar, pa.Scalar]:
        """Return the smallest and the largest id."""
        ends = pc.min_max(_storage(self.ids))
        both = _with_type(pa.array([ends["min"], ends["max"]]), self.ids.type)
        return both[0], both[1]

    def take(self, codes: IntArray) -> pa.Array:
        """Return the ids of these codes, a pyarrow.Array of the type of `ids`."""
        return self.ids.take(pa.array(codes))

    def text(self) -> pa.Array:
        """Return every id as text, in the order of codes; fixed-size binary ids have none (DataError)."""
        return _text(pa.chunked_array([self.ids])).combine_chunks()

    def fingerprint(self) -> str:
        """Return a SHA-256 (hex) of the type and the ids, equal for equal vocabularies on every machine."""
        digest = hashlib.sha256(f"{self.ids.type}:{len(self)}:".encode())
        stored = pa.concat_arrays([_storage(self.ids)])  # own buffers: no offset left over from a slice
        if pa.types.is_string(stored.type):
            digest.update(pc.binary_length(stored).to_numpy().astype("<i4").tobytes())
        if len(stored):
            width = 0 if pa.types.is_string(stored.type) else stored.type.bit_width // 8
            start = stored.offset * width
            size = width * len(stored) or pc.sum(pc.binary_length(stored)).as_py()
            digest.update(memoryview(stored.buffers()[-1] or b"")[start : start + size])
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return bool(self.ids.type == other.ids.type and _storage(self.ids).equals(_storage(other.ids)))

    __hash__ = None  # type: ignore[assignment]


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without dictionary encoding, and string views as large strings (Arrow casts neither well)."""
    if pa.types.is_dictionary(column.type):
        kind = column.type.value_type
        values = [decoded(pa.chunked_array([chunk.dictionary])).combine_chunks() for chunk in column.chunks]
        parts = [known.take(chunk.indices) for known, chunk in zip(values, column.chunks, strict=True)]
        return pa.chunked_array(parts, None if parts else kind)
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _id_column(ids: Any) -> pa.ChunkedArray:
    """Return ids as a chunked array of a type that a vocabulary can hold."""
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        ids = _from_python(ids)
    column = ids if isinstance(ids, pa.ChunkedArray) else pa.chunked_array([ids])
    column = decoded(column)
    if pa.types.is_null(column.type) and len(column) == 0:
        column = column.cast(pa.string())
    kind = column.type
    if not (pa.types.is_integer(kind) or _is_text(kind) or _is_fixed(kind) or _is_uuid(kind)):
        raise DataError(f"ids must be integers, strings or UUIDs, not {kind}; convert the column first.")
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py() + 1
        raise DataError(f"id number {row} of {len(column)} is null; leave out what has no id.")
    return column


def _from_python(ids: Any) -> pa.Array:
    if isinstance(ids, range):
        ids = np.arange(ids.start, ids.stop, ids.step)
    values = ids if isinstance(ids, np.ndarray) else list(ids)
    try:
        if len(values) and isinstance(values[0], uuid.UUID):
            return _with_type(pa.array([each.bytes for each in values], pa.binary(16)), pa.uuid())
        return pa.array(values)
    except (pa.ArrowException, TypeError, AttributeError) as problem:
        raise DataError(f"ids must all be of one type, integers, strings or UUIDs: {problem}.") from problem


def _comparable(column: pa.ChunkedArray, known: pa.Array) -> tuple[pa.ChunkedArray, pa.Array]:
    """Return both in one type: their own where equal, int64 for integers, else text."""
    if _storage(column).type == _storage(known).type:
        return _storage(column), _storage(known)
    types = (column.type, known.type)
    if all(_fits_int64(each) for each in types):
        return column.cast(pa.int64()), known.cast(pa.int64())
    return _text(column), _text(pa.chunked_array([known])).combine_chunks()


def _converted(ids: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return ids as ids of this type, integers that are too wide for it as int64.

    Raises
    ------
    DataError
        If one cannot be an id of the type, or is not in its one usual form: ``"007"`` and ``"7"`` are two ids.
    """
    if ids.type == kind:
        return ids
    text = _text(pa.chunked_array([ids]))
    try:
        if _is_uuid(kind):
            found = _from_python([uuid.UUID(each) for each in text.to_pylist()])
        else:
            wide = pa.types.is_integer(ids.type) and pa.types.is_integer(kind) and not _fits(ids, kind)
            found = text.combine_chunks() if _is_text(kind) else ids.cast(pa.int64() if wide else kind)
    except (pa.ArrowException, ValueError):
        found = ids.slice(0, 0)
    if not _text(pa.chunked_array([found])).equals(text):
        raise DataError(
            f"ids of type {ids.type}, such as {_shown(ids[0])}, cannot be added to ids of type {kind}. "
            "Give ids of the same type."
        )
    return found


def _fits(integers: pa.Array, kind: pa.DataType) -> bool:
    limits = np.iinfo(kind.to_pandas_dtype())
    ends = pc.min_max(integers)
    return bool(limits.min <= ends["min"].as_py() and ends["max"].as_py() <= limits.max)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if _is_uuid(column.type):
        raw = b"".join(_storage(column).to_pylist())
        digits = np.frombuffer(raw.hex().encode(), dtype="S1").reshape(-1, 32)
        dashed = np.full((len(digits), 36), b"-", dtype="S1")
        dashed[:, np.delete(np.arange(36), [8, 13, 18, 23])] = digits
        return pa.chunked_array([pa.array(dashed.view("S36")[:, 0], pa.binary()).cast(pa.string())])
    if _is_fixed(column.type):
        raise DataError(f"ids of type {column.type} have no text form; give ids of the same type.")
    return column.cast(pa.string())


def _shown(scalar: pa.Scalar) -> str:
    value = scalar.as_py()
    text = str(value) if isinstance(value, uuid.UUID) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."  # of a line of many ids, say


def _fits_int64(kind: pa.DataType) -> bool:
    """Return whether these are integers that int64 holds."""
    return bool(pa.types.is_integer(kind) and kind != pa.uint64())


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.UuidType)


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_binary(kind))


def _storage(array: Any) -> Any:
    """Return an Arrow array, chunked or not, without its extension type."""
    return array.cast(array.type.storage_type) if _is_uuid(array.type) else array


def _with_type(storage: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage) if _is_uuid(kind) else storage
