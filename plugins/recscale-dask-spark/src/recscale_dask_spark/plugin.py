"""The hooks that this package implements."""

import sys
from typing import Any

from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest, ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors() -> list[ExecutorSpec]:
    """Return the Spark executor."""
    return [
        ExecutorSpec(
            name="spark",
            target="recscale_dask_spark.executor:SparkExecutor",
            summary="Apache Spark: on this machine, a cluster, or your session",
            install="pip install recscale-dask-spark",
            check="recscale_dask_spark.health:check",
        )
    ]


@hookimpl
def recscale_choose_executor(request: ExecutorRequest) -> ExecutorChoice | None:
    """Choose the Spark session that this process has, for all but what is done in a blink."""
    context = _active_context()
    if context is None or request.is_small:
        return None
    return ExecutorChoice(name="spark", reason=f"this process has a Spark session, on {context.master}")


def _active_context() -> Any:
    """Return the Spark context of this process; None without one. Imports nothing."""
    module = sys.modules.get("pyspark.core.context")
    context = None if module is None else module.SparkContext._active_spark_context
    return None if context is None or context._jsc is None else context
