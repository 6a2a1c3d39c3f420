"""More items than there are."""

import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.scoring.request import request


def model_of(n_users, n_items):
    ones = rs.UserItemMatrix.from_scipy(_diagonal(n_users, n_items))
    return rs.factorize(ones, solver="popularity", executor="serial")


def _diagonal(n_users, n_items):
    import scipy.sparse as sp

    users = np.arange(max(n_users, n_items))
    return sp.csr_array((np.ones(len(users)), (users % n_users, users % n_items)), shape=(n_users, n_items))


def test_k_above_the_number_of_items_is_that_number():
    model = model_of(3, 5)
    assert request(model, k=1000).k == 5
    assert model.recommend(k=1000, executor="serial").equals(model.recommend(k=5, executor="serial"))


def test_k_that_gives_every_item_to_many_users_is_told_with_its_size():
    model = model_of(4000, 3000)
    with pytest.warns(UserWarning, match=r"more than the 3,000 items .* 12,000,000 rows or 0.3 GB.*--plan"):
        assert request(model, k=100_000).k == 3000
    assert request(model, [0, 1], k=100_000).k == 3000
