"""Apache Spark as an executor of recscale_dask."""
