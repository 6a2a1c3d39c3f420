from recscale_dask.hooks.specs import hookimpl


@hookimpl
def recscale_register_executors():
    raise OSError("no connection to the cluster's registry")
