import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.linalg.orthonormal import orthonormalize
from recscale_dask.linalg.tall import tall_algebra

N, WIDTH = 60, 5


def split(block, basis=None, scale=0.0):
    """Orthonormalize, check what always holds, and return Q, H and R."""
    given = block.copy()
    with tall_algebra(1) as algebra:
        q, h, r, *_ = orthonormalize(algebra, block.copy(), basis, scale=scale, rng=np.random.default_rng(9))
    size = max(scale, np.abs(given).max(), np.finfo(float).tiny)
    np.testing.assert_allclose(q.T @ q, np.eye(block.shape[1]), atol=1e-13)
    together = q @ r
    if basis is not None and basis.shape[1]:
        assert np.abs(basis.T @ q).max() < 1e-13
        together = together + basis @ h
    assert np.abs(together - given).max() <= 1e-13 * size
    return q, h, r


def random_block(seed=0, width=WIDTH):
    return np.random.default_rng(seed).standard_normal((N, width))


def random_basis(columns):
    return np.linalg.qr(random_block(1, columns))[0]


@pytest.mark.parametrize("columns", [0, 1, 20, N - WIDTH])
def test_block_is_split_into_basis_and_orthonormal_rest(columns):
    split(random_block(), random_basis(columns))
    split(random_block(), random_basis(columns), scale=1.0)


@pytest.mark.parametrize("exponents", [(0, -3, -6, -9, -12), (100, 3, 0, -3, -100), (-150,) * 5, (140,) * 5])
def test_columns_of_huge_and_tiny_norms(exponents):
    block = random_block() * 10.0 ** np.array(exponents)
    with tall_algebra(1) as algebra:
        q, _, r, *_ = orthonormalize(algebra, block.copy(), None, scale=0.0, rng=np.random.default_rng(0))
    np.testing.assert_allclose(q.T @ q, np.eye(WIDTH), atol=1e-13)
    np.testing.assert_allclose(q @ r, block, atol=1e-13 * np.abs(block).max())


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_block_of_low_rank_gets_random_directions_that_r_has_no_part_of(rank):
    block = random_block(width=rank) @ np.random.default_rng(5).standard_normal((rank, WIDTH))
    _, _, r = split(block)
    assert np.linalg.matrix_rank(r, tol=1e-12) == rank


def test_block_within_the_basis_leaves_only_random_directions():
    basis = random_basis(10)
    _, h, r = split(basis @ np.ones((10, WIDTH)), basis, scale=1.0)
    np.testing.assert_allclose(h, np.ones((10, WIDTH)), atol=1e-13)
    assert np.abs(r).max() == 0


def test_block_almost_within_the_basis_keeps_its_small_rest():
    basis = random_basis(10)
    rest = 1e-9 * random_block()
    q, _, r = split(basis @ np.ones((10, WIDTH)) + rest, basis, scale=1.0)
    outside = rest - basis @ (basis.T @ rest)
    np.testing.assert_allclose(q @ r, outside, atol=1e-14)


def test_equal_columns_and_a_zero_column():
    block = random_block()
    block[:, 2] = block[:, 0]
    block[:, 4] = 0
    split(block)


def test_nearly_dependent_columns():
    block = random_block(width=1) + 1e-11 * random_block()
    split(block)


def test_what_vanishes_against_the_scale_is_zero():
    _, _, r = split(1e-20 * random_block(), random_basis(3), scale=1.0)
    assert (r == 0).all()


def test_last_direction_of_the_space_is_found():
    basis = random_basis(N - 1)
    q, _, _ = split(np.zeros((N, 1)), basis, scale=1.0)
    assert np.abs(np.linalg.norm(q) - 1) < 1e-14


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(0, 30), st.integers(-30, 30))
def test_any_block_of_any_rank_and_size(seed, rank, columns, exponent):
    rng = np.random.default_rng(seed)
    block = rng.standard_normal((N, rank)) @ rng.standard_normal((rank, WIDTH)) * 10.0**exponent
    split(block, random_basis(columns) if columns else None)
