import numpy as np
import pytest

from recscale_dask.linalg.chebyshev import ChebyshevFilter, sharpest_filter

EIGENVALUES = np.linspace(0, 4, 41)


def product(block):
    return EIGENVALUES[:, None] * block


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_filter_is_a_chebyshev_polynomial_of_the_operator(degree):
    eye = np.eye(len(EIGENVALUES))
    coefficients = np.zeros(degree + 1)
    coefficients[degree] = 1
    expected = np.polynomial.chebyshev.chebval(2 * EIGENVALUES / 1.6 - 1, coefficients)
    found = ChebyshevFilter(degree, 1.6)(product, eye)
    np.testing.assert_allclose(found, np.diag(expected), atol=1e-12)
    np.testing.assert_array_equal(eye, np.eye(len(EIGENVALUES)))


@pytest.mark.parametrize("degree", [2, 3, 4])
def test_values_above_the_edge_are_above_one_and_in_order(degree):
    above = EIGENVALUES[EIGENVALUES > 1.6]
    chebyshev = ChebyshevFilter(degree, 1.6)
    values = chebyshev.values(above)
    np.testing.assert_allclose(values, np.diag(chebyshev(product, np.eye(41)))[EIGENVALUES > 1.6], rtol=1e-12)
    assert (values > 1).all()
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("degree", [2, 3])
def test_relative_residual_bounds_that_of_the_operator_for_errors_below_the_edge(degree):
    chebyshev = ChebyshevFilter(degree, 1.6)
    rng = np.random.default_rng(0)
    for _ in range(50):
        vector = np.where(EIGENVALUES < 1.6, rng.standard_normal(41), 0) * 1e-3
        vector[30] = 1
        vector /= np.linalg.norm(vector)
        value = EIGENVALUES[30]
        true = np.linalg.norm(product(vector[:, None])[:, 0] - value * vector) / value
        filtered = chebyshev(product, vector[:, None])[:, 0]
        residual = np.linalg.norm(filtered - chebyshev.values(value) * vector)
        bound = chebyshev.relative_residuals(chebyshev.values(np.array([value])), np.array([residual]))
        assert true <= bound[0]


def test_nothing_is_known_of_a_pair_below_the_edge():
    bound = ChebyshevFilter(3, 1.6).relative_residuals(np.array([9.0, 1.0, 0.3]), np.full(3, 1e-9))
    assert bound[0] < 1e-9
    np.testing.assert_array_equal(bound[1:], np.inf)


def test_degree_is_the_highest_whose_rounding_is_small():
    assert sharpest_filter(0.8, 1.0, 4.0, degree=3, allowed=1e9) == ChebyshevFilter(3, 0.8)
    assert sharpest_filter(0.8, 1.0, 4.0, degree=3, allowed=100) == ChebyshevFilter(2, 0.8)
    assert sharpest_filter(0.8, 1.0, 4.0, degree=3, allowed=10) is None
    assert sharpest_filter(0.0, 0.0, 4.0, degree=3, allowed=1e9) is None
