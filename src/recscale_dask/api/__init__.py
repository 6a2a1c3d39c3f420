"""The only place where names ("dask", "svd") become objects."""
