"""Pure numerical kernels: no executor, no Dask, no input or output."""
