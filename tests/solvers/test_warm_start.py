import warnings

import numpy as np
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask import UserItemMatrix
from recscale_dask.errors import OptionError
from recscale_dask.solvers.warm_start import guard_count, with_random_directions

OPTIONS = {"rank": 8, "tol": 1e-2, "executor": "serial", "block_size": 16}
SCALED = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}


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


@pytest.fixture(scope="module")
def grown():
    """A matrix, and 99 in 100 of its values."""
    rows = decaying()
    return rows, without_one_percent(rows)


def fitted(rows, **options):
    return rs.factorize(UserItemMatrix.from_scipy(rows), **{**OPTIONS, **options})


@pytest.mark.parametrize("options", [{}, SCALED, {"center": "items"}], ids=["plain", "scaled", "centred"])
def test_a_fit_from_an_earlier_model_takes_half_of_the_passes(grown, options):
    whole, earlier = grown
    model, fresh = (fitted(rows, **options) for rows in (earlier, whole))
    warm = fitted(whole, **options, warm_start=model)
    assert warm.certificate.converged
    assert 2 * warm.certificate.passes <= fresh.certificate.passes
    np.testing.assert_allclose(warm.singular_values, fresh.singular_values, rtol=1e-4)
    assert warm.provenance["warm_start"] == model.factors_sha256()
    assert fresh.provenance["warm_start"] is None


def test_a_matrix_with_fewer_rows_than_columns_starts_from_an_earlier_model_too(grown):
    whole, earlier = (rows.T.tocsr() for rows in grown)
    model, fresh = (fitted(rows, **SCALED) for rows in (earlier, whole))
    warm = fitted(whole, **SCALED, warm_start=model)
    assert warm.certificate.converged
    assert 2 * warm.certificate.passes <= fresh.certificate.passes
    np.testing.assert_allclose(warm.singular_values, fresh.singular_values, rtol=1e-4)


def test_items_are_matched_by_their_ids(grown):
    whole, earlier = grown
    order = np.random.default_rng(5).permutation(earlier.shape[1])
    names = [f"item {code:04}" for code in order]  # of another order than the codes
    model = rs.factorize(UserItemMatrix.from_scipy(earlier[:, :650], items=names[:650]), **OPTIONS)
    fresh, warm = (
        rs.factorize(UserItemMatrix.from_scipy(whole, items=names), **OPTIONS, warm_start=start)
        for start in (None, model)
    )
    assert warm.certificate.converged
    assert warm.certificate.passes < fresh.certificate.passes
    np.testing.assert_allclose(warm.singular_values, fresh.singular_values, rtol=1e-4)


def strangers(rows, share, *, new_items):
    """Append users who have only items of their own; the largest value of these is near the smallest wanted one."""
    smallest = fitted(rows, tol=1e-4).singular_values[-1]
    block = sp.random_array((120, 40), density=0.3, rng=3, format="csr", dtype=np.float32)
    block.data[:] = share * smallest / np.linalg.norm(np.ones_like(block.toarray()) * (block.toarray() > 0), 2)
    if new_items:
        return sp.block_diag([rows, block], format="csr")
    unused = sp.csr_array((rows.shape[0], 40), dtype=np.float32)
    return sp.vstack([sp.hstack([rows, unused]), sp.hstack([sp.csr_array((120, rows.shape[1])), block])], format="csr")


@pytest.mark.parametrize("tol", [1e-2, 1e-3])
@pytest.mark.parametrize("share", [1.1, 1.5, 3.0])
@pytest.mark.parametrize("new_items", [True, False])
def test_what_is_large_in_new_data_alone_is_found(grown, tol, share, new_items):
    whole = strangers(grown[0], share, new_items=new_items)
    n_items = grown[1].shape[1] if new_items else whole.shape[1]
    earlier = grown[1].copy()
    earlier.resize((earlier.shape[0], n_items))
    warm = fitted(whole, tol=tol, warm_start=fitted(earlier, tol=tol))
    true = fitted(whole, tol=1e-5)
    np.testing.assert_allclose(warm.singular_values, true.singular_values, rtol=1e-3)


def test_the_same_bits_on_every_executor_and_from_a_saved_model(grown, tmp_path):
    whole, earlier = grown
    model = fitted(earlier)
    model.save(tmp_path / "model")
    loaded = rs.load_model(tmp_path / "model")
    hashes = {
        fitted(whole, warm_start=start, executor=name).factors_sha256()
        for start, name in [(model, "serial"), (loaded, "threads"), (loaded, "processes")]
    }
    assert len(hashes) == 1


def test_models_of_another_kind_are_refused(grown):
    whole, earlier = grown
    model = fitted(earlier, **SCALED)
    for options in ({}, {**SCALED, "item_scaling": 0.25}, {**SCALED, "center": "items"}):
        with pytest.raises(OptionError, match="warm_start was fitted with"):
            fitted(whole, **options, warm_start=model)
    popular = rs.factorize(UserItemMatrix.from_scipy(earlier), solver="popularity")
    with pytest.raises(OptionError, match="model of solver 'popularity'; an SVD starts from one of solver='svd'"):
        fitted(whole, warm_start=popular)
    with pytest.raises(OptionError, match="'popularity' does not start from an earlier model"):
        rs.factorize(UserItemMatrix.from_scipy(whole), solver="popularity", warm_start=model)
    named = UserItemMatrix.from_scipy(whole, items=[f"item {code}" for code in range(whole.shape[1])])
    with pytest.raises(OptionError, match="none of the items"):
        rs.factorize(named, **OPTIONS, **SCALED, warm_start=model)


def test_another_rank_and_a_model_without_guards_will_do(grown):
    whole, earlier = grown
    model = fitted(earlier)
    del model.training["guards"]
    for rank in (4, 12):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warm = fitted(whole, rank=rank, warm_start=model)
        np.testing.assert_allclose(warm.singular_values, fitted(whole, rank=rank).singular_values, rtol=1e-3)


@pytest.mark.parametrize("rank", [1, 8, 50, 64, 256])
def test_vectors_guards_and_random_directions_fill_whole_tiles(rank):
    guards = guard_count(rank)
    assert guards >= rank / 4
    start, behind = np.ones((500, rank)), np.ones((500, guards), np.float32)
    block = with_random_directions(start, behind, np.random.default_rng(0), np.dtype(np.float32))
    assert block.shape[1] % 32 == 0
    assert block.shape[1] - rank - guards == 8


def test_half_of_a_random_direction_is_where_nothing_is_known():
    start = np.ones((100, 2))
    start[90:] = 0
    directions = with_random_directions(start, None, np.random.default_rng(0), np.dtype(float))[:, 2:]
    np.testing.assert_allclose(np.linalg.norm(directions[90:], axis=0), np.linalg.norm(directions[:90], axis=0))
