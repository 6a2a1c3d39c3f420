"""`svds`, `factorize` and `TruncatedSVD` are faces of one engine."""

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs

SPARSE = sp.random_array((900, 500), density=0.1, rng=np.random.default_rng(0), format="csr", dtype=np.float32)
DENSE = np.random.default_rng(1).random((700, 40)).astype(np.float32)


@pytest.mark.parametrize("data", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_svds_and_the_estimator_return_the_same_bytes(data):
    _, s, vh = rs.svds(data, 7, tol=1e-5)
    svd = rs.TruncatedSVD(7, tol=1e-5).fit(data)
    np.testing.assert_array_equal(svd.components_, vh[::-1])
    np.testing.assert_array_equal(svd.singular_values_, s[::-1])


def test_factors_are_the_triplets_with_the_values_shared_out():
    u, s, vh = rs.svds(SPARSE.astype(np.float64), 7, tol=1e-9)
    model = rs.factorize(SPARSE.astype(np.float64), rank=7, tol=1e-9, progress=False)
    np.testing.assert_array_equal(model.singular_values, s[::-1])
    np.testing.assert_array_equal(model.item_factors, (vh[::-1].T * np.sqrt(s[::-1])).astype(np.float32))
    np.testing.assert_array_equal(model.user_factors, (u[:, ::-1] * np.sqrt(s[::-1])).astype(np.float32))
