"""Sums have the bits of serial ones, whatever adds up."""

from __future__ import annotations

from typing import Any

import pytest

from recscale_dask.execution.contract import Executor
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.testing import tasks
from recscale_dask.testing.contract.fixtures import ExecutorFixtures

_HOW = (
    "Add up with the `combine` that was given, in the tree of recscale_dask.tree.fold_tree over the results in the "
    "order of the jobs, and not in that of arrival"
)


class SumsContract(ExecutorFixtures):
    """The same tree on every engine is what makes factors equal bit for bit."""

    @pytest.mark.parametrize("counts", [range(1, 9), range(9, 18), (31, 32, 33)], ids=str)
    def test_sum_equals_serial_sum_bit_for_bit(self, executor: Executor, counts: Any) -> None:
        for n_blocks in counts:
            expected = fold_blocks(SerialExecutor(), tasks.float32_partial, range(n_blocks))
            total = fold_blocks(executor, tasks.float32_partial, range(n_blocks))
            assert total.dtype == expected.dtype
            assert total.tobytes() == expected.tobytes(), (
                f"the sum of {n_blocks} blocks has other bits than serial's; it was added up as "
                f"{_tree(executor, n_blocks)}, expected {_tree(SerialExecutor(), n_blocks)}. {_HOW}"
            )

    def test_sum_is_of_the_given_combine_in_block_order(self, executor: Executor) -> None:
        for n_blocks in (1, 7, 12):
            found = fold_blocks(executor, tasks.in_a_tuple, range(n_blocks), combine=tasks.joined)
            assert found == tuple(range(n_blocks)), (
                f"the numbers of {n_blocks} blocks, joined by `combine`, are {found}; expected them in order. {_HOW}"
            )


def _tree(executor: Executor, n_blocks: int) -> Any:
    """Return how an executor adds up, as nested pairs."""
    return fold_blocks(executor, tasks.echo, range(n_blocks), combine=tasks.paired)
