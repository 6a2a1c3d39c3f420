from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executor():
    return []


@hookimpl
def recscale_register_executors():
    return [ExecutorSpec(name="half", target="plugin_misspelt:Nothing", summary="must not appear")]
