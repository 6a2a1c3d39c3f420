"""The hooks that this package implements."""

from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


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
