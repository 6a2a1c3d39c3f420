"""One BLAS thread in the process of the tests."""

from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401 -- which brings a BLAS of its own
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """Keep the tests of two processes from waiting for one another: BLAS threads spin where a core is taken."""
    with threadpool_limits(1, user_api="blas"):
        yield
