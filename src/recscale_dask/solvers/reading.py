"""Where the blocks of a matrix are read from during a fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from recscale_dask.data.dense import DenseMatrix, RowBlock
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import TransformedBlock
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.placement import placed_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.types import Recipe


@contextmanager
def reading_executor(matrix: UserItemMatrix, executor: Executor) -> Iterator[Executor]:
    """Yield what reads the blocks of a matrix where they are: in a store the workers, else threads of this process."""
    if matrix.is_stored:
        yield executor
        return
    with ThreadsExecutor() if matrix.n_blocks > 1 else SerialExecutor() as here:
        yield here


@contextmanager
def readable_blocks(executor: Executor, matrix: UserItemMatrix | DenseMatrix) -> Iterator[Sequence[Recipe[RowBlock]]]:
    """Yield the blocks of a matrix as the workers of an executor read them, pass by pass.

    Those of a store stay there, and are weighted and scaled each time: only what that takes is sent to the workers,
    once. Others are put where the workers are; everything is freed at the end.
    """
    if not (isinstance(matrix, UserItemMatrix) and matrix.is_stored):
        expected_bytes = matrix.nnz * (4 + matrix.dtype.itemsize) + 8 * matrix.shape[0]
        with placed_blocks(executor, matrix.sources, expected_bytes=expected_bytes) as placed:
            yield placed
        return
    transformed = [each for each in matrix.sources if isinstance(each, TransformedBlock)]
    if not transformed or not executor.capabilities.isolated:
        yield matrix.sources
        return
    sent = executor.broadcast(transformed[0].transform)  # the same for all blocks
    try:
        yield [replace(each, transform=sent) for each in transformed]
    finally:
        sent.release()
