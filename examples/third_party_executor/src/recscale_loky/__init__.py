"""joblib's loky processes as an executor of recscale_dask."""
