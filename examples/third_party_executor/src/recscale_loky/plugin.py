"""What recscale_dask imports to find out what is here; it does not import joblib."""

from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors() -> list[ExecutorSpec]:
    """Return the one executor of this package."""
    return [
        ExecutorSpec(
            name="loky",
            target="recscale_loky.executor:LokyExecutor",
            summary="processes of joblib's loky on this machine",
            install="pip install joblib",
        )
    ]
