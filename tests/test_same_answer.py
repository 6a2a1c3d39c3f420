"""Fitting, top-k, pair scores and reconstruction have the same bytes on every built-in executor."""

from typing import Any

import pytest

import recscale_dask as rs
from recscale_dask.testing.same_answer import answers_of


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    with rs.open_executor("serial") as executor:
        answers = answers_of(executor)
    assert answers["from_store"] == answers["factors"]
    return answers


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("threads", {"n_workers": 1}),
        ("threads", {"n_workers": 3}),
        ("processes", {"n_workers": 1}),
        ("processes", {"n_workers": 2}),
        ("dask", {"n_workers": 2}),
        ("dask", {"n_workers": 2, "shared_files": False}),
    ],
)
def test_executor_gives_the_bytes_of_serial(expected: dict[str, Any], name: str, options: dict[str, Any]) -> None:
    with rs.open_executor(name, **options) as executor:
        assert answers_of(executor) == expected
