"""What ``pytest --pyargs recscale_dask.testing.kit --recscale-executor=NAME`` collects."""
