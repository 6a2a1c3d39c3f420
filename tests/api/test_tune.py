"""Tuning: the same trials from the same seed, stopped or not; bad ones are recorded; the best is fitted."""

import logging
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.errors import (
    CheckpointError,
    DataError,
    DoubtfulDataWarning,
    OptionError,
    OutputError,
    UnknownNameError,
)
from recscale_dask.evaluation.tuning import Trial, Tuning
from recscale_dask.solvers.space import Choice, Real, Whole
from recscale_dask.testing.matrices import planted_tastes

SPACE = {
    "svd": {
        "rank": Whole(2, 200, log=True),
        "filter": Choice((None, "ridge")),
        "filter_strength": Real(0.05, 1.0, log=True, when={"filter": ("ridge",)}),
    }
}


@pytest.fixture(scope="module")
def data():
    tastes = planted_tastes(n_users=300, n_items=80, n_groups=6, seed=0)
    return rs.read_interactions(pa.table(tastes.columns()))


def tune(data, **options):
    return rs.tune(data, **{"trials": 5, "space": SPACE, "refit": False, "executor": "serial", **options})


def tried(found):
    return [(trial.options, trial.metrics) for trial in found.trials]


def test_same_seed_tries_the_same_options(data):
    first, second, other = tune(data), tune(data), tune(data, seed=1)
    assert tried(first) == tried(second)
    assert tried(first) != tried(other)


def test_defaults_are_tried_first(data):
    assert tune(data, trials=1).trials[0].options == {"solver": "svd", "rank": 64, "filter": None}


def test_rank_stays_below_the_sides_of_the_matrix(data):
    ranks = [trial.options["rank"] for trial in tune(data, trials=8).trials]
    assert max(ranks) < 80


def test_each_trial_is_what_its_options_reach(data):
    train, test = rs.split(data, fraction=0.2, seed=0)
    found = tune(train, test=test, fixed={"weighting": "binary"}, trials=2)
    for trial in found.trials:
        model = rs.factorize(train, weighting="binary", executor="serial", **trial.options)
        assert trial.metrics == rs.evaluate(model, test, metrics=list(trial.metrics), executor="serial").metrics


def test_an_option_that_holds_beside_another_is_tried_only_there(data):
    for trial in tune(data, trials=8).trials:
        assert ("filter_strength" in trial.options) == (trial.options["filter"] == "ridge")


def test_best_options_fit_the_model_of_all_data(data):
    found = tune(data, refit=True, fixed={"weighting": "binary", "item_scaling": 0.3})
    assert found.best.metrics["ndcg@20"] == max(trial.metrics["ndcg@20"] for trial in found.trials)
    assert found.options == {"seed": 0, "weighting": "binary", "item_scaling": 0.3, **found.best.options}
    again = rs.factorize(data, executor="serial", **found.options)
    assert found.model.factors_sha256() == again.factors_sha256()


class Stopped(BaseException):
    """A process that ends."""


def test_stopped_study_goes_on_as_if_it_had_not_been(data, tmp_path):
    study = tmp_path / "study.log"

    def stop(trial):
        if trial.number == 2:
            raise Stopped

    with pytest.raises(Stopped):
        tune(data, trials=14, storage=study, on_trial=stop)
    with pytest.raises(Stopped):  # in the middle of a trial
        tune(data, trials=14, storage=study, progress=lambda event: (_ for _ in ()).throw(Stopped))
    assert len(tune(data, trials=3, storage=study).trials) == 3
    told = []
    resumed = tune(data, trials=14, storage=study, on_trial=told.append)
    assert [trial.number for trial in told] == list(range(3, 14))
    assert tried(resumed) == tried(tune(data, trials=14))


def test_a_study_of_other_data_or_options_is_refused(data, tmp_path):
    study = tmp_path / "study.log"
    tune(data, trials=1, storage=study)
    train, _ = rs.split(data, fraction=0.2, seed=0)
    with pytest.raises(CheckpointError, match="is a study of something else: data was "):
        tune(train, trials=1, storage=study)
    with pytest.raises(CheckpointError, match=r"else: fixed: tol was None, and is 0\.1 now"):
        tune(data, trials=1, storage=study, fixed={"tol": 0.1})


