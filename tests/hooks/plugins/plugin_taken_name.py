from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors():
    return [
        ExecutorSpec(name="stored", target="plugin_taken_name:Taken", summary="taken by stored-v1"),
        ExecutorSpec(name="free", target="recscale_dask.execution.serial:SerialExecutor", summary="not taken"),
    ]
