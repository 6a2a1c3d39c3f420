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


@pytest.mark.parametrize("heights", [[64, 64, 64], [128, 64], [192], [64, 128]])
def test_parts_of_a_matrix_give_what_one_array_gives(heights):
    tall, other, small = matrices(sum(heights), 7)
    parts, others = (np.split(each, np.cumsum(heights)[:-1]) for each in (tall, other))
    with single_threaded_blas(), tall_algebra(2) as algebra:
        for found, expected in [
            (algebra.cross(parts, others), algebra.cross(tall, other)),
            (algebra.times(parts, small), algebra.times(tall, small)),
            (algebra.column_norms(parts), algebra.column_norms(tall)),
            (
                algebra.distances(parts, [part[:, ::-1] for part in parts], np.arange(7.0)),
                algebra.distances(tall, tall[:, ::-1], np.arange(7.0)),
            ),
        ]:
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("heights", [[1, 99], [0, 30, 70], [65, 35], [100], [100, 0]])
def test_parts_of_any_height_are_one_matrix(heights):
    tall, other, small = matrices(100, 7)
    parts, others = (np.split(each, np.cumsum(heights)[:-1]) for each in (tall, other))
    with tall_algebra(2) as algebra:
        np.testing.assert_allclose(algebra.cross(parts, others), tall.T @ other, atol=1e-12)
        np.testing.assert_allclose(algebra.times(parts, small), tall @ small, atol=1e-12)
        np.testing.assert_allclose(algebra.column_norms(parts), np.linalg.norm(tall, axis=0), rtol=1e-12)
        expected = np.linalg.norm(tall - tall[:, ::-1] * np.arange(7.0), axis=0)
        turned = [part[:, ::-1] for part in parts]
        np.testing.assert_allclose(algebra.distances(parts, turned, np.arange(7.0)), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 64, 65, 1000])
def test_distances_are_norms_of_differences(n):
    left, right = matrices(n, 4)[0], matrices(n, 4, seed=1)[0]
    scale = np.array([2.0, 0, -1, 1e-3])
    with tall_algebra(2) as algebra:
        expected = np.linalg.norm(left - right * scale, axis=0)
        np.testing.assert_allclose(algebra.distances(left, right, scale), expected, rtol=1e-12)
        assert algebra.distances(left, left, np.ones(4)).tolist() == [0] * 4


def test_distances_of_float32_parts_are_nearly_those_of_float64():
    left, right = matrices(1000, 4)[0], matrices(1000, 4, seed=1)[0]
    with tall_algebra(1) as algebra:
        rough = algebra.distances(left.astype(np.float32), right.astype(np.float32), np.ones(4))
        np.testing.assert_allclose(rough, np.linalg.norm(left - right, axis=0), rtol=1e-5)


@pytest.mark.parametrize(("n", "width"), SHAPES)
def test_signs_are_those_of_the_entries_of_largest_magnitude(n, width):
    tall, _, _ = matrices(n, width)
    with tall_algebra(2) as algebra:
        expected = np.sign(tall[np.argmax(np.abs(tall), axis=0), range(width)])
        np.testing.assert_array_equal(algebra.signs(tall), expected)
        np.testing.assert_array_equal(algebra.signs(-tall), -expected)


def test_sign_of_equal_magnitudes_is_that_of_the_first():
    tall = np.zeros((200, 5))
    tall[[10, 150], 0] = -2, 2  # in different slabs
    tall[[10, 150], 1] = 2, -2
    tall[[10, 11], 2] = -2, 2
    tall[[10, 11, 199], 3] = -1, 1, -2
    with tall_algebra(2) as algebra:
        assert algebra.signs(tall).tolist() == [-1, 1, -1, -1, 1]
