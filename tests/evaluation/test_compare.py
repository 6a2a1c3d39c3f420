import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, ModelFormatError, OptionError
from recscale_dask.execution.events import RunStarted
from recscale_dask.testing.matrices import planted_tastes

pytestmark = pytest.mark.filterwarnings("ignore::recscale_dask.errors.DoubtfulDataWarning")
METRICS = ("recall@10", "coverage@10", "gini@10", "rmse")


@pytest.fixture(scope="module")
def parts():
    plant = planted_tastes(300, 100, 5, seed=1)
    data = Interactions.from_arrow(pa.table(plant.columns()), user="user", item="item", value="value", time="time")
    return rs.split(data, how="per-user-random", fraction=0.25, seed=0)


@pytest.fixture(scope="module")
def models(parts):
    train, _ = parts
    svd = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5, "executor": "serial"}
    return {
        "popularity": rs.factorize(train, solver="popularity", executor="serial"),
        "svd": rs.factorize(train, rank=5, **svd),
        "twin": rs.factorize(train, rank=5, **svd),
    }


@pytest.fixture(scope="module")
def compared(models, parts):
    return rs.compare(models, parts[1], metrics=METRICS, executor="serial")


def test_values_and_intervals_are_those_of_evaluate(compared, models, parts):
    for name, model in models.items():
        alone = rs.evaluate(model, parts[1], metrics=METRICS, executor="serial")
        assert compared.n_users == alone.n_users
        for metric in METRICS:
            assert compared[name, metric].value == alone[metric]
            assert compared[name, metric].interval == alone.intervals().get(metric)


def test_models_are_held_against_the_best_by_the_metric(compared):
    assert compared["popularity", "recall@10"].reference == "svd"
    assert compared["popularity", "gini@10"].reference == "svd"  # smaller is better: it shows more of the catalogue
    assert compared["popularity", "coverage@10"].reference == "svd"
    worse = compared["popularity", "recall@10"]
    assert worse.difference == worse.value - compared["svd", "recall@10"].value < 0
    assert worse.difference_interval.low < worse.difference < worse.difference_interval.high < 0
    assert worse.p_value < 0.01


def test_a_twin_is_no_different_and_the_reference_has_no_difference(compared):
    twin, best = compared["twin", "recall@10"], compared["svd", "recall@10"]
    assert (twin.difference, twin.difference_interval, twin.p_value) == (0, (0, 0), 1)
    assert (best.difference, best.difference_interval, best.p_value) == (0, None, None)


def test_the_catalogue_has_values_and_differences_alone(compared):
    found = compared["popularity", "coverage@10"]
    assert found.difference == found.value - compared["svd", "coverage@10"].value
    assert (found.interval, found.difference_interval, found.p_value) == (None, None, None)


def test_differences_are_paired_over_users(models, parts):
    """So the interval of a difference is far shorter than two intervals side by side."""
    train, test = parts
    near = rs.factorize(train, rank=4, weighting="binary", user_scaling=0.5, item_scaling=0.5, executor="serial")
    found = rs.compare(
        {"five": models["svd"], "four": near}, test, metrics="recall@10", baseline="five", executor="serial"
    )
    apart, alone = found["four", "recall@10"].difference_interval, found["four", "recall@10"].interval
    assert apart.high - apart.low < alone.high - alone.low


def test_a_baseline_can_be_named(models, parts):
    found = rs.compare(models, parts[1], baseline="popularity", executor="serial")
    assert {each.reference for each in found.values} == {"popularity"}
    assert found["svd", "recall@20"].difference > 0
    with pytest.raises(OptionError, match="they are popularity, svd, twin"):
        rs.compare(models, parts[1], baseline="best", executor="serial")


