from recscale_dask.hooks.specs import hookimpl

SEEN = []


@hookimpl
def recscale_ingest_step(event):
    SEEN.append(event)
