from recscale_dask.hooks.specs import hookimpl


@hookimpl
def recscale_choose_executor(request):
    return "stored" if request.purpose == "score" else None
