"""A plugin of contract 1, stored as it was written. NEVER EDIT THIS FILE.

It stands for the plugins that others have published: as long as the contract is 1, it must work.
"""

from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorSpec, MetricSpec, ReaderSpec, SolverSpec, hookimpl

SEEN = []


class StoredExecutor(SerialExecutor):
    name = "stored"


def cannot_run_here():
    return "it is only a stored plugin"


@hookimpl
def recscale_register_executors():
    return [
        ExecutorSpec(name="stored", target="plugin_v1:StoredExecutor", summary="a stored executor", contract=1),
        ExecutorSpec(
            name="not-installed",
            target="package_that_is_not_there.executor:Executor",
            summary="its package is missing",
            install="pip install package-that-is-not-there",
        ),
        ExecutorSpec(
            name="not-here",
            target="plugin_v1:StoredExecutor",
            summary="its check says no",
            check="plugin_v1:cannot_run_here",
        ),
    ]


@hookimpl
def recscale_register_solvers():
    return [SolverSpec(name="stored-solver", target="plugin_v1:SEEN", summary="a stored solver")]


@hookimpl
def recscale_register_readers():
    return [ReaderSpec(name="stored-reader", target="plugin_v1:SEEN", summary="a stored reader")]


@hookimpl
def recscale_register_metrics():
    return [MetricSpec(name="stored-metric", target="plugin_v1:SEEN", summary="a stored metric")]


@hookimpl
def recscale_run_started(event):
    SEEN.append(event)


@hookimpl
def recscale_block_done(event):
    SEEN.append(event)


@hookimpl
def recscale_run_finished(event):
    SEEN.append(event)


@hookimpl
def recscale_solver_step(event):
    SEEN.append(event)
