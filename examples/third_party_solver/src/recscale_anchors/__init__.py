"""Anchor items as a solver of recscale_dask."""
