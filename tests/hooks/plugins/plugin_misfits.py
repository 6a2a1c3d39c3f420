"""Offers that nothing of their kind can be made of, and a hook that is not marked."""

from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorSpec, MetricSpec, ReaderSpec, SolverSpec, hookimpl


class FutureExecutor(SerialExecutor):
    contract = 2


NUMBER = 5


def check():
    """Find nothing wrong."""


def noisy(hits, n_relevant, k):
    print("judging")
    return hits[:, :k].sum(axis=1).astype(float)


@hookimpl
def recscale_register_executors():
    return [
        ExecutorSpec(name="no-such-class", target="plugin_misfits:Nothing", summary=""),
        ExecutorSpec(name="no-executor", target="plugin_misfits:NUMBER", summary=""),
        ExecutorSpec(name="of-contract-2", target="plugin_misfits:FutureExecutor", summary=""),
        ExecutorSpec(name="well", target="plugin_misfits:SerialExecutor", summary="", check="plugin_misfits:check"),
        ExecutorSpec(name=5, target="plugin_misfits:SerialExecutor", summary=""),
        ExecutorSpec(name="no-target", target=None, summary=""),
        ExecutorSpec(name="no-summary", target="plugin_misfits:SerialExecutor", summary=None),
        ExecutorSpec(name="no-attribute", target="plugin_misfits", summary=""),
        ExecutorSpec(name="contract-text", target="plugin_misfits:SerialExecutor", summary="", contract="1"),
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
        MetricSpec(name="noisy", target="plugin_misfits:noisy", summary=""),
        MetricSpec(name="bad@name", target="plugin_misfits:NUMBER", summary=""),
    ]


def recscale_run_started(event):
    """Never called: it is not marked."""
