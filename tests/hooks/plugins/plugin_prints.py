from recscale_dask.hooks.specs import ExecutorSpec, hookimpl

print("welcome to plugin_prints")


@hookimpl
def recscale_register_executors():
    return [
        ExecutorSpec(name="loud", target="recscale_dask.execution.serial:SerialExecutor", summary="prints at import")
    ]


@hookimpl
def recscale_executor_chosen(event):
    pass
