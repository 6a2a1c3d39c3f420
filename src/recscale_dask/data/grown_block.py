"""A block of a store that interactions were appended to: its file, and its piece of each delta."""

from __future__ import annotations

from dataclasses import dataclass

from recscale_dask.data.blocks import Block
from recscale_dask.data.stored_block import StoredBlock
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import StoreError
from recscale_dask.types import Recipe


@dataclass(frozen=True, slots=True)
class Addition:
    """Rows that are added to a block.

    Attributes
    ----------
    source : Recipe of Block
        As many rows as the block has.
    duplicates : str
        What becomes of a pair that is there already: see `recscale_dask.data.merging.merged`.
    """

    source: Recipe[Block]
    duplicates: str


@dataclass(frozen=True, slots=True)
class GrownBlock:
    """A recipe of a block: its parts are loaded and put together, each time.

    Attributes
    ----------
    first : Recipe of Block
        The rows as they were written first.
    additions : tuple of Addition
        In the order in which they came.
    digest : str
        SHA-256 (hex) of structure and values of the whole.
    """

    first: StoredBlock
    additions: tuple[Addition, ...]
    digest: str

    def load(self) -> Block:
        """Return the block with all that was added.

        Raises
        ------
        StoreError
            If a part is not there, or is not what it was.
        """
        from recscale_dask.data.merging import merged  # compiled: not every store needs it

        block = self.first.load()
        for each in self.additions:
            block = merged(block, each.source.load(), each.duplicates)
        return block

    def verify(self) -> None:
        """Raise a StoreError unless the files hold what was written."""
        if summarize(self.load()).digest.hex() != self.digest:
            raise StoreError(
                f"{self.first.place}, or what was appended to it, was altered after it was written: its SHA-256 "
                "differs. Ingest the data again."
            )
