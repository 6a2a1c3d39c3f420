"""How fast a machine is: rates of the kernels that a fit spends its time in, as constants or as measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a machine does in a second; the defaults are those of two cores of 2024, with all of them at work.

    Attributes
    ----------
    sparse : mapping of (int, int) to float
        Multiplications and additions in sparse products, by bytes of a number and columns of a tile (see
        `recscale_dask.linalg.kernels.tile_width`).
    dense : mapping of int to float
        The same in dense products, by bytes of a number.
    eigen : float
        Seconds per cube of the order of a symmetric float64 matrix, one core.
    pairs : float
        Pairs of stored values in a sparse A'A.
    partials : float
        Bytes of the products of single blocks, which are cleared, written and added.
    updates : float
        Bytes of the recurrence between the products of a filter.
    load : float
        Stored values of blocks that are mapped, weighted and scaled, where that is done in every pass.
    digest : float
        Stored values whose blocks are read and hashed.
    disk : float
        Bytes of a store that come from the disk, where they are not in memory any more.
    """

    sparse: Mapping[tuple[int, int], float] = field(
        default_factory=lambda: {(4, 16): 70e9, (4, 32): 70e9, (8, 8): 33e9, (8, 16): 33e9}
    )
    dense: Mapping[int, float] = field(default_factory=lambda: {4: 200e9, 8: 60e9})
    eigen: float = 1.5e-10
    pairs: float = 1e9
    partials: float = 4e9
    updates: float = 8e9
    load: float = 1e9
    digest: float = 3e8
    disk: float = 1e9

    def of_workers(self, share: float) -> Rates:
        """Return the rates of what workers do, for workers that have so many times the cores of this machine."""
        sparse = {kind: rate * share for kind, rate in self.sparse.items()}
        return replace(self, sparse=sparse, pairs=self.pairs * share, load=self.load * share)


NOMINAL = Rates()
"""What plans are chosen by, wherever that is: see docs/decisions/0006."""
