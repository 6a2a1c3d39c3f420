import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.errors import OptionError, UnknownIdError


@pytest.fixture(scope="module")
def model():
    dense = np.random.default_rng(0).random((40, 15)).round(1)
    dense[:, 9] = 3 * dense[:, 2]  # the same taste, more of it
    dense[:, 5] = 0
    ids = {"users": [f"u{i:02}" for i in range(40)], "items": [f"i{i:02}" for i in range(15)]}
    return rs.factorize(rs.UserItemMatrix.from_scipy(dense, **ids), rank=6, executor="serial", tol=1e-8)


def test_nearest_are_those_of_largest_cosine_without_itself(model):
    table = model.similar_items("i07", 14)
    factors = model.item_factors / np.linalg.norm(model.item_factors, axis=1)[:, None]
    factors[5] = 0  # nobody has it, so that its factors are rounding alone
    cosines = np.delete(factors @ factors[7], 7)
    np.testing.assert_allclose(table["score"], np.sort(cosines)[::-1], atol=1e-6)
    assert "i07" not in table["item"].to_pylist()
    assert table["rank"].to_pylist() == list(range(1, 15))
    assert table.column_names == ["item", "rank", "score"]


def test_proportional_items_are_nearest_with_cosine_one(model):
    first = model.similar_items("i02", 1).to_pylist()[0]
    assert first["item"] == "i09"
    assert first["score"] == pytest.approx(1, abs=1e-6)


def test_similar_users(model):
    table = model.similar_users("u03", 3)
    assert table.column_names == ["user", "rank", "score"]
    assert len(table) == 3
    assert "u03" not in table["user"].to_pylist()


def test_vector_of_zeros_has_cosine_zero(model):
    assert model.similar_items("i05", 2)["score"].to_pylist() == [0, 0]


def test_one_factor_tells_no_items_apart():
    model = rs.factorize(np.diag([3.0, 2, 0, 1]), rank=2, solver="popularity", executor="serial")
    with pytest.raises(OptionError, match="one factor, by which all items are equally near"):
        model.similar_items(2, 2)


def test_k_beyond_the_catalogue_gives_all_others(model):
    assert len(model.similar_items("i00", 100)) == 14


def test_bad_requests_are_refused(model):
    with pytest.raises(UnknownIdError, match="1 unknown item: 'x'"):
        model.similar_items("x")
    with pytest.raises(OptionError, match="k must be"):
        model.similar_items("i00", 0)
