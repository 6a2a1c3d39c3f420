"""Fitting, top-k, pair scores and reconstruction have the bytes of the built-in executors on Spark."""

import os

import pytest

import recscale_dask as rs
from recscale_dask.testing.same_answer import answers_of
from recscale_dask_spark import health

MISSING = health.check()


@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=MISSING)
@pytest.mark.parametrize("shared_files", [None, False], ids=["mapped files", "broadcast variables"])
def test_spark_gives_the_bytes_of_serial(shared_files: bool | None) -> None:
    with rs.open_executor("serial") as executor:
        expected = answers_of(executor)
    with rs.open_executor("spark", master="local[2]", shared_files=shared_files) as executor:
        assert answers_of(executor) == expected
