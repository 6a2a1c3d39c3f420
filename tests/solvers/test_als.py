"""Alternating least squares: against dense objectives and solutions, and what a model of it does."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.errors import DataError, ModelFormatError, NotConvergedWarning, OptionError
from recscale_dask.execution.events import RunStarted, SolverStep
from recscale_dask.testing.matrices import planted_tastes

IMPLICIT = {"solver": "als-implicit", "progress": False, "executor": "serial"}
EXPLICIT = {"solver": "als-explicit", "progress": False, "executor": "serial"}


def counts(shape=(60, 40), density=0.2, seed=0):
    """Counts of 1 to 4, with a user and an item that have none."""
    rng = np.random.default_rng(seed)
    rows = sp.random_array(shape, density=density, rng=rng, format="lil")
    rows[7], rows[:, 5] = 0, 0
    rows = rows.tocsr().astype(np.float32)
    rows.eliminate_zeros()
    rows.data = rng.integers(1, 5, rows.nnz).astype(np.float32)
    return rows


def implicit_objective(A, users, items, *, regularization, exponent=0.0, offset=0.0, alpha=1.0):
    dense, users, items = A.toarray().astype(np.float64), users.astype(np.float64), items.astype(np.float64)
    stored = dense > 0
    loss = ((1 + alpha * dense) * (stored - users @ items.T) ** 2).sum()
    for rows, n, size in ((users, stored.sum(1), dense.shape[1]), (items, stored.sum(0), dense.shape[0])):
        loss += (regularization * (n + offset * size) ** exponent * (rows**2).sum(axis=1)).sum()
    return loss


def explicit_objective(A, model, *, regularization, bias_regularization, exponent):
    dense = A.toarray().astype(np.float64)
    stored = dense != 0
    mean = dense.sum() / stored.sum()
    users, items = model.user_factors.astype(np.float64), model.item_factors.astype(np.float64)
    loss = ((dense - users @ items.T)[stored] ** 2).sum()
    for rows, biases, n in (
        (users[:, :-2], users[:, -2] - mean, stored.sum(1)),
        (items[:, :-2], items[:, -1], stored.sum(0)),
    ):
        loss += (regularization * n**exponent * (rows**2).sum(axis=1)).sum() + bias_regularization * (biases**2).sum()
    return loss


PENALTIES = [{}, {"exponent": 1.0}, {"exponent": 0.5, "offset": 0.3, "alpha": 4.0}]


@pytest.mark.parametrize("options", PENALTIES)
@pytest.mark.parametrize("how", [{"method": "cholesky"}, {"method": "cg"}, {"nonnegative": True}])
def test_the_objective_is_that_of_the_dense_formula_and_never_rises(options, how):
    A = counts()
    model = rs.factorize(A, rank=5, regularization=0.3, tol=1e-5, max_sweeps=500, **options, **how, **IMPLICIT)
    objective = model.provenance["objective"]
    users = model.user_factors.copy()
    users[7] = 0  # has no items, and so none of the objective
    expected = implicit_objective(A, users, model.item_factors, regularization=0.3, **options)
    assert objective[-1] == pytest.approx(expected, rel=1e-5)
    assert (np.diff(objective) <= 1e-6 * objective[-1]).all()
    assert model.provenance["converged"]
    assert model.provenance["sweeps"] == len(objective) - 1


@pytest.mark.parametrize("options", PENALTIES)
def test_users_solve_their_dense_normal_equations(options):
    A, regularization = counts(), 0.3
    model = rs.factorize(A, rank=5, regularization=regularization, **options, **IMPLICIT)
    items, dense = model.item_factors.astype(np.float64), A.toarray().astype(np.float64)
    alpha, offset, exponent = options.get("alpha", 1.0), options.get("offset", 0.0), options.get("exponent", 0.0)
    for user in (0, 1, 20):
        stored = dense[user] > 0
        penalty = regularization * (stored.sum() + offset * len(stored)) ** exponent
        matrix = items.T @ ((1 + alpha * dense[user])[:, None] * items) + penalty * np.eye(5)
        expected = np.linalg.solve(matrix, items.T @ ((1 + alpha * dense[user]) * stored))
        np.testing.assert_allclose(model.user_factors[user], expected, atol=1e-5 * np.abs(expected).max())


def test_both_methods_end_at_the_same_scores():
    A = counts((300, 80))
    exact, steps = (
        rs.factorize(A, rank=6, method=method, regularization=5.0, alpha=3.0, tol=1e-7, max_sweeps=200, **IMPLICIT)
        for method in ("cholesky", "cg")
    )
    assert steps.provenance["objective"][-1] == pytest.approx(exact.provenance["objective"][-1], rel=1e-5)
    scores = [model.reconstruct().compute() for model in (exact, steps)]
    np.testing.assert_allclose(scores[0], scores[1], atol=0.02)


def test_planted_tastes_are_found_better_than_popularity():
    tastes = pa.table(planted_tastes(800, 200, 5, seed=1).columns())
    train, test = rs.split(rs.read_interactions(tastes), how="random", fraction=0.2, seed=0)
    matrix = rs.UserItemMatrix.from_interactions(train)
    recall = {}
    for solver in ("als-implicit", "popularity"):
        model = rs.factorize(matrix, solver=solver, rank=8, executor="serial", progress=False)
        recall[solver] = rs.evaluate(model, test, metrics=["recall@10"], progress=False).metrics["recall@10"]
    assert recall["als-implicit"] > 1.5 * recall["popularity"]


def test_planted_ratings_of_low_rank_are_recovered():
    rng = np.random.default_rng(0)
    users, items = rng.standard_normal((200, 3)), rng.standard_normal((120, 3))
    ratings = 3 + rng.standard_normal(200)[:, None] / 2 + rng.standard_normal(120) / 2 + users @ items.T
    chosen = rng.random(ratings.shape) < 0.4
    A = sp.csr_array(np.where(chosen, ratings, 0.0))
    model = rs.factorize(
        A, rank=3, regularization=1e-3, bias_regularization=1e-3, exponent=0, tol=0, max_sweeps=200, **EXPLICIT
    )
    error = model.reconstruct().compute() - ratings
    assert np.sqrt(np.mean(error[~chosen] ** 2)) < 0.02


@pytest.mark.parametrize("how", [{"method": "cholesky"}, {"method": "cg"}, {"nonnegative": True}])
def test_the_explicit_objective_is_that_of_the_dense_formula_and_never_rises(how):
    A = counts()
    options = {"regularization": 0.2, "bias_regularization": 0.5, "exponent": 0.7}
    model = rs.factorize(A, rank=4, tol=1e-4, max_sweeps=100, **options, **how, **EXPLICIT)
    objective = model.provenance["objective"]
    assert objective[-1] == pytest.approx(explicit_objective(A, model, **options), rel=1e-5)
    assert (np.diff(objective) <= 1e-6 * objective[-1]).all()


def test_explicit_users_solve_for_factors_and_bias_together():
    A = counts()
    model = rs.factorize(A, rank=4, regularization=0.2, bias_regularization=0.6, exponent=1, **EXPLICIT)
    dense, items = A.toarray().astype(np.float64), model.item_factors.astype(np.float64)
    mean = dense.sum() / (dense != 0).sum()
    for user in (0, 3):
        stored = dense[user] != 0
        design = items[stored, :-1]  # factors and 1
        penalty = np.diag([0.2 * stored.sum()] * 4 + [0.6])
        rest = dense[user, stored] - mean - items[stored, -1]
        expected = np.linalg.solve(design.T @ design + penalty, design.T @ rest)
        expected[-1] += mean
        np.testing.assert_allclose(model.user_factors[user, :-1], expected, atol=1e-5)
        assert model.user_factors[user, -1] == 1


def test_nonnegative_factors_are_not_negative():
    model = rs.factorize(counts(), rank=5, nonnegative=True, **IMPLICIT)
    assert (model.user_factors >= 0).all()
    assert (model.item_factors >= 0).all()
    rated = rs.factorize(counts(), rank=5, nonnegative=True, **EXPLICIT)
    assert (rated.user_factors[:, :-2] >= 0).all()
    assert (rated.item_factors[:, :-1] >= 0).all()
    assert (rated.item_factors[:, -1] < 0).any()


def test_users_without_items_are_recommended_what_all_users_like():
    A = counts()
    model = rs.factorize(A, rank=5, **IMPLICIT)
    assert np.isfinite(model.user_factors).all()
    best = model.recommend([7], k=5)["item"].to_pylist()
    known = np.delete(model.user_factors, 7, axis=0).mean(axis=0) @ model.item_factors.T
    assert best == np.argsort(-known, kind="stable")[:5].tolist()
    popular = np.argsort(-A.toarray().sum(axis=0))[:15]
    assert len(set(best) & set(popular.tolist())) >= 4
    nobody = model.fold_in(sp.csr_array((1, 40), dtype=np.float32))
    assert nobody.user_factors.tobytes() == model.user_factors[[7]].tobytes()


def test_users_and_items_without_ratings_have_the_mean_and_the_bias_of_the_other():
    A = counts()
    model = rs.factorize(A, rank=5, **EXPLICIT)
    mean = A.data.mean()
    scores = model.reconstruct().compute()
    np.testing.assert_allclose(scores[7], mean + model.item_factors[:, -1], rtol=1e-6)
    np.testing.assert_allclose(scores[:, 5], model.user_factors[:, -2], rtol=1e-6)
    assert scores[7, 5] == pytest.approx(mean)


@pytest.mark.parametrize(
    "options",
    [
        IMPLICIT,
        {**IMPLICIT, "weighting": "bm25"},
        {**IMPLICIT, "nonnegative": True},
        EXPLICIT,
        {**IMPLICIT, "rank": 36, "tol": 0},
    ],
)
def test_users_of_the_fit_folded_in_have_the_same_factors(options, tmp_path):
    A = counts()
    model = rs.factorize(A, **{"rank": 5, **options})
    assert model.fold_in(A).user_factors.tobytes() == model.user_factors.tobytes()
    model.save(tmp_path / "model")
    assert rs.load_model(tmp_path / "model").fold_in(A).user_factors.tobytes() == model.user_factors.tobytes()


@pytest.mark.parametrize("options", [IMPLICIT, {**IMPLICIT, "nonnegative": True}])
def test_a_score_is_the_sum_of_the_contributions_of_the_users_items(options):
    model = rs.factorize(counts(), rank=5, **options)
    explanation = model.explain(3, 11)
    assert explanation.remainder == pytest.approx(0, abs=1e-5)
    assert explanation.others + sum(explanation.contributions["contribution"].to_pylist()) == pytest.approx(
        explanation.score, abs=1e-5
    )


def test_what_no_rating_contributes_is_the_mean_and_the_bias_of_the_item():
    A = counts()
    model = rs.factorize(A, rank=5, **EXPLICIT)
    assert model.explain(3, 11).remainder == pytest.approx(A.data.mean() + model.item_factors[11, -1], abs=1e-5)


def test_singular_values_are_those_of_the_product():
    model = rs.factorize(counts(), rank=5, **IMPLICIT)
    users = model.user_factors.copy()
    users[7] = 0
    expected = np.linalg.svd(users @ model.item_factors.T, compute_uv=False)[:5]
    np.testing.assert_allclose(model.singular_values, expected, rtol=1e-5)


def test_a_zero_is_as_what_is_not_stored():
    A = counts()
    B = A.copy()
    B.data[::5] = 0
    stored = rs.factorize(B, rank=4, **IMPLICIT)
    B.eliminate_zeros()
    without = rs.factorize(B, rank=4, **IMPLICIT)
    np.testing.assert_allclose(stored.reconstruct().compute(), without.reconstruct().compute(), atol=1e-4)


def test_drift_is_refused():
    model = rs.factorize(counts(), rank=4, **IMPLICIT)
    with pytest.raises(ModelFormatError, match="alternating least squares"):
        model.drift(counts())


# -- going on ------------------------------------------------------------------------------------------


def test_an_earlier_model_saves_sweeps_whatever_users_and_items_were_added():
    A = counts((300, 80))
    ids = {"users": [f"u{i}" for i in range(300)], "items": [f"i{i}" for i in range(80)]}
    whole = rs.UserItemMatrix.from_scipy(A, **ids)
    part = rs.UserItemMatrix.from_scipy(A[20:, 3:], users=ids["users"][20:], items=ids["items"][3:])
    options = {"rank": 6, "tol": 1e-4, "max_sweeps": 100}
    for named in (IMPLICIT, {**EXPLICIT, "regularization": 1.0}):
        earlier = rs.factorize(part, **options, **named)
        cold, warm = (
            rs.factorize(whole, **options, **named),
            rs.factorize(whole, warm_start=earlier, **options, **named),
        )
        # Its first sweep is as good as the third of a fit from random rows.
        assert warm.provenance["objective"][0] < cold.provenance["objective"][2]


@pytest.mark.parametrize("options", [{**IMPLICIT, "method": "cg"}, EXPLICIT])
def test_a_fit_that_is_stopped_ends_in_the_same_bytes(options, tmp_path):
    A = counts((200, 70))
    options = {"rank": 5, "tol": 0, "max_sweeps": 4, **options}
    whole = rs.factorize(A, **options)

    class Stopped(Exception):
        pass

    for stop in range(1, 9):
        count = 0

        def observer(event, stop=stop):
            nonlocal count
            if isinstance(event, RunStarted) and "sweep" in event.label:
                count += 1
                if count == stop:
                    raise Stopped

        with pytest.raises(Stopped):
            rs.factorize(A, checkpoint=tmp_path / "state", resume=stop > 1, **{**options, "progress": observer})
        model = rs.factorize(A, checkpoint=tmp_path / "state", resume=True, **options)
        assert model.factors_sha256() == whole.factors_sha256()
        assert model.provenance["objective"] == whole.provenance["objective"]
        shutil.rmtree(tmp_path / "state")


def test_steps_tell_how_far_the_objective_fell():
    steps = []
    model = rs.factorize(
        counts(), rank=4, solver="als-implicit", tol=0.01, executor="serial",
        progress=lambda event: steps.append(event) if isinstance(event, SolverStep) else None,
    )  # fmt: skip
    objective = model.provenance["objective"]
    assert [each.passes for each in steps] == [2 * (sweep + 1) for sweep in range(model.provenance["sweeps"])]
    assert steps[0].residual == 1
    assert steps[-1].residual == pytest.approx((objective[-3] - objective[-2]) / objective[-2])
    assert steps[-1].residual <= steps[-1].goal == 0.01
    assert steps[-1].converged == steps[-1].wanted


# -- options -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        ("als-implicit", {"alpha": 0}, "alpha must be above 0"),
        ("als-implicit", {"alpha": float("nan")}, "alpha must be a number of at least 0"),
        ("als-implicit", {"regularization": -1}, "regularization must be a number of at least 0"),
        ("als-implicit", {"exponent": 3}, "exponent must be a number from 0 to 2"),
        ("als-implicit", {"offset": "x"}, "offset must be a number"),
        ("als-implicit", {"method": "lu"}, "method is one of 'auto', 'cholesky', 'cg'"),
        ("als-implicit", {"max_sweeps": 0}, "max_sweeps must be a whole number"),
        ("als-implicit", {"cg_steps": 1.5}, "cg_steps must be a whole number"),
        ("als-implicit", {"nonnegative": 1}, "nonnegative is True or False"),
        ("als-implicit", {"nonnegative": True, "method": "cg"}, "coordinate descent"),
        ("als-implicit", {"user_scaling": 0.5}, "takes no user_scaling"),
        ("als-implicit", {"tol": -1}, "tol must be a number"),
        ("als-implicit", {"rank": 40}, "rank must be below both sides"),
        ("als-explicit", {"weighting": "binary"}, "fits ratings as they are"),
        ("als-explicit", {"regularization": 0}, "regularization must be above 0"),
        ("als-explicit", {"bias_regularization": -1}, "bias_regularization must be a number"),
        ("als-explicit", {"alpha": 1}, "has no option alpha"),
    ],
)
def test_options_that_cannot_work_are_refused(solver, options, message):
    with pytest.raises(OptionError, match=message):
        rs.factorize(counts(), solver=solver, **{"rank": 4, **options})


def test_negative_confidence_is_refused():
    A = counts()
    A.data[3] = -2
    with pytest.raises(DataError, match="-2"):
        rs.factorize(A, rank=4, **IMPLICIT)


def test_a_warm_start_of_another_kind_or_rank_is_refused():
    A = counts()
    with pytest.raises(OptionError, match="model of solver 'als-explicit'"):
        rs.factorize(A, rank=4, warm_start=rs.factorize(A, rank=4, **EXPLICIT), **IMPLICIT)
    with pytest.raises(OptionError, match="warm_start has rank 4"):
        rs.factorize(A, rank=5, warm_start=rs.factorize(A, rank=4, **EXPLICIT), **EXPLICIT)


def test_of_repeated_ratings_the_last_one_counts():
    once = {"user": [0, 0, 1, 1, 2, 2], "item": [0, 1, 1, 2, 0, 2], "value": [5, 3, 4, 2, 1, 5], "time": [9] * 6}
    earlier = {**once, "value": [1, 1, 5, 5, 3, 3], "time": [4] * 6}
    twice = pa.concat_tables([pa.table(once), pa.table(earlier)])
    models = [rs.factorize(rs.read_interactions(data), rank=1, **EXPLICIT) for data in (pa.table(once), twice)]
    assert len({each.factors_sha256() for each in models}) == 1


@pytest.mark.parametrize(
    ("sweeps", "message"), [(3, r"still fell by \d.* of itself in one \(tol=1e-09\)"), (1, "after 1 sweeps. ")]
)
def test_sweeps_that_were_too_few_are_told(sweeps, message):
    with pytest.warns(NotConvergedWarning, match=message):
        model = rs.factorize(counts(), rank=3, tol=1e-9, max_sweeps=sweeps, **IMPLICIT)
    assert (model.provenance["sweeps"], model.provenance["converged"]) == (sweeps, False)
    rs.factorize(counts(), rank=3, tol=0, max_sweeps=sweeps, **IMPLICIT)  # so many and no more were asked for
