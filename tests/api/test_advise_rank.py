"""The rank advisor: what each rank and filter would have reached, and which is enough."""

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.errors import OptionError, UnknownNameError
from recscale_dask.evaluation.rank_advice import RankAdvice, RankPoint, ladder
from recscale_dask.testing.matrices import planted_tastes

RANKS = [2, 8, 14]
FILTERS = {"ridge": [0.2], "power": [0.5]}


@pytest.fixture(scope="module")
def sets():
    tastes = planted_tastes(n_users=500, n_items=120, n_groups=8, seed=0)
    data = rs.read_interactions(pa.table(tastes.columns()))
    return rs.split(data, fraction=0.2, seed=0)


def advise(sets, **options):
    return rs.advise_rank(*sets, rank=14, ranks=RANKS, filters=FILTERS, **{"executor": "serial", **options})


@pytest.mark.parametrize("center", [None, "items"])
def test_every_point_is_what_a_fit_of_its_own_reaches(sets, center):
    train, test = sets
    advice = advise(sets, center=center, tol=1e-6)
    assert [(point.rank, point.filter) for point in advice.points] == [
        (rank, name) for name in (None, "ridge", "power") for rank in RANKS
    ]
    for point in advice.points:
        model = rs.factorize(
            train,
            rank=point.rank,
            filter=point.filter,
            filter_strength=point.filter_strength,
            center=center,
            tol=1e-6,
            executor="serial",
        )
        found = rs.evaluate(model, test, metrics=list(point.metrics), executor="serial")
        for name, value in point.metrics.items():
            assert value == pytest.approx(found[name], abs=2e-3)  # ties fall otherwise in a few users' lists
            per_user = found.per_user[name]
            error = per_user.std(ddof=1) / np.sqrt(len(per_user))
            assert point.standard_errors[name] == pytest.approx(error, rel=0.02)


def test_same_advice_on_every_executor(sets):
    first, *others = (advise(sets, executor=name).points for name in ("serial", "threads", "processes"))
    assert all(other == first for other in others)


def test_as_many_factors_as_there_are_groups_are_enough():
    rng = np.random.default_rng(0)
    groups = np.kron(np.eye(12), np.ones((20, 15))) * (rng.random((240, 180)) < 0.5)
    advice = rs.advise_rank(groups, rank=40, filters={}, executor="serial")
    assert advice.suggestion.rank == 12
    assert advice.options["rank"] == 12
    assert rs.factorize(groups, executor="serial", **advice.options).rank == 12


def point(rank, value, *, error=0.01, strength=None):
    name = None if strength is None else "ridge"
    return RankPoint(
        rank=rank,
        filter=name,
        filter_strength=strength,
        metrics={"ndcg@20": value},
        standard_errors={"ndcg@20": error},
    )


def advised(points, **more):
    fields = {"metric": "ndcg@20", "smaller_is_better": False, "n_users": 100, "fitted": {}, "seconds": {}}
    return RankAdvice(points=points, **{**fields, **more})


def test_suggestion_is_the_smallest_rank_within_one_standard_error_of_the_best():
    points = (
        point(8, 0.25),
        point(16, 0.292),
        point(32, 0.3),
        point(8, 0.28, strength=0.1),
        point(16, 0.295, strength=0.1),
    )
    advice = RankAdvice(
        points=points, metric="ndcg@20", smaller_is_better=False, n_users=100, fitted={"solver": "svd"}, seconds={}
    )
    assert advice.best is points[2]
    assert advice.suggestion is points[4]  # of two at rank 16 the better one
    assert advice.options == {"solver": "svd", "rank": 16, "filter": "ridge", "filter_strength": 0.1}
    table = str(advice).splitlines()
    assert table[3].endswith("best")
    assert table[5].endswith("suggested")
    assert "rank 16, filter ridge 0.1" in table[-1]


def test_of_a_metric_that_is_better_small_the_smallest_is_best():
    points = (point(8, 0.4), point(16, 0.205), point(32, 0.2), point(64, 0.3))
    advice = advised(points, smaller_is_better=True)
    assert advice.best is points[2]
    assert advice.suggestion is points[1]


def test_without_a_rank_the_ladder_ends_where_the_matrix_does(sets):
    advice = rs.advise_rank(*sets, filters={}, executor="serial")
    assert max(point.rank for point in advice.points) == 119  # of 120 items


@pytest.mark.parametrize("metric", ["recal@20", "coverage@20"])
def test_metric_that_cannot_be_had_is_told_before_the_fit(sets, metric):
    with pytest.raises((OptionError, UnknownNameError)):
        advise(sets, metrics=[metric], progress=lambda event: pytest.fail("a run was started"))


def test_a_suggestion_at_the_largest_rank_says_so():
    points = (point(8, 0.1), point(16, 0.3))
    told = str(advised(points))
    assert "look at higher ones too" in told


def test_ladder_goes_up_by_halves():
    assert ladder(70) == [8, 12, 16, 24, 32, 48, 64, 70]
    assert ladder(5) == [5]


def test_judging_by_some_users_takes_the_same_ones_each_time(sets):
    train, test = sets
    options = {"rank": 8, "ranks": [8], "filters": {}, "n_users": 50, "executor": "serial"}
    first, second = (rs.advise_rank(train, test, **options) for _ in range(2))
    assert first.n_users == 50
    assert first.points == second.points


def test_data_that_are_split_here_keep_repeated_pairs_on_one_side(sets):
    columns = sets[0].to_arrow()
    twice = rs.read_interactions(pa.concat_tables([columns, columns]))
    options = {"rank": 8, "ranks": [8], "filters": {}, "weighting": "binary", "executor": "serial"}
    assert rs.advise_rank(twice, **options).points == rs.advise_rank(rs.read_interactions(columns), **options).points


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranks": [0, 4]}, r"ranks must be from 1 to rank=14, at least one; got \[0, 4\]"),
        ({"ranks": []}, "at least one"),
        ({"ranks": [15]}, "from 1 to rank=14"),
        ({"metrics": ["rmse"]}, "ranking metrics with a length"),
        ({"metrics": []}, "ranking metrics with a length"),
        ({"filters": {"low-pass": [1.0]}}, "no filter is called 'low-pass'"),
        ({"n_users": 0}, "n_users must be a whole number of at least 1"),
    ],
)
def test_option_that_cannot_work_says_so(sets, options, message):
    with pytest.raises(OptionError, match=message):
        rs.advise_rank(*sets, **{"rank": 14, "executor": "serial", **options})


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"ridge": []}, r"filter 'ridge' needs a list of strengths, such as \[0.3\]; got \[\]"),
        ({"ridge": 0.3}, "filter 'ridge' needs a list of strengths.*got 0.3"),
        ({"ridge": "0.3"}, "filter 'ridge' needs a list of strengths.*got '0.3'"),
        (["foo"], "filters are names with their strengths.*got \\['foo'\\]"),
    ],
)
def test_filters_without_strengths_are_refused(sets, filters, message):
    with pytest.raises(OptionError, match=message):
        rs.advise_rank(*sets, filters=filters)


@pytest.mark.parametrize("how", ["held-out-users", "leave-k-out", "lucky", None])
def test_ways_to_hold_out_that_cannot_work_are_refused_with_those_that_can(sets, how):
    for judged in (rs.advise_rank, rs.tune):
        with pytest.raises(OptionError, match=f"how={how!r} is no way.*one of 'random', 'temporal', 'leave-one-out', "):
            judged(sets[0], how=how)
