"""The tests of the executors' kit, one subject a file; `recscale_dask.testing.ExecutorContract` has them all."""
