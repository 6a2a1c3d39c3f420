"""A bucket, for data and models that are on no disk of ours."""

from collections.abc import Iterator

import pytest

from recscale_dask.testing.s3_server import s3_server


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """URL of a bucket."""
    with s3_server() as bucket:
        yield bucket
