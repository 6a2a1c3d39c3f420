"""Row blocks on disk: one Arrow file each, mapped where it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import read_arrow, write_arrow
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import StoreError
from recscale_dask.manifest import MANIFEST
from recscale_dask.remote import is_url, local_copy


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A recipe of a block: where its file is, and what is in it.

    Loading maps the file, and the map goes with the block: memory holds the blocks in use, and the
    processes of a machine share their pages.

    Attributes
    ----------
    place : str
        Absolute path, or URL, of the Arrow file. Of a URL each machine keeps a copy until the process ends.
    index, start, n_rows, n_columns, n_stored : int
        Of the block; see `Block`.
    digest : str
        SHA-256 (hex) of its structure and values; see `recscale_dask.data.weighting.Summary`.
    """

    place: str
    index: int
    start: int
    n_rows: int
    n_columns: int
    n_stored: int
    digest: str

    def verify(self) -> None:
        """Raise a StoreError unless the file holds what was written."""
        if summarize(self.load()).digest.hex() != self.digest:
            raise StoreError(
                f"{self.place} was altered after it was written: its SHA-256 differs. Ingest the data again."
            )

    def load(self) -> Block:
        """Return the block, whose arrays are maps of the file.

        Raises
        ------
        StoreError
            If the file is not there, or does not hold the block.
        """
        path = self._copy() if is_url(self.place) else Path(self.place)
        try:
            table = read_arrow(path)
            items, values = (table.column(name).combine_chunks() for name in ("items", "values"))
            offsets = _numbers(items.offsets)
            indices, numbers = _numbers(items.values), _numbers(values.values)
        except FileNotFoundError as error:
            raise self._missing() from error
        except (OSError, pa.ArrowException, KeyError, AttributeError) as error:
            raise StoreError(f"{self.place} is damaged: {error}. Ingest the data again.") from error
        if len(offsets) != self.n_rows + 1 or not len(indices) == len(numbers) == self.n_stored == offsets[-1]:
            raise StoreError(
                f"{self.place} holds {len(offsets) - 1} rows of {len(indices)} values, not {self.n_rows} of "
                f"{self.n_stored}: it is not the file that the manifest tells of. Ingest the data again."
            )
        return Block(self.index, self.start, offsets.astype(np.int64), indices, numbers, self.n_columns)

    def _copy(self) -> Path:
        folder, _, name = self.place.rpartition("/")
        try:
            return local_copy(folder, name, self.digest, StoreError)
        except StoreError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            raise StoreError(
                f"{self.place} is not there any more: the store was replaced or deleted after this matrix of it was "
                "opened. Open it again."
            ) from error

    def _missing(self) -> StoreError:
        """Return the error of a file that is not there: no folder of the store here, or another store in it by now."""
        for folder in Path(self.place).parents:
            if (folder / MANIFEST).exists():
                return StoreError(
                    f"{Path(self.place).relative_to(folder)} is missing from the store at {folder}: it was compacted "
                    "or replaced after this matrix of it was opened. Open it again: "
                    f"UserItemMatrix.open({str(folder)!r})"
                )
        return StoreError(
            f"{self.place} is missing, and the store that it is in. A worker has to see the store's folder at the same "
            "place as the driver, or at a URL."
        )


def write_block(block: Block, path: Path) -> None:
    """Write a block to an Arrow file: a row a user, with its code and the lists of its items and values."""
    small = len(block.values) < 2**31
    lists = pa.ListArray if small else pa.LargeListArray
    offsets = pa.array(block.indptr.astype(np.int32 if small else np.int64))
    columns = {
        "user": pa.array(np.arange(block.start, block.stop, dtype=np.int32)),
        "items": lists.from_arrays(offsets, pa.array(block.indices)),
        "values": lists.from_arrays(offsets, pa.array(block.values)),
    }
    write_arrow(path, columns)


def _numbers(array: Any) -> NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=True))
