from recscale_dask.hooks.specs import hookimpl


@hookimpl
def recscale_choose_executor(request):
    raise RuntimeError("cannot choose")
