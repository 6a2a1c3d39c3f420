"""gf-cf, bspm, item-knn and ease against dense NumPy formulas, and everything that a model does."""

import numpy as np
import pytest
import scipy.sparse

import recscale_dask as rs
from recscale_dask.errors import MemoryLimitError, ModelFormatError, OptionError

N_USERS, N_ITEMS = 90, 40
SOLVERS = {
    "gf-cf": {"rank": 6, "weighting": "binary"},
    "bspm": {"rank": 6, "weighting": "binary"},
    "item-knn": {"neighbors": 7, "weighting": "log"},
    "ease": {"ridge": 3.0},
}


def ratings(seed=0):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 4, N_USERS)[:, None] == rng.integers(0, 4, N_ITEMS)
    dense = (rng.random((N_USERS, N_ITEMS)) < np.where(groups, 0.5, 0.08)) * rng.integers(1, 6, (N_USERS, N_ITEMS))
    dense[7] = 0  # a user without history
    dense[:, 3] = 0  # an item that nobody has
    return dense.astype(float)


def fit(solver, **options):
    return rs.factorize(ratings(), solver=solver, executor="serial", **{**SOLVERS[solver], **options})


def scores(model, executor="serial"):
    return np.concatenate(list(model.rows(executor=executor)))


@pytest.fixture(scope="module", params=SOLVERS)
def model(request):
    return fit(request.param, tol=1e-6)


# -- formulas ---------------------------------------------------------------------------------------------------


def powers(sums, exponent):
    return np.where(sums > 0, sums, 1.0) ** exponent * (sums > 0)


def graph_scores(R, rank, low_pass, a=0.5, b=0.5, polynomial=None, merge="early"):
    """Return the scores of a graph filter by its formula; the polynomial acts on matrices."""
    du, di = R.sum(axis=1), R.sum(axis=0)
    N = powers(du, -a)[:, None] * R * powers(di, -b)
    N = N / np.linalg.norm(N, 2)
    G = N.T @ N
    V = np.linalg.svd(N)[2][:rank].T
    ideal = powers(di, -b)[:, None] * (V @ V.T) * powers(di, b)
    q = np.eye(len(G)) if polynomial is None else polynomial(G)
    early = merge == "early"
    return R @ (G + early * low_pass * ideal) @ q + (not early) * low_pass * R @ ideal


def runge_kutta(time, steps=1):
    def q(G):
        step = -time / steps * G
        one = np.eye(len(G)) + step + step @ step / 2 + step @ step @ step / 6 + step @ step @ step @ step / 24
        return np.linalg.matrix_power(one, steps)

    return q


def euler(time, steps):
    return lambda G: np.linalg.matrix_power(np.eye(len(G)) - time / steps * G, steps)


B = (ratings() > 0).astype(float)


