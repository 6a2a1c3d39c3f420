"""The cost model chooses what cannot fail, whatever the shape, and obeys the caller."""

import inspect
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.solvers.svd_plan import SVDPlan, plan_svd

HALF_A_GIB = 1 << 29
SIDES = st.integers(1, 3_000_000)


@st.composite
def problems(draw):
    """Arguments of `plan_svd` that `singular_triplets` may give."""
    shape = draw(SIDES), draw(SIDES)
    nnz = draw(st.integers(0, min(shape[0] * shape[1], 10**10)))
    dtype = np.dtype(draw(st.sampled_from([np.float32, np.float64])))
    k = draw(st.integers(1, min(*shape, 2000)))
    tol = 10.0 ** draw(st.integers(-12, 1))
    return (shape, nnz, dtype, k, tol), {"dense": draw(st.booleans()), "double": draw(st.booleans())}


@given(problems())
def test_any_plan_can_be_carried_out(problem):
    (shape, nnz, dtype, k, tol), flags = problem
    plan = plan_svd(shape, nnz, dtype, k, tol, **flags)
    n = min(shape)
    assert plan.side == ("rows" if shape[0] < shape[1] else "columns")
    assert plan.method in ("block Lanczos", "whole Gram matrix")
    coarse = 1e-6 if nnz >= 1 << 18 else 1e-4  # of a small matrix a second try would cost more than float64
    if dtype != np.float32 or tol < coarse or flags["double"]:
        assert plan.dtype == "float64"
    if plan.dtype == "float32" and plan.degree > 1:
        assert tol >= 1e-4  # a filter takes digits
    assert 1 <= plan.block_size <= n
    assert min(n, 2 * k) <= plan.basis_size <= n
    assert plan.passes >= 2
    assert 0 < plan.seconds < float("inf")
    width = int(plan.dtype[-2:]) // 8
    if plan.method == "whole Gram matrix":
        assert (plan.passes, 8 * n * n) <= (2, HALF_A_GIB)
    else:  # within the limit, unless the rank asks for more
        assert plan.basis_size <= max(HALF_A_GIB // (n * width), 2 * k + 4 * plan.block_size)


@given(problems(), st.integers(1, 500), st.none() | st.integers(1, 5000))
def test_sizes_that_the_caller_gives_are_kept(problem, block_size, basis_size):
    arguments, flags = problem
    n = min(arguments[0])
    plan = plan_svd(*arguments, **flags, block_size=block_size, basis_size=basis_size)
    assert plan.method == "block Lanczos"
    assert plan.block_size == min(block_size, n)
    if basis_size is not None:
        assert plan.basis_size == min(basis_size, n)
        assert plan_svd(*arguments, **flags, basis_size=basis_size).method == "block Lanczos"


@given(problems())
def test_plan_is_plain_values_and_the_same_every_time(problem):
    arguments, flags = problem
    plan = plan_svd(*arguments, **flags)
    assert plan == plan_svd(*arguments, **flags)
    values = plan.as_dict()
    assert json.loads(json.dumps(values)) == values
    assert {type(value) for value in values.values()} <= {str, int, float}
    assert list(values) == list(SVDPlan.__dataclass_fields__)


@given(problems())
def test_transposed_matrix_has_the_plan_of_the_other_side(problem):
    (shape, *rest), flags = problem
    plan, other = plan_svd(shape, *rest, **flags), plan_svd(shape[::-1], *rest, **flags)
    assert {**plan.as_dict(), "side": ""} == {**other.as_dict(), "side": ""}


def test_plan_knows_of_no_executor_and_no_machine():
    assert set(inspect.signature(plan_svd).parameters) == {
        *("shape", "nnz", "dtype", "k", "tol", "dense", "double", "block_size", "basis_size")
    }


@pytest.mark.parametrize("n", [2, 30, 100])
@pytest.mark.parametrize("dense", [True, False])
def test_small_side_takes_its_whole_gram_matrix(n, dense):
    shape = (50_000, n)
    for given_shape in (shape, shape[::-1]):
        plan = plan_svd(given_shape, 50_000 * n // 5, np.dtype(np.float32), min(n, 20), 1e-3, dense=dense)
        assert plan.passes == 2
        assert plan.block_size == n


@pytest.mark.parametrize("n", [20_000, 1_000_000])
def test_large_side_is_iterated(n):
    plan = plan_svd((2 * n, n), 100 * n, np.dtype(np.float32), 64, 1e-3)
    assert plan.method == "block Lanczos"
    assert plan.dtype == "float32"
    assert plan.basis_size * n * 4 <= max(HALF_A_GIB, (2 * 64 + 4 * plan.block_size) * n * 4)
