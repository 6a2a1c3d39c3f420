import numpy as np
import pytest

from recscale_dask.testing.matrices import checkerboard, planted_low_rank, planted_tastes


def test_planted_svd_is_the_svd_of_its_matrix() -> None:
    planted = planted_low_rank(120, 50, (5, 3, 3, 0.1), density=0.1, seed=1)
    found = np.linalg.svd(planted.matrix.toarray(), compute_uv=False)
    np.testing.assert_allclose(found[:4], [5, 3, 3, 0.1], rtol=1e-12)
    assert found[4] < 1e-12
    product = planted.user_vectors * planted.singular_values @ planted.item_vectors.T
    np.testing.assert_allclose(planted.matrix.toarray(), product, atol=1e-14)
    np.testing.assert_allclose(planted.item_vectors.T @ planted.item_vectors, np.eye(4), atol=1e-14)


def test_planted_svd_is_as_dense_as_was_asked() -> None:
    planted = planted_low_rank(1000, 400, (4, 3, 2, 1), density=0.05)
    assert planted.matrix.nnz == pytest.approx(0.05 * 400_000, rel=0.02)


@pytest.mark.parametrize(
    ("values", "density", "message"),
    [((1, 0), 0.1, "above 0"), ((), 0.1, "above 0"), ((2, 1), 0.6, "at most 1/2"), ((2, 1), 1e-5, "a row")],
)
def test_plant_that_does_not_fit_is_refused(values: tuple[float, ...], density: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planted_low_rank(50, 50, values, density=density)


def test_checkerboard_has_the_known_singular_values() -> None:
    found = np.linalg.svd(checkerboard(8).toarray(), compute_uv=False)
    np.testing.assert_allclose(found, [3, 3, 1, 1, 1, 1, 1, 1], rtol=1e-6)


def test_tastes_have_no_pair_twice_and_valid_ratings() -> None:
    tastes = planted_tastes(300, 100, 4, seed=2)
    assert len(set(zip(tastes.users.tolist(), tastes.items.tolist(), strict=True))) == len(tastes.users)
    assert set(np.unique(tastes.values * 2)) <= set(range(1, 11))
    assert np.bincount(tastes.users, minlength=300).min() >= 3
    assert list(tastes.columns()) == ["user", "item", "value", "time"]
    assert (np.diff(tastes.times) >= 0).all()


def test_tastes_follow_the_groups_and_popularity() -> None:
    tastes = planted_tastes(seed=0)
    at_home = tastes.item_groups[tastes.items] == tastes.user_groups[tastes.users]
    assert 0.6 < at_home.mean() < 0.85
    counts = np.sort(np.bincount(tastes.items, minlength=600))[::-1]
    assert counts[:60].sum() > 3 * counts[300:360].sum()


def test_tastes_are_the_same_for_the_same_seed() -> None:
    first, again, other = (planted_tastes(200, 60, 3, seed=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(first.columns()[name], again.columns()[name]) for name in first.columns())
    assert not np.array_equal(first.user_groups, other.user_groups)
