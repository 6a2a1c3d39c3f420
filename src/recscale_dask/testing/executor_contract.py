"""The conformance kit: what every executor must do, as a test class to inherit from.

A third party's whole test file::

    import pytest
    from recscale_dask.testing import ExecutorContract
    from recscale_spark import SparkExecutor

    class TestSpark(ExecutorContract):
        @pytest.fixture
        def make_executor(self):
            return lambda: SparkExecutor(master="local[2]")
"""

from __future__ import annotations

from recscale_dask.testing.contract.answers import AnswersContract
from recscale_dask.testing.contract.constants import ConstantsContract
from recscale_dask.testing.contract.errors import ErrorsContract
from recscale_dask.testing.contract.flow import FlowContract
from recscale_dask.testing.contract.lifecycle import LifecycleContract
from recscale_dask.testing.contract.sums import SumsContract
from recscale_dask.testing.contract.workers import WorkersContract


class ExecutorContract(
    # pytest runs the last one first.
    LifecycleContract,
    WorkersContract,
    FlowContract,
    ErrorsContract,
    ConstantsContract,
    SumsContract,
    AnswersContract,
):
    """Tests that hold for every executor; inherit, give a fixture `make_executor`, and that is all.

    The fixture returns a function without arguments that makes an executor that is not open yet.

    Attributes
    ----------
    known_gaps : dict of str to str
        Names of tests that fail, each with the reason; they become strict expected failures, so that
        a gap that was closed is noticed.
    patience : float
        Seconds that the executor may take to free memory, files, threads and processes.

    Notes
    -----
    Most tests share one open executor; those on opening, closing and dying workers make their own,
    and never are two open at once. Some count attempts by files: where workers do not see the local
    temporary folder, override the fixture `marks` with a folder that they see.
    """
