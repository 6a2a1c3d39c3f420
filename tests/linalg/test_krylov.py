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
    vectors = lanczos.vectors(0, 10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(10), atol=1e-12)
    assert lanczos.steps * 4 > 30  # the basis was full more than once
    measured = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(measured, residuals, atol=1e-13)


def test_residuals_are_the_measured_ones_at_every_step(algebra):
    lanczos, matrix, _ = lanczos_for(np.geomspace(1, 1e-3, N), 5, algebra, basis_size=12)
    for _ in range(25):
        lanczos.step()
        values, residuals = lanczos.ritz()
        vectors = lanczos.vectors(0, len(values))
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
    vectors = lanczos.vectors(0, 6)
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
    found = lanczos.vectors(0, 5)
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


# -- partial reorthogonalization -----------------------------------------------------------------------------

SPECTRA = {
    "flat": np.linspace(1, 0.1, 400),
    "low rank": np.geomspace(1, 1e-3, 30),
    "copies of low rank": np.concatenate([[1] * 40, np.linspace(0.99, 0.2, 100)]) ** 2,
}
STEEP = {
    "steep": np.geomspace(1, 1e-8, 400),
    "two above many": np.concatenate([[1, 0.5], np.full(398, 0.01) + np.linspace(0, 0.01, 398)]),
}


def grown(spectrum, algebra, dtype, *, basis_size=400, wanted=20, block_size=4):
    """Return the solver of a diagonal matrix of order 400, and that matrix."""
    matrix = np.zeros(400)
    matrix[: len(spectrum)] = spectrum
    lanczos = BlockLanczos(
        lambda x: (matrix[:, None] * x).astype(x.dtype),
        400,
        wanted,
        block_size=block_size,
        basis_size=basis_size,
        algebra=algebra,
        rng=np.random.default_rng(0),
        dtype=dtype,
    )
    return lanczos, matrix


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("basis_size", [80, 400])
def test_basis_stays_orthonormal_and_residuals_are_the_measured_ones(algebra, spectrum, dtype, basis_size):
    lanczos, matrix = grown(spectrum, algebra, dtype, basis_size=basis_size)
    epsilon = np.finfo(dtype).eps
    for _ in range(60):
        lanczos.step()
        basis = lanczos._basis[:, : lanczos._size + lanczos._next].astype(np.float64)
        # Half of the digits make Ritz values exact (Simon, 1984).
        assert np.abs(basis.T @ basis - np.eye(basis.shape[1])).max() < epsilon**0.5
        values, residuals = lanczos.ritz()
        vectors = lanczos.vectors(0, len(values)).astype(np.float64)
        measured = np.linalg.norm(matrix[:, None] * vectors - vectors * values, axis=0)
        np.testing.assert_allclose(residuals, measured, atol=epsilon**0.45)
        if lanczos.exhausted:
            break


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_basis_of_a_flat_spectrum_keeps_seven_tenths_of_the_digits(algebra, dtype):
    lanczos, _ = grown(SPECTRA["flat"], algebra, dtype)
    while not lanczos.exhausted:
        lanczos.step()
        basis = lanczos._basis[:, : lanczos._size + lanczos._next].astype(np.float64)
        assert np.abs(basis.T @ basis - np.eye(basis.shape[1])).max() < np.finfo(dtype).eps ** 0.7


# Two steps without the far part of the basis would let rounding grow by (scale / smallest coupling)**2.
@pytest.mark.parametrize(
    ("spectrum", "dtype", "sizes"),
    [
        ("steep", np.float64, {"block_size": 8, "basis_size": 400}),
        ("two above many", np.float32, {"block_size": 4, "basis_size": 80}),
    ],
)
def test_basis_of_a_steep_spectrum_stays_orthonormal(algebra, spectrum, dtype, sizes):
    lanczos, _ = grown(STEEP[spectrum], algebra, dtype, **sizes)
    for _ in range(45):
        lanczos.step()
        basis = lanczos._basis[:, : lanczos._size + lanczos._next].astype(np.float64)
        assert np.abs(basis.T @ basis - np.eye(basis.shape[1])).max() < np.finfo(dtype).eps ** 0.5


def test_directions_that_vanish_between_full_reorthogonalizations_stay_out_of_the_basis(algebra):
    # The rank ends at steps of any place in the cycle of those with and without.
    for rank in range(1, 60):
        lanczos, _ = grown(np.geomspace(1, 1e-2, rank), algebra, np.float64, wanted=70)
        for _ in range(25):
            lanczos.step()
        basis = lanczos._basis[:, : lanczos._size + lanczos._next]
        assert np.abs(basis.T @ basis - np.eye(basis.shape[1])).max() < 1e-8, rank
        values, residuals = lanczos.ritz()
        np.testing.assert_allclose(values[:rank], np.geomspace(1, 1e-2, rank), rtol=1e-9)
        assert residuals.max() < 1e-10


@pytest.mark.parametrize("wanted", [5, 60])
@pytest.mark.parametrize("count", [1, 4, 5])
@pytest.mark.parametrize("locked", [0, 3])
def test_smallest_wanted_pairs_are_the_last_of_all_wanted_ones(algebra, wanted, count, locked):
    matrix = 1 / np.arange(1.0, 401)
    lanczos, again = (
        BlockLanczos(
            lambda x: matrix[:, None] * x,
            400,
            wanted,
            block_size=8,
            basis_size=390,
            algebra=algebra,
            rng=np.random.default_rng(0),
            locked=np.eye(400)[:, :locked],
        )
        for _ in range(2)
    )
    while lanczos.size < 330:
        lanczos.step()
        again.step()
        if lanczos.size >= wanted and lanczos.size % 64 < 8:
            values, residuals = lanczos.smallest_wanted(count)  # before the others are extracted
            all_values, all_residuals = again.ritz()
            np.testing.assert_allclose(values, all_values[-count:], rtol=1e-9)
            np.testing.assert_allclose(residuals, all_residuals[-count:], rtol=1e-6, atol=1e-14)
    np.testing.assert_array_equal(lanczos.smallest_wanted(count)[0], lanczos.smallest_wanted(count)[0])


def test_value_that_so_many_eigenvalues_are_above_is_estimated_from_a_few_steps(algebra):
    matrix = np.random.default_rng(1).permutation(np.linspace(0, 1, 2000) ** 4)
    for count in (50, 200):
        lanczos = BlockLanczos(
            lambda x: matrix[:, None] * x,
            2000,
            count,
            block_size=16,
            basis_size=400,
            algebra=algebra,
            rng=np.random.default_rng(0),
        )
        for _ in range(5):
            lanczos.step()
        np.testing.assert_allclose(lanczos.value_at(count), np.sort(matrix)[-count], rtol=0.15)
