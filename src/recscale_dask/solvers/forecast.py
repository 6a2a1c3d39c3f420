"""What a fit is going to take, stage by stage: arrays in memory, bytes read and moved, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.execution.contract import Capabilities, Executor
from recscale_dask.execution.run import group_size
from recscale_dask.execution.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """What a forecast has to know of an executor.

    Attributes
    ----------
    name : str
        Of the executor.
    parallelism : int
        Blocks at work at once.
    capabilities : Capabilities
        Whether they are in other processes, which share files with this one.
    """

    name: str
    parallelism: int
    capabilities: Capabilities

    @classmethod
    def of(cls, executor: Executor) -> Workers:
        """Return what an open executor has."""
        return cls(name=executor.name, parallelism=executor.parallelism, capabilities=executor.capabilities)

    @property
    def here(self) -> bool:
        """Whether they take memory of this machine."""
        return not self.capabilities.isolated or self.capabilities.shared_files

    def fold(self, n_blocks: int) -> FoldShape:
        """Return how sums over so many blocks are made."""
        size = group_size(self.capabilities, self.parallelism, n_blocks)
        n_jobs = -(-n_blocks // size)
        running = min(self.parallelism, n_jobs)
        waiting = 0 if self.capabilities.folds else _levels(n_jobs) + min(self.parallelism, n_jobs - 1)
        return FoldShape(n_jobs=n_jobs, running=running, on_worker=1 + _levels(size), on_driver=waiting)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldShape:
    """How many partial sums there are in a fold at once; see `recscale_dask.execution.run.fold_blocks`.

    Attributes
    ----------
    n_jobs : int
        Groups of blocks, each of which gives one partial sum.
    running : int
        Workers that have one.
    on_worker, on_driver : int
        Partial sums on each worker, and on the driver besides the final one.
    """

    n_jobs: int
    running: int
    on_worker: int
    on_driver: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a solver expects of a fit.

    Attributes
    ----------
    stages : tuple of Stage
        In their order.
    model_bytes : int
        On disk, if the model is saved.
    temporary_bytes : int
        In files that driver and workers share, at most at once.
    checkpoint_bytes : int
        Of the states of the fit, if they are kept.
    method : mapping
        How the solver goes about it; plain values.
    """

    stages: tuple[Stage, ...]
    model_bytes: int
    temporary_bytes: int = 0
    checkpoint_bytes: int = 0
    method: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixBytes:
    """Bytes of a matrix and of its blocks.

    Attributes
    ----------
    n_users, n_items, nnz, itemsize, n_blocks : int
        Of the matrix.
    stored : bool
        Whether blocks are read from a store in each pass.
    ids : int
        Bytes of the ids of users and items.
    """

    n_users: int
    n_items: int
    nnz: int
    itemsize: int
    n_blocks: int
    stored: bool
    ids: int

    @classmethod
    def of(cls, matrix: UserItemMatrix) -> MatrixBytes:
        """Return those of a matrix."""
        n_users, n_items = matrix.shape
        return cls(
            n_users=n_users,
            n_items=n_items,
            nnz=matrix.nnz,
            itemsize=matrix.dtype.itemsize,
            n_blocks=matrix.n_blocks,
            stored=matrix.is_stored,
            ids=matrix.users.ids.nbytes + matrix.items.ids.nbytes,
        )

    @property
    def block_values(self) -> int:
        """Stored values of one block."""
        return -(-self.nnz // max(1, self.n_blocks))

    @property
    def block_rows(self) -> int:
        """Rows of one block."""
        return -(-self.n_users // max(1, self.n_blocks))

    @property
    def block(self) -> int:
        """Bytes of one block, mapped, with its row offsets."""
        return self.block_values * (4 + self.itemsize) + self.block_rows * 12

    @property
    def whole(self) -> int:
        """Bytes of the matrix in memory."""
        return self.nnz * (4 + self.itemsize) + 8 * self.n_users

    @property
    def store(self) -> int:
        """Bytes of the block files of a store."""
        return self.nnz * (4 + self.itemsize) + 12 * self.n_users

    def held(self) -> dict[str, int]:
        """Return what is in memory from start to end."""
        return {"ids": self.ids, **({} if self.stored else {"matrix": self.whole})}


def exchanged(workers: Workers, n_blocks: int, constant: int, result: int) -> int:
    """Return the bytes that one fold moves between driver and workers.

    Parameters
    ----------
    constant, result : int
        Bytes of what every worker gets, and of one partial sum.
    """
    if not workers.capabilities.isolated:
        return 0
    fold = workers.fold(n_blocks)
    copies = 1 if workers.capabilities.shared_files else fold.running
    return copies * constant + fold.n_jobs * result


def model_bytes(matrix: MatrixBytes, rank: int, *, plain_values: bool) -> int:
    """Return the bytes of a saved model: factors, ids, and the training interactions.

    Parameters
    ----------
    plain_values : bool
        Whether the values of the interactions are all equal, so that one is enough.
    """
    factors = 4 * rank * (matrix.n_users + matrix.n_items)
    seen = 4 * matrix.nnz + 8 * matrix.n_users
    return factors + matrix.ids + seen + (0 if plain_values else matrix.itemsize * matrix.nnz)


def _levels(n: int) -> int:
    """Return the most partial sums that a tree over `n` results holds at once, besides the one that comes."""
    return n.bit_length() - 1
