"""Events of recscale_dask's runs as spans in a file of JSON lines."""