@pytest.mark.parametrize(
    ("solver", "options", "expected"),
    [
        ("gf-cf", {}, lambda: graph_scores(B, 6, 0.3)),
        ("gf-cf", {"weighting": None}, lambda: graph_scores(ratings(), 6, 0.3)),
        ("gf-cf", {"low_pass": 0.0}, lambda: graph_scores(B, 6, 0.0)),
        (
            "gf-cf",
            {"user_exponent": 0.3, "item_exponent": 0.7, "low_pass": 1.5},
            lambda: graph_scores(B, 6, 1.5, 0.3, 0.7),
        ),
        ("bspm", {}, lambda: graph_scores(B, 6, 0.2, polynomial=runge_kutta(2.5))),
        (
            "bspm",
            {"sharpen_time": 1.5, "sharpen_steps": 2, "merge": "late"},
            lambda: graph_scores(B, 6, 0.2, polynomial=runge_kutta(1.5, 2), merge="late"),
        ),
        (
            "bspm",
            {"sharpen_time": 0.9, "sharpen_steps": 3, "sharpen_method": "euler", "item_exponent": 0.6},
            lambda: graph_scores(B, 6, 0.2, b=0.6, polynomial=euler(0.9, 3)),
        ),
    ],
)
def test_graph_filters_score_as_their_formulas(solver, options, expected):
    np.testing.assert_allclose(scores(fit(solver, tol=1e-7, **options)), expected(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shrinkage", [0.0, 4.0])
def test_item_knn_sums_the_cosines_of_the_nearest_items(shrinkage):
    L = np.log1p(ratings())
    lengths = np.linalg.norm(L, axis=0)
    over = np.outer(lengths, lengths) + shrinkage
    similar = np.divide(L.T @ L, over, out=np.zeros_like(over), where=over > 0)
    np.fill_diagonal(similar, 0)
    weights = np.zeros_like(similar)
    for row, nearest in zip(weights, similar, strict=True):
        kept = np.argsort(-nearest.astype(np.float32), kind="stable")[:7]
        row[kept] = nearest[kept]
    np.testing.assert_allclose(scores(fit("item-knn", shrinkage=shrinkage)), L @ weights, rtol=1e-5, atol=1e-5)


def test_ease_is_the_closed_form_of_its_ridge_regression():
    R = ratings()
    inverse = np.linalg.inv(R.T @ R + 3.0 * np.eye(N_ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    model = fit("ease")
    np.testing.assert_allclose(model.item_operator.weights, weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores(model), R @ weights, rtol=1e-4, atol=1e-5)


# -- what a model does ---------------------------------------------------------------------------------------------


def test_recommendations_are_the_best_of_the_rows(model):
    rows, seen = scores(model), ratings() > 0
    for include in (False, True):
        table = model.recommend(k=5, exclude_seen=not include, executor="serial")
        for user in (0, 7, 50):
            allowed = np.arange(N_ITEMS) if include else np.flatnonzero(~seen[user])
            expected = allowed[np.argsort(-rows[user, allowed], kind="stable")][:5]
            mine = table.filter([each == user for each in table["user"].to_pylist()])
            assert mine["item"].to_pylist() == expected.tolist()
            assert mine["score"].to_pylist() == rows[user, expected].tolist()


def test_filters_hold(model):
    rows = scores(model)
    table = model.recommend([4, 1], k=3, allow=[1, 2, 3, 30], deny=[2], exclude_seen=False, executor="serial")
    assert set(table["item"].to_pylist()) <= {1, 3, 30}
    pairs = {"user": [4, 4, 4, 1], "item": [8, 9, 2, 5]}
    table = model.recommend([4, 1], k=3, allow=rs.read_interactions(frame(pairs)), deny=[2], exclude_seen=False)
    best = sorted([8, 9], key=lambda item: -rows[4, item])
    assert table["item"].to_pylist() == [*best, 5]
    least = float(np.sort(rows[4])[-3])
    assert len(model.recommend([4], k=10, exclude_seen=False, min_score=least)) == 3


def frame(columns):
    import pyarrow as pa

    return pa.table(columns)


def test_pairs_and_rectangles_have_the_scores_of_the_rows(model):
    rows = scores(model)
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, N_USERS, 500), rng.integers(0, N_ITEMS, 500)
    np.testing.assert_array_equal(model.score(users, items), rows[users, items])
    some_users, some_items = [5, 80, 3], [9, 2]
    expected = rows[np.ix_(some_users, some_items)]
    np.testing.assert_array_equal(model.reconstruct(some_users, some_items).compute(scheduler="sync"), expected)
    np.testing.assert_array_equal(np.concatenate(list(model.rows(some_users, some_items))), expected)


def test_users_of_the_training_data_fold_in_to_their_own_scores(model):
    folded = model.fold_in(ratings())
    np.testing.assert_array_equal(scores(folded), scores(model))
    assert folded.recommend(k=4).equals(model.recommend(k=4))
    one = model.fold_in({0: 2.0, 5: 1.0})
    assert one.recommend(k=40)["item"].to_pylist() not in ([], None)
    with pytest.raises(OptionError, match=r"rs\.evaluate"):
        folded.drift()


def test_score_is_explained_by_the_items_of_the_user(model):
    explained = model.explain(4, 11, k=3)
    assert explained.score == model.score([4], [11])[0]
    assert abs(explained.remainder) < 1e-4 * max(1, abs(explained.score))
    assert set(explained.contributions["item"].to_pylist()) <= set(np.flatnonzero(ratings()[4]))


def test_items_similar_to_one_are_the_best_of_a_user_who_has_only_that(model):
    table = model.similar_items(9, 5)
    one = model.fold_in([9])
    expected = one.recommend(k=5)
    assert table["item"].to_pylist() == expected["item"].to_pylist()
    assert table["score"].to_pylist() == expected["score"].to_pylist()
    if model.rank:
        assert len(model.similar_users(4, 3)) == 3
    else:
        with pytest.raises(OptionError, match="solver='svd'"):
            model.similar_users(4, 3)


@pytest.fixture(scope="module")
def processes():
    with rs.open_executor("processes", n_workers=1) as executor:
        yield executor


def test_saved_model_is_the_same(model, processes, tmp_path):
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    assert again.fingerprint == model.fingerprint
    assert again.item_operator.fingerprint() == model.item_operator.fingerprint()
    assert again.recommend(k=4, executor=processes).equals(model.recommend(k=4))
    assert again.fold_in([9]).recommend(k=4).equals(model.fold_in([9]).recommend(k=4))
    again.save(tmp_path / "again")
    assert rs.load_model(tmp_path / "again").fingerprint == model.fingerprint
    (tmp_path / "again" / next(each.name for each in (tmp_path / "again").glob("operator_*"))).unlink()
    with pytest.raises(ModelFormatError, match="missing from the model"):
        rs.load_model(tmp_path / "again")


def test_fingerprint_tells_weights_apart():
    assert fit("ease").fingerprint != fit("ease", ridge=4.0).fingerprint
    assert fit("bspm").fingerprint != fit("bspm", sharpen_time=1.0).fingerprint


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("weighting", ["log", "bm25", "tfidf"])
def test_weighting_is_applied_to_rows_of_new_users_too(solver, weighting, tmp_path):
    model = fit(solver, weighting=weighting)
    np.testing.assert_array_equal(scores(model.fold_in(ratings())), scores(model))
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(scores(rs.load_model(tmp_path / "model")), scores(model))


@pytest.mark.parametrize("solver", SOLVERS)
def test_fit_from_a_store_is_the_same(solver, tmp_path):
    matrix = rs.UserItemMatrix.from_scipy(ratings())
    matrix.save(tmp_path / "store")
    options = {"solver": solver, "executor": "serial", **SOLVERS[solver]}
    stored = rs.factorize(tmp_path / "store", **options)
    assert stored.fingerprint == rs.factorize(matrix, **options).fingerprint
    assert stored.recommend(k=3).equals(rs.factorize(matrix, **options).recommend(k=3))


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.SeenTestWarning")
def test_evaluation_takes_them_as_any_model(model):
    test = rs.read_interactions(frame({"user": [0, 0, 1], "item": [1, 2, 3]}))
    assert 0 <= rs.evaluate(model, test, metrics=["recall@10"], executor="serial")["recall@10"] <= 1


def test_recommendations_are_planned_and_written(model, tmp_path):
    plan = model.plan_recommend(tmp_path / "recs", k=3)
    assert plan.sizes["rows"] == N_USERS * 3
    assert model.recommend_to(tmp_path / "recs", k=3) == N_USERS * 3


def test_catalogue_that_is_too_large_for_ease_is_refused_with_what_would_fit():
    import scipy.sparse as sp

    wide = sp.random_array((50, 5000), density=0.01, rng=0)
    with pytest.raises(MemoryLimitError, match=r"ease .* needs about .*item-item|ease .*needs about"):
        rs.factorize(wide, solver="ease", memory_limit="400MiB", executor="serial")
    plan = rs.plan(wide, solver="ease", memory_limit="400MiB")
    assert not plan.fits
    assert plan.stages[0].driver["weights"] == 4 * 5000**2


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        ("gf-cf", {"user_scaling": 0.5}, "Use user_exponent and item_exponent"),
        ("item-knn", {"item_scaling": 0.5}, "leave them out"),
        ("item-knn", {"neighbors": 0}, "neighbors"),
        ("item-knn", {"shrinkage": -1}, "shrinkage"),
        ("ease", {"ridge": 0}, "ridge must be a positive number"),
        ("bspm", {"sharpen_time": -1.0}, "sharpen_time"),
        ("bspm", {"sharpen_method": "rk45"}, "'rk4' or 'euler'"),
        ("bspm", {"merge": "both"}, "'early' or 'late'"),
        ("gf-cf", {"low_pass": "much"}, "low_pass must be a finite number"),
        ("gf-cf", {"rank": 40}, "Try rank=39"),
    ],
)
def test_options_that_cannot_work_are_refused(solver, options, message):
    with pytest.raises(OptionError, match=message):
        fit(solver, **options)


@pytest.mark.parametrize(("solver", "option"), [("ease", "ridge"), ("item-knn", "shrinkage"), ("gf-cf", "low_pass")])
def test_a_truth_value_is_no_number(solver, option):
    with pytest.raises(OptionError, match=f"{option} must be .*number"):
        fit(solver, **{option: True})


@pytest.mark.parametrize("solver", ["ease", "item-knn", "popularity"])
def test_a_solver_without_a_rank_tells_none_in_plans_and_refuses_nonsense(solver):
    plan = rs.plan(ratings(), solver=solver, executor="serial")
    assert plan.rank == 0
    assert str(plan).startswith(f"{solver}, of 90 users")
    assert "rank" not in plan.verdict
    for rank in ("x", -5):
        with pytest.raises(OptionError, match="rank must be a whole number"):
            rs.factorize(ratings(), solver=solver, rank=rank)


def test_without_a_low_pass_filter_the_rank_does_not_matter():
    model = fit("gf-cf", low_pass=0, rank=64)
    assert model.factors_sha256() == fit("gf-cf", low_pass=0, rank=6).factors_sha256()


def test_a_long_fit_is_not_done_in_a_blink():
    sparse = scipy.sparse.random_array((500, 9000), density=0.005, rng=0, format="csr")
    plan = rs.plan(sparse, solver="ease", rank=8)
    assert plan.executor == "threads"