def test_users_that_one_model_does_not_know_are_left_out_for_all(models, parts):
    train, test = parts
    fewer = rs.factorize(train.take(train.user_codes >= 100).compact(), solver="popularity", executor="serial")
    found = rs.compare({"all": models["popularity"], "fewer": fewer}, test, executor="serial")
    both = rs.evaluate(fewer, test, executor="serial").n_users
    assert found.n_users == both
    assert found.n_left_out == len(np.unique(test.user_codes)) - both > 0
    stranger = rs.factorize(
        rs.read_interactions(pa.table({"user": [7000, 7001], "item": [1, 2]})), solver="popularity", executor="serial"
    )
    with pytest.raises(DataError, match="in all of the models"):
        rs.compare({"all": models["popularity"], "stranger": stranger}, test, executor="serial")


def test_a_table_has_one_row_per_model_and_metric(compared, models):
    table = compared.to_arrow()
    assert table["model"].to_pylist() == [name for name in models for _ in METRICS]
    assert table["metric"].to_pylist() == list(METRICS) * len(models)
    first = table.to_pylist()[0]
    found = compared["popularity", "recall@10"]
    assert (first["low"], first["high"]) == found.interval
    assert (first["difference_low"], first["p_value"]) == (found.difference_interval.low, found.p_value)
    assert table.schema.field("p_value").type == pa.float64()


def test_text_is_one_line_per_model(compared):
    head, popularity, svd, _, foot = str(compared).splitlines()
    assert head.split() == list(METRICS)
    assert popularity.startswith("popularity  0.")
    assert "p=0.00" in popularity
    assert " *" in svd
    assert foot.startswith(f"Over {compared.n_users} users. [95% intervals]")


def test_no_models_and_no_metrics_are_refused(models, parts):
    with pytest.raises(OptionError, match="no models to compare"):
        rs.compare({}, parts[1])
    with pytest.raises(OptionError, match="no metrics"):
        rs.compare(models, parts[1], metrics=())


def test_a_value_that_there_is_not_is_told_with_those_that_there_are(compared, models, parts):
    for key in (("svd", "map@3"), ("c", "recall@10"), "svd"):
        with pytest.raises(KeyError, match="models popularity, svd, twin and the metrics recall@10, coverage@10"):
            compared[key]
    with pytest.raises(KeyError, match="'recall@50' was not evaluated; there are: recall@20, ndcg@20"):
        rs.evaluate(models["svd"], parts[1], executor="serial")["recall@50"]


def test_a_model_may_be_the_path_of_one(models, parts, tmp_path):
    models["svd"].save(tmp_path / "model")
    found = rs.evaluate(str(tmp_path / "model"), parts[1], executor="serial")
    assert found.metrics == rs.evaluate(models["svd"], parts[1], executor="serial").metrics
    assert rs.compare({"a": tmp_path / "model"}, parts[1], executor="serial")["a", "ndcg@20"].value == found["ndcg@20"]
    rs.report(tmp_path / "model", tmp_path / "report.html", executor="serial")


def test_what_is_no_model_is_refused_before_any_work(models, parts, tmp_path):
    several = list(models.values())
    for call in (
        lambda: rs.evaluate(several, "nothing.csv"),
        lambda: rs.compare({"a": several}, "nothing.csv"),
        lambda: rs.report(several, tmp_path / "report.html", "nothing.csv"),
    ):
        with pytest.raises(OptionError, match=r"must be a model, as .* or the path of one; got a list"):
            call()
    with pytest.raises(ModelFormatError, match="there is no model at model"):
        rs.evaluate("model", "nothing.csv")


def test_models_without_names_are_asked_for_names(models, parts):
    with pytest.raises(OptionError, match=r"a list\. Give \{name: model"):
        rs.compare(list(models.values()), parts[1], executor="serial")


def test_progress_says_which_model_is_judged(models, parts):
    labels = []
    observe = lambda event: labels.append(event.label) if isinstance(event, RunStarted) else None  # noqa: E731
    rs.compare(models, parts[1], executor="serial", progress=observe)
    assert labels == [f"{name}: evaluate" for name in models]