def test_a_study_of_other_test_values_is_refused(data, tmp_path):
    train, test = rs.split(data, fraction=0.2, seed=0)
    options = {"solver": "als-explicit", "metrics": ["rmse"], "trials": 1, "space": {}, "storage": tmp_path / "study"}
    tune(train, test=test, **options)
    with pytest.raises(CheckpointError, match="something else: data was "):
        tune(train, test=replace(test, values=2 * test.values), **options)


def test_study_stopped_between_two_trials_goes_on_as_if_it_had_not_been(data, tmp_path, monkeypatch):
    options = {"solver": ["svd", "item-knn"], "trials": 6, "space": {}}

    def stop(self):
        raise Stopped

    optuna = pytest.importorskip("optuna")
    with monkeypatch.context() as patched:
        patched.setattr(optuna.study.Study, "ask", stop)
        with pytest.raises(Stopped):
            tune(data, storage=tmp_path / "study", **options)
    assert tried(tune(data, storage=tmp_path / "study", **options)) == tried(tune(data, **options))


def test_an_option_beside_a_fixed_one_is_tried(data):
    trials = tune(data, fixed={"filter": "ridge"}, trials=4).trials
    assert [trial.error for trial in trials[1:]] == ["", "", ""]
    assert all("filter_strength" in trial.options for trial in trials[1:])


def test_numpy_numbers_are_numbers(data):
    found = tune(data, fixed={"rank": np.int64(8)}, seed=np.int64(0), trials=2)
    assert tried(found) == tried(tune(data, fixed={"rank": 8}, seed=0, trials=2))


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ({"metrics": ["ndcg@20", "recal@20"]}, UnknownNameError),
        ({"test": pa.table({"user": [-1], "item": [0]})}, DataError),
        ({"space": {"svd": {"rank": [2, 4]}}}, OptionError),
    ],
)
def test_what_no_trial_can_avoid_is_told_before_the_first(data, test, error):
    with pytest.raises(error):
        tune(data, **test, on_trial=lambda trial: pytest.fail("a trial was run"))


def test_a_file_that_is_no_study_is_refused(data, tmp_path):
    (tmp_path / "other").write_text("hello\nworld\n")
    with pytest.raises(CheckpointError, match="holds no study"):
        tune(data, storage=tmp_path / "other")
    with pytest.raises(OutputError, match="there is no folder"):
        tune(data, storage=tmp_path / "missing" / "study.log")


def test_failed_trials_are_recorded_and_not_fatal(data):
    space = {"svd": {"weighting": Choice(("nonsense", "binary"))}}
    found = tune(data, trials=6, space=space)
    errors = {trial.options["weighting"]: trial.error for trial in found.trials}
    assert "no weighting is called 'nonsense'" in errors["nonsense"]
    assert found.best.options["weighting"] == "binary"
    assert "failed." in str(found)
    with pytest.raises(OptionError, match="all 2 trials failed, the first one so: no weighting is called"):
        tune(data, trials=2, space={"svd": {"weighting": Choice(("nonsense",))}})


def test_a_space_of_a_solver_that_is_not_tuned_is_refused(data):
    with pytest.raises(OptionError, match="space names 'sdv', and the solvers that are tuned are svd"):
        tune(data, trials=2, space={"svd": {}, "sdv": {}})


def test_of_several_solvers_the_better_one_is_chosen(data):
    few = {"svd": {"rank": Whole(4, 8)}}
    found = tune(data, solver=["popularity", "svd"], space=few, fixed={"weighting": "binary"}, trials=3)
    assert [trial.options["solver"] for trial in found.trials[:2]] == ["popularity", "svd"]
    assert found.best.options["solver"] == "svd"


def test_what_a_solver_says_is_tried_without_a_space(data):
    (_, second) = tune(data, trials=2, space=None, fixed={"weighting": "binary"}).trials
    assert {"rank", "user_scaling", "item_scaling", "undo_scaling"} <= second.options.keys()
    assert "weighting" not in second.options


