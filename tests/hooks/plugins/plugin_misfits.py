"""Offers that nothing of their kind can be made of, and a hook that is not marked."""

from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorSpec, MetricSpec, ReaderSpec, SolverSpec, hookimpl


class FutureExecutor(SerialExecutor):
    contract = 2


NUMBER = 5


@hookimpl
def recscale_register_executors():
    return [
        ExecutorSpec(name="no-such-class", target="plugin_misfits:Nothing", summary=""),
        ExecutorSpec(name="no-executor", target="plugin_misfits:NUMBER", summary=""),
        ExecutorSpec(name="of-contract-2", target="plugin_misfits:FutureExecutor", summary=""),
    ]


@hookimpl
def recscale_register_solvers():
    return [SolverSpec(name="no-solver", target="plugin_misfits:NUMBER", summary="")]


@hookimpl
def recscale_register_readers():
    return [ReaderSpec(name="no-reader", target="plugin_misfits:NUMBER", summary="")]


@hookimpl
def recscale_register_metrics():
    return [
        MetricSpec(name="no-metric", target="plugin_misfits:NUMBER", summary=""),
        MetricSpec(name="bad@name", target="plugin_misfits:NUMBER", summary=""),
    ]


def recscale_run_started(event):
    """Never called: it is not marked."""
