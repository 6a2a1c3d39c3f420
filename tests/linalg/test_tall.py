import numpy as np
import pytest

from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.linalg import tall as tall_module
from recscale_dask.linalg.tall import tall_algebra

SHAPES = [(1, 1), (5, 3), (64, 7), (65, 7), (2000, 12), (900, 40)]


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch):
    monkeypatch.setattr(tall_module, "_SLAB_ROWS", 64)


def matrices(n, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, width)), rng.standard_normal((n, 3)), rng.standard_normal((width, 5))


@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_products_are_those_of_numpy(n, width):
    tall, other, small = matrices(n, width)
    with tall_algebra(2) as algebra:
        np.testing.assert_allclose(algebra.cross(tall, other), tall.T @ other, atol=1e-9)
        np.testing.assert_allclose(algebra.times(tall, small), tall @ small, atol=1e-10)
        np.testing.assert_allclose(algebra.column_norms(tall), np.linalg.norm(tall, axis=0), rtol=1e-12)
        target = np.ones((n, 5))
        algebra.subtract(target, tall, small)
        np.testing.assert_allclose(target, 1 - tall @ small, atol=1e-10)


@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_bits_do_not_depend_on_the_number_of_threads(n, width):
    tall, other, small = matrices(n, width)
    results = []
    for threads in (1, 3):
        with single_threaded_blas(), tall_algebra(threads) as algebra:
            target = other.copy()
            algebra.subtract(target, tall, small[:, :3])
            arrays = [algebra.cross(tall, other), algebra.times(tall, small), algebra.column_norms(tall), target]
            results.append([array.tobytes() for array in (*arrays, *algebra.qr(tall))])
    assert results[0] == results[1]


@pytest.mark.parametrize(("n", "width"), [*SHAPES, (160 + 20, 40), (3 * 64 + 1, 2)])
def test_qr_is_orthonormal_and_gives_the_matrix_back(n, width):
    tall, _, _ = matrices(n, width)
    with tall_algebra(2) as algebra:
        q, r = algebra.qr(tall)
    np.testing.assert_allclose(q @ r, tall, atol=1e-10)
    np.testing.assert_allclose(q.T @ q, np.eye(width), atol=1e-13)


def test_qr_of_a_deficient_matrix_is_orthonormal_all_the_same():
    tall = np.random.default_rng(0).standard_normal((1000, 2)) @ np.ones((2, 6))
    tall[:, 3] = 0
    with tall_algebra(2) as algebra:
        q, r = algebra.qr(tall)
    np.testing.assert_allclose(q @ r, tall, atol=1e-11)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-13)


def test_times_may_write_into_its_own_columns():
    tall, _, _ = matrices(9000, 6)
    small = np.random.default_rng(1).standard_normal((6, 2))
    expected = tall @ small
    with tall_algebra(2) as algebra:
        algebra.times(tall, small, tall[:, :2])
    np.testing.assert_allclose(tall[:, :2], expected, atol=1e-12)


def test_matrices_without_rows_are_fine():
    empty = np.zeros((0, 3))
    with tall_algebra(1) as algebra:
        assert algebra.cross(empty, empty).tolist() == np.zeros((3, 3)).tolist()
        assert algebra.column_norms(empty).tolist() == [0, 0, 0]
