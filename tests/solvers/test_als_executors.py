"""Alternating least squares has the same bytes on every built-in executor, from memory and from a store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.testing.same_answer import als_answers_of


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    with rs.open_executor("serial") as executor:
        return als_answers_of(executor)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("threads", {"n_workers": 3}),
        ("processes", {"n_workers": 2}),
        ("dask", {"n_workers": 2}),
        ("dask", {"n_workers": 2, "shared_files": False}),
    ],
)
def test_executor_gives_the_bytes_of_serial(expected: dict[str, Any], name: str, options: dict[str, Any]) -> None:
    with rs.open_executor(name, **options) as executor:
        assert als_answers_of(executor) == expected


def test_a_store_gives_the_bytes_of_memory(tmp_path: Path) -> None:
    matrix = rs.UserItemMatrix.from_scipy(counts())
    matrix.save(tmp_path / "store")
    options: dict[str, Any] = {"solver": "als-implicit", "rank": 40, "tol": 0, "max_sweeps": 2, "progress": False}
    in_memory = rs.factorize(matrix, executor="serial", **options)
    stored = rs.factorize(tmp_path / "store", executor="processes", **options)
    assert stored.factors_sha256() == in_memory.factors_sha256()


def counts() -> Any:

    return sp.random_array((500, 300), density=0.3, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
