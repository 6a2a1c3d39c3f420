from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.linalg.orthonormal import orthonormalize
from recscale_dask.solvers.warm_start import with_random_directions
from recscale_dask.testing.matrices import planted_tastes

OPTIONS = {"rank": 8, "tol": 1e-2, "executor": "serial"}


def decaying(shape=(1200, 700), seed=0, density=0.2):
    """A sparse matrix whose singular values decay as those of ratings do."""
    rng = np.random.default_rng(seed)
    popularity = np.arange(1, shape[1] + 1) ** -0.6
    taste = rng.standard_normal((shape[0], 20)) @ (
        rng.standard_normal((20, shape[1])) / np.arange(1, 21)[:, None] ** 0.3
    )
    seen = rng.random(shape) < density * popularity / popularity.mean()
    return sp.csr_array(np.where(seen, np.clip(np.round(3 + taste), 1, 5), 0).astype(np.float32))


def without_one_percent(rows, seed=1):
    kept = rows.copy().tocoo()
    keep = np.random.default_rng(seed).random(kept.nnz) >= 0.01
    return sp.csr_array((kept.data[keep], (kept.coords[0][keep], kept.coords[1][keep])), shape=rows.shape)


@pytest.mark.parametrize("tol", [1e-2, 1e-3])
@pytest.mark.parametrize("flip", [False, True], ids=["tall", "wide"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}, {"center": "items"}],
    ids=["plain", "scaled", "centred"],
)
def test_a_fit_from_an_earlier_model_takes_half_of_the_passes(flip, tol, options):
    rows = decaying()
    whole, earlier = (
        UserItemMatrix.from_scipy(each.T.tocsr() if flip else each) for each in (rows, without_one_percent(rows))
    )
    settings = {**OPTIONS, "tol": tol, "block_size": 16, **options}
    model = rs.factorize(earlier, **settings)
    fresh = rs.factorize(whole, **settings)
    warm = rs.factorize(whole, **settings, warm_start=model)
    print(tol, flip, options, fresh.certificate.passes, warm.certificate.passes, fresh.provenance["plan"]["method"])
    assert warm.certificate.converged
    np.testing.assert_allclose(warm.singular_values, fresh.singular_values, rtol=tol**2)
    assert warm.provenance["warm_start"] == model.fingerprint
    assert fresh.provenance["warm_start"] is None
