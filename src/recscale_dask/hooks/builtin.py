"""The built-in executors, solvers and metrics, registered through the same hooks as any plugin's."""

from __future__ import annotations

import sys
from typing import Any

from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest, ExecutorSpec, MetricSpec, SolverSpec, hookimpl


@hookimpl
def recscale_register_executors() -> list[ExecutorSpec]:
    """Return serial, threads, processes and dask."""
    return [
        ExecutorSpec(
            name="serial",
            target="recscale_dask.execution.serial:SerialExecutor",
            summary="one block after another in this process; the reference, and the one to debug with",
        ),
        ExecutorSpec(
            name="threads",
            target="recscale_dask.execution.threads:ThreadsExecutor",
            summary="threads of this process; the default for a matrix that fits in memory",
        ),
        ExecutorSpec(
            name="processes",
            target="recscale_dask.execution.processes:ProcessesExecutor",
            summary="a multiprocessing pool on this machine; arrays in shared memory, sent once",
        ),
        ExecutorSpec(
            name="dask",
            target="recscale_dask.execution.dask:DaskExecutor",
            summary="a Dask cluster: its own, one at an address, or your Client's",
            install="pip install distributed",
        ),
    ]


@hookimpl
def recscale_register_solvers() -> list[SolverSpec]:
    """Return the built-in solvers."""
    return [
        SolverSpec(
            name="svd",
            target="recscale_dask.solvers.svd:SVDSolver",
            summary="truncated SVD by block Krylov iteration, every triplet certified",
        ),
        SolverSpec(
            name="gf-cf",
            target="recscale_dask.solvers.graph_filter:GraphFilterSolver",
            summary="graph filter: neighbours of neighbours, and an ideal low-pass filter; closed form",
        ),
        SolverSpec(
            name="bspm",
            target="recscale_dask.solvers.graph_filter:BSPMSolver",
            summary="graph filter that blurs and then sharpens; closed form",
        ),
        SolverSpec(
            name="als-implicit",
            target="recscale_dask.solvers.als:ImplicitALSSolver",
            summary="alternating least squares for clicks, plays, purchases: confidence in preferences",
        ),
        SolverSpec(
            name="als-explicit",
            target="recscale_dask.solvers.als:ExplicitALSSolver",
            summary="alternating least squares for ratings, with biases of users and items",
        ),
        SolverSpec(
            name="item-knn",
            target="recscale_dask.solvers.item_knn:ItemKNNSolver",
            summary="nearest neighbours of items by cosine",
        ),
        SolverSpec(
            name="ease",
            target="recscale_dask.solvers.ease:EASESolver",
            summary="ridge regression between all items; closed form, for small catalogues",
        ),
        SolverSpec(
            name="popularity",
            target="recscale_dask.solvers.popularity:PopularitySolver",
            summary="the same most popular items for everyone: the baseline to beat",
        ),
    ]


@hookimpl
def recscale_register_metrics() -> list[MetricSpec]:
    """Return the built-in metrics."""
    ranking, shown, error = (f"recscale_dask.evaluation.{module}" for module in ("ranking", "catalogue", "error"))
    return [
        MetricSpec(name="recall", target=f"{ranking}:recall", summary="share of test items found in the first k"),
        MetricSpec(
            name="precision",
            target=f"{ranking}:precision",
            summary="share of the first k that are test items",
        ),
        MetricSpec(name="ndcg", target=f"{ranking}:ndcg", summary="discounted gain, binary, over the ideal list"),
        MetricSpec(name="map", target=f"{ranking}:average_precision", summary="mean of average precision at k"),
        MetricSpec(name="mrr", target=f"{ranking}:reciprocal_rank", summary="mean of 1 / rank of the first test item"),
        MetricSpec(name="hit_rate", target=f"{ranking}:hit_rate", summary="share of users with a test item found"),
        MetricSpec(
            name="novelty", target=f"{shown}:novelty", summary="mean self-information of what is shown, in bits"
        ),
        MetricSpec(name="coverage", target=f"{shown}:coverage", summary="share of all items that are shown to anyone"),
        MetricSpec(name="gini", target=f"{shown}:gini", summary="how unequally often items are shown; 0 is equally"),
        MetricSpec(name="rmse", target=f"{error}:rmse", summary="root mean squared error of the test values"),
        MetricSpec(name="mae", target=f"{error}:mae", summary="mean absolute error of the test values"),
    ]


@hookimpl(trylast=True)
def recscale_choose_executor(request: ExecutorRequest) -> ExecutorChoice:
    """Choose serial for what is done in a blink, the Client that this process has, and threads for the rest."""
    if request.is_small:
        return ExecutorChoice(name="serial", reason="it is done in a blink")
    client = _active_client()
    if client is not None:
        reason = f"this process has a Dask Client, of {client.scheduler.address}"
        return ExecutorChoice(name="dask", reason=reason, options={"client": client})
    if request.bytes_needed > request.bytes_free:
        return ExecutorChoice(name="threads", reason="it may not fit in memory, and nothing here takes less of it")
    return ExecutorChoice(name="threads", reason="it fits in the memory of this machine")


def _active_client() -> Any:
    """Return the Dask Client that computes what this process gives to Dask; None without one. Imports nothing."""
    client_module = sys.modules.get("distributed.client")
    if client_module is None:
        return None
    try:
        client = client_module.default_client()
    except ValueError:  # there is none
        return None
    return client if client.status == "running" and not client.asynchronous else None
