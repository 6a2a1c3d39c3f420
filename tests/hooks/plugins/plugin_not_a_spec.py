from recscale_dask.hooks.specs import hookimpl


@hookimpl
def recscale_register_executors():
    return ["serial"]
