"""Ridge regressions of sparse rows: against dense normal equations, in every way that they are solved."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

from recscale_dask.linalg.nonnegative import nonnegative_rows
from recscale_dask.linalg.ridge import ridge_rows


class Problem:
    """Rows with 0, 1, some and many entries, and factors in the axes of their Gram matrix."""

    def __init__(self, width, n_columns=700, lengths=(0, 1, 7, 8, 17, 40, 100, 300, 700), scale=1.0, seed=0):
        rng = np.random.default_rng(seed)
        self.rng, self.width, self.n_rows = rng, width, len(lengths)
        self.indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        chosen = [np.sort(rng.choice(n_columns, length, replace=False)) for length in lengths]
        self.indices = np.concatenate(chosen).astype(np.int32)
        factors = rng.standard_normal((n_columns, width)) * scale / np.sqrt(width)
        _, axes = np.linalg.eigh(factors.T @ factors)
        self.factors = (factors @ axes).astype(np.float32)
        self.curvature = np.square(self.factors, dtype=np.float64).sum(axis=0).astype(np.float32)
        self.roots = np.sqrt(rng.uniform(0.5, 5.0, len(self.indices))).astype(np.float32)
        self.targets = rng.standard_normal(len(self.indices)).astype(np.float32) + 2
        self.penalties = rng.uniform(0.1, 2.0, self.n_rows).astype(np.float32)
        self.shares = np.ones(width, np.float32)
        self.gram = self.factors.astype(np.float64).T @ self.factors

    def system(self, row):
        """Return the matrix and right side of a row, in float64."""
        entries = slice(self.indptr[row], self.indptr[row + 1])
        own = self.factors[self.indices[entries]].astype(np.float64) * self.roots[entries, None]
        matrix = self.gram + own.T @ own + self.penalties[row] * np.diag(self.shares)
        return matrix, own.T @ self.targets[entries].astype(np.float64)

    def expected(self):
        rows = [np.linalg.solve(*self.system(row)) for row in range(self.n_rows)]
        fits = [-self.system(row)[1] @ x for row, x in enumerate(rows)]
        return np.array(rows), np.array(fits)

    def solved(self, steps=0, exact_up_to=0, start=None):
        out, fits = np.empty((self.n_rows, self.width), np.float32), np.empty(self.n_rows)
        begun = np.zeros((0, self.width), np.float32) if start is None else start
        arrays = self.indptr, self.indices, self.roots, self.targets, self.factors.reshape(-1)
        ridge_rows(*arrays, self.curvature, self.shares, self.penalties, begun, steps, exact_up_to, out, fits)
        return out, fits


@pytest.mark.parametrize("width", [16, 48, 64, 128])
@pytest.mark.parametrize(("steps", "exact_up_to"), [(0, 0), (40, 0), (40, 16), (40, 1000)])
def test_rows_solve_their_normal_equations(width, steps, exact_up_to):
    problem = Problem(width)
    rows, fits = problem.solved(steps, exact_up_to)
    expected, expected_fits = problem.expected()
    np.testing.assert_allclose(rows, expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(fits, expected_fits, rtol=1e-5, atol=1e-6)


def test_gradients_go_on_from_the_start_and_report_the_fit_of_where_they_end():
    problem = Problem(32)
    start = problem.rng.standard_normal((problem.n_rows, 32)).astype(np.float32)
    rows, fits = problem.solved(steps=2, start=start)
    for row in range(1, problem.n_rows):
        matrix, right = problem.system(row)

        def fit(x, matrix=matrix, right=right):
            return x @ matrix @ x - 2 * right @ x

        at = rows[row].astype(np.float64)
        assert fits[row] == pytest.approx(fit(at), rel=1e-4, abs=1e-4)
        assert fit(at) < fit(start[row].astype(np.float64))


def test_a_row_longer_than_the_scratch_is_gathered_in_pieces():
    width, n = 256, 3000  # 1024 rows of scratch
    problem = Problem(width, n_columns=n, lengths=(n,))
    expected, fits = problem.expected()
    for steps in (0, 60):
        rows, found = problem.solved(steps)
        np.testing.assert_allclose(rows, expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(found, fits, rtol=1e-5)


def test_rows_that_single_precision_cannot_solve_are_solved_in_double():
    problem = Problem(16, scale=1e4)
    problem.curvature[:], problem.gram[:] = 0.0, 0.0
    problem.penalties[:] = 1e-2
    rows, _ = problem.solved()
    expected, _ = problem.expected()
    np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-6 * np.abs(expected).max())


def test_rows_without_entries_are_zero():
    rows, fits = Problem(16, lengths=(0, 3, 0)).solved()
    assert not rows[[0, 2]].any()
    assert not fits[[0, 2]].any()


def test_unknowns_without_a_penalty_and_without_curvature_are_zero():
    problem = Problem(32)
    problem.curvature[20:], problem.shares[20:] = 0.0, 0.0
    rows, _ = problem.solved()
    assert not rows[:, 20:].any()
    assert rows[1:, :20].all()


@pytest.mark.parametrize("width", [16, 32])
def test_nonnegative_rows_are_those_of_nnls(width):
    problem = Problem(width, lengths=(0, 1, 20, 200))
    out, fits = np.empty((4, width), np.float32), np.empty(4)
    arrays = problem.indptr, problem.indices, problem.roots, problem.targets, problem.factors.reshape(-1)
    gram, bounds = problem.gram.astype(np.float32).reshape(-1), np.zeros(width, np.float32)
    start = np.abs(problem.rng.standard_normal((4, width))).astype(np.float32)
    nonnegative_rows(*arrays, gram, problem.shares, problem.penalties, bounds, start, out, fits)
    assert not out[0].any()
    for row in range(1, 4):
        matrix, right = problem.system(row)
        factor = np.linalg.cholesky(matrix)
        expected, _ = scipy.optimize.nnls(factor.T, np.linalg.solve(factor, right))
        np.testing.assert_allclose(out[row], expected, atol=1e-4 * expected.max())
        assert fits[row] == pytest.approx(expected @ matrix @ expected - 2 * right @ expected, rel=1e-4)
    assert (out >= 0).all()
    assert (out[1:] == 0).any()


def test_kernels_give_the_same_bits_for_any_cut_of_the_rows():
    problem = Problem(64)
    whole, fits = problem.solved(steps=3)
    rows = sp.csr_array((problem.roots, problem.indices, problem.indptr), shape=(problem.n_rows, 700))
    part = Problem(64)
    part.indptr = problem.indptr[4:] - problem.indptr[4]
    part.indices, part.roots = rows.indices[problem.indptr[4] :].copy(), rows.data[problem.indptr[4] :].copy()
    part.targets, part.penalties = problem.targets[problem.indptr[4] :].copy(), problem.penalties[4:].copy()
    part.n_rows = problem.n_rows - 4
    again, fits_again = part.solved(steps=3)
    assert again.tobytes() == whole[4:].tobytes()
    assert fits_again.tobytes() == fits[4:].tobytes()
