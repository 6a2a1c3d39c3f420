"""Ray as an executor of recscale_dask."""
