from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors():
    return [ExecutorSpec(name="threads", target="plugin_takes_builtin:Taken", summary="takes the name of a built-in")]