def test_smallest_error_is_best_of_rating_metrics(data):
    found = tune(data, metrics=["rmse"])
    assert found.best.metrics["rmse"] == min(trial.metrics["rmse"] for trial in found.trials)


def test_errors_of_scores_that_are_no_values_are_told_once(data):
    with pytest.warns(DoubtfulDataWarning, match="with weighting='binary' are on another scale") as told:
        found = tune(data, metrics=["rmse"], fixed={"weighting": "binary"}, trials=3)
    assert len(told) == 1
    assert not any(trial.error for trial in found.trials)


def test_optuna_keeps_its_own_voice(data, caplog):
    import optuna

    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO):
        tune(data, trials=1)
    assert not [record for record in caplog.records if record.name.startswith("optuna")]
    assert optuna.logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trials": 0}, OptionError, "trials must be a whole number of at least 1"),
        ({"metrics": []}, OptionError, "no metrics to tune by"),
        ({"solver": "nothing"}, UnknownNameError, "no solver is called 'nothing'"),
        ({"solver": []}, OptionError, "there are no solvers to tune"),
        ({"solver": "svd,gf-cf"}, OptionError, r"a list, such as \['svd', 'gf-cf'\]; got 'svd,gf-cf'"),
        ({"metrics": "ndcg@5,map@5"}, OptionError, r"a list, such as \['ndcg@5', 'map@5'\]"),
        ({"space": {"svd": {"damping": Real(0, 1)}}}, OptionError, "SVDSolver has no option damping to try"),
        ({"metrics": ["glory@3"]}, UnknownNameError, "no metric is called 'glory'"),
    ],
)
def test_option_that_cannot_work_says_so(data, options, error, message):
    with pytest.raises(error, match=message):
        tune(data, **options)


def trial(number, value, *, error="", **options):
    metrics = {} if error else {"ndcg@20": value}
    return Trial(
        number=number, options={"solver": "svd", **options}, metrics=metrics, seconds={"fit": 1.0}, error=error
    )


def study():
    trials = (trial(0, 0.2, rank=8), trial(1, 0.3, rank=64, filter="ridge"), trial(2, 0.0, error="out of <luck>"))
    return Tuning(trials=trials, metric="ndcg@20", smaller_is_better=False, fixed={"seed": 0}, n_users=50)


def test_table_has_a_row_per_trial():
    table = study().table()
    assert table.column_names == ["trial", "solver", "rank", "filter", "ndcg@20", "seconds", "error"]
    assert table["rank"].to_pylist() == [8, 64, None]
    assert table["ndcg@20"].to_pylist() == [0.2, 0.3, None]


def test_text_tells_the_best_first():
    lines = str(study()).splitlines()
    assert lines[0] == "trial 1: ndcg@20 0.3000 in 1.0 s: solver=svd rank=64 filter=ridge"
    assert lines[-1].startswith("Best of 3 trials by ndcg@20, over 50 users: solver=svd, rank=64")
    assert lines[-1].endswith("1 failed.")


def test_report_is_one_page_that_loads_nothing(tmp_path):
    study().report(tmp_path / "tune.html")
    page = (tmp_path / "tune.html").read_text()
    assert "out of &lt;luck&gt;" in page
    assert "ndcg@20 by rank" in page
    assert not any(word in page for word in ("http", "src=", "@import", "url("))
    with pytest.raises(OutputError, match="exists already"):
        study().report(tmp_path / "tune.html")


def test_what_no_fit_takes_is_refused_before_the_first_trial(data):
    with pytest.raises(OptionError, match=r"no option bogus to fix; there are: .*rank"):
        tune(data, fixed={"bogus": 1}, on_trial=lambda trial: pytest.fail("a trial was run"))


def test_a_solver_without_options_is_judged_once_and_listed_once(data):
    found = tune(data, solver="popularity", trials=3, space={})
    assert [trial.metrics for trial in found.trials] == [found.best.metrics] * 3
    assert found.trials[1].seconds == {"fit": 0.0}
    assert str(found).splitlines()[0] == "The best 1 of 3 trials:"
    assert "seed" not in str(found)
