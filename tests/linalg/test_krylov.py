import numpy as np
import pytest

from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.linalg.tall import tall_algebra

N = 150


def lanczos_for(eigenvalues, wanted, algebra, *, block_size=4, basis_size=30, **options):
    """Return the solver of a matrix with these eigenvalues, the matrix, and its eigenvectors."""
    eigenvalues = np.concatenate([eigenvalues, np.zeros(N - len(eigenvalues))])
    vectors = np.linalg.qr(np.random.default_rng(1).standard_normal((N, N)))[0]
    matrix = vectors * eigenvalues @ vectors.T
    rng = np.random.default_rng(0)
    sizes = {"block_size": block_size, "basis_size": basis_size}
    return BlockLanczos(lambda x: matrix @ x, N, wanted, algebra=algebra, rng=rng, **sizes, **options), matrix, vectors


def run(lanczos, tolerance=1e-10, most=300):
    while lanczos.steps < most:
        lanczos.step()
        values, residuals = lanczos.ritz()
        if lanczos.exhausted or (len(values) == lanczos._wanted and (residuals <= tolerance * values[0]).all()):
            break
    return lanczos.ritz()


@pytest.fixture
def algebra():
    with tall_algebra(1) as opened:
        yield opened


def test_largest_eigenpairs_are_found_with_restarts(algebra):
    eigenvalues = np.linspace(1, 0.1, N) ** 2
    lanczos, matrix, _ = lanczos_for(eigenvalues, 10, algebra)
    values, residuals = run(lanczos)
    np.testing.assert_allclose(values, eigenvalues[:10], rtol=1e-12)
    vectors = lanczos.vectors(10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-12)
    assert lanczos.steps * 4 > 30  # the basis was full more than once
    measured = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(measured, residuals, atol=1e-13)


def test_residuals_are_the_measured_ones_at_every_step(algebra):
    lanczos, matrix, _ = lanczos_for(np.geomspace(1, 1e-3, N), 5, algebra, basis_size=12)
    for _ in range(25):
        lanczos.step()
        values, residuals = lanczos.ritz()
        vectors = lanczos.vectors(len(values))
        measured = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
        np.testing.assert_allclose(residuals, measured, atol=1e-13)


@pytest.mark.parametrize("block_size", [1, 7, N, 2 * N])
def test_whole_space_is_exhausted_and_exact(algebra, block_size):
    eigenvalues = np.random.default_rng(3).random(N)
    lanczos, _, _ = lanczos_for(eigenvalues, 4, algebra, block_size=block_size, basis_size=N)
    while not lanczos.exhausted:
        lanczos.step()
    values, residuals = lanczos.ritz()
    assert lanczos.size == N
    np.testing.assert_allclose(values, np.sort(eigenvalues)[::-1][:4], rtol=1e-12)
    assert residuals.max() < 1e-12


def test_rank_below_what_is_wanted_gives_zeros_and_orthonormal_vectors(algebra):
    lanczos, matrix, _ = lanczos_for(np.array([3.0, 2, 1]), 6, algebra)
    values, _ = run(lanczos)
    np.testing.assert_allclose(values, [3, 2, 1, 0, 0, 0], atol=1e-12)
    vectors = lanczos.vectors(6)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-12)
    assert np.abs(matrix @ vectors[:, 3:]).max() < 1e-12


def test_operator_of_zeros_has_zero_values(algebra):
    lanczos, _, _ = lanczos_for(np.zeros(0), 3, algebra)
    values, residuals = run(lanczos)
    assert np.abs(values).max() == 0
    assert residuals.max() == 0


def test_copies_beyond_the_block_are_suspected_and_found_by_widening(algebra):
    eigenvalues = np.concatenate([[5.0] * 11, np.linspace(3, 1, 120)])
    lanczos, _, _ = lanczos_for(eigenvalues, 20, algebra, basis_size=60)
    values, _ = run(lanczos, 1e-4)
    assert (values > 4.9).sum() < 11  # a Krylov space has one copy for each direction, but for rounding
    rounds = 0
    while lanczos.hidden_copies():
        lanczos.widen()
        for _ in range(15):
            lanczos.step()
        rounds += 1
    values, _ = run(lanczos)
    assert rounds >= 1
    np.testing.assert_allclose(values, eigenvalues[:20], rtol=1e-9)


def test_distinct_values_are_not_suspected(algebra):
    lanczos, _, _ = lanczos_for(np.linspace(1, 0.1, N), 20, algebra, basis_size=60)
    run(lanczos, 1e-4)
    assert not lanczos.hidden_copies()


def test_copies_at_the_end_of_what_is_wanted_do_not_matter(algebra):
    lanczos, _, _ = lanczos_for(np.array([9.0, 8] + [5.0] * 20), 6, algebra)
    values, _ = run(lanczos, 1e-8)
    np.testing.assert_allclose(values, [9, 8, 5, 5, 5, 5], rtol=1e-9)
    assert not lanczos.hidden_copies()


def test_search_is_in_the_complement_of_locked_vectors(algebra):
    eigenvalues = np.concatenate([[1e12, 1e11], np.linspace(1, 0.1, 100) * 1e-3])
    _, _, vectors = lanczos_for(eigenvalues, 5, algebra)
    lanczos, _, _ = lanczos_for(eigenvalues, 5, algebra, locked=vectors[:, :2])
    for _ in range(30):
        lanczos.step()
    values, _ = lanczos.ritz()
    found = lanczos.vectors(5)
    assert np.abs(vectors[:, :2].T @ found).max() < 1e-12
    assert values[0] < 1.1e-3 + 1e12 * 1e-15


def test_start_vectors_of_any_length_help(algebra):
    eigenvalues = np.linspace(1, 0.1, N)
    cold, _, vectors = lanczos_for(eigenvalues, 3, algebra)
    run(cold, 1e-6)
    for length in (1e-30, 1e30):
        warm, _, _ = lanczos_for(eigenvalues, 3, algebra, start=length * vectors[:, :3])
        run(warm, 1e-6)
        assert warm.steps < cold.steps


def test_start_of_zeros_or_dependent_columns_is_filled_up(algebra):
    for start in (np.zeros((N, 4)), np.ones((N, 4))):
        lanczos, _, _ = lanczos_for(np.linspace(1, 0.1, N), 3, algebra, start=start)
        np.testing.assert_allclose(run(lanczos)[0], np.linspace(1, 0.1, N)[:3], rtol=1e-10)
