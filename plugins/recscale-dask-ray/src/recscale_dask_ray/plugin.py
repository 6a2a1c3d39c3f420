"""The hooks that this package implements."""

from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors() -> list[ExecutorSpec]:
    """Return the Ray executor."""
    return [
        ExecutorSpec(
            name="ray",
            target="recscale_dask_ray.executor:RayExecutor",
            summary="Ray: on this machine, a cluster at an address, or the Ray that this process is connected to",
            install="pip install recscale-dask-ray",
            check="recscale_dask_ray.health:check",
        )
    ]
