from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


@hookimpl
def recscale_register_executors():
    return [ExecutorSpec(name="half", target="plugin_other_arguments:Nothing", summary="must not appear")]


@hookimpl
def recscale_run_started(event, colour):
    pass
