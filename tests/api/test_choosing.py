"""A call that names no executor gets one that suits what it would take, and says why."""

import logging
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from distributed import Client

import recscale_dask as rs
from recscale_dask.api import plugins, session
from recscale_dask.execution.events import ExecutorChosen, RunStarted
from recscale_dask.hooks import builtin
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ExecutorChoice, ExecutorRequest, hookimpl


def rows(n_users=3000):
    return sp.random_array((n_users, 500), density=0.5, rng=0, format="csr").astype(np.float32)


def request(**more):
    fields = {"purpose": "fit", "n_users": 10**6, "n_items": 10**4, "n_stored": 10**8, "rank": 64}
    return ExecutorRequest(**{**fields, **more})


@pytest.fixture
def manager(monkeypatch):
    manager = PluginManager([])
    monkeypatch.setattr(plugins, "plugin_manager", lambda: manager)
    for module in ("executors", "fitting", "observing"):
        monkeypatch.setattr(f"recscale_dask.api.{module}.plugin_manager", lambda: manager)
    return manager


def chosen(**options):
    events = []
    model = rs.factorize(rows(), rank=16, progress=events.append, **options)
    return model, [event for event in events if isinstance(event, ExecutorChosen)]


def test_what_is_small_is_done_here_and_what_fits_on_threads():
    assert builtin.recscale_choose_executor(request(n_stored=100)).name == "serial"
    fits = builtin.recscale_choose_executor(request(bytes_needed=1, bytes_free=2))
    assert (fits.name, fits.reason) == ("threads", "it fits in the memory of this machine")
    tight = builtin.recscale_choose_executor(request(bytes_needed=3, bytes_free=2))
    assert tight.name == "threads"
    assert "may not fit" in tight.reason


def test_the_choice_is_told_to_observers_in_the_log_and_in_the_provenance(caplog):
    with caplog.at_level(logging.INFO, "recscale_dask"):
        model, events = chosen()
    (event,) = events
    assert (event.executor, event.reason) == (model.provenance["executor"], model.provenance["executor_reason"])
    assert event.reason == "it fits in the memory of this machine"
    assert f"executor {event.executor}, as {event.reason}" in caplog.messages


def of_weights(solver="ease"):
    """Return a model without factors, a test set, and more rows than are scored in a blink."""
    train, test = (sp.random_array((40_000, 500), density=0.005, rng=seed, format="csr") for seed in (0, 1))
    model = rs.factorize(train.astype(np.float32), solver=solver, executor="serial")
    assert model.rank == 0
    unseen = sp.coo_array(test - test * (train > 0))
    unseen.eliminate_zeros()
    return model, pa.table({"user": unseen.row, "item": unseen.col})


@pytest.mark.parametrize("solver", ["ease", "item-knn"])
def test_the_work_of_a_model_without_factors_is_that_of_its_weights(solver):
    model, _ = of_weights(solver)
    assert session.scoring_request(model, 10).is_small
    assert not session.scoring_request(model, 10**7).is_small
    assert not session.scoring_request(model, 10**6, n_stored=10**7).is_small


def test_every_call_that_scores_tells_of_its_choice_once(tmp_path, caplog):
    model, test = of_weights()
    calls = {
        "recommend": lambda progress: model.recommend(progress=progress),
        "evaluate": lambda progress: rs.evaluate(model, test, progress=progress),
        "compare": lambda progress: rs.compare({"one": model, "two": model}, test, progress=progress),
        "report": lambda progress: rs.report(model, tmp_path / "page.html", test, progress=progress),
    }
    for name, call in calls.items():
        seen = []
        with caplog.at_level(logging.INFO, "recscale_dask"):
            caplog.clear()
            call(seen.append)
        (event,) = [each for each in seen if isinstance(each, ExecutorChosen)]
        assert event.executor == "threads", name
        assert [each for each in caplog.messages if each.startswith("executor ")] == [
            f"executor threads, as {event.reason}"
        ], name
        assert any(isinstance(each, RunStarted) for each in seen), name


def test_an_evaluation_on_a_named_executor_tells_of_no_choice():
    model, test = of_weights()
    seen = []
    rs.evaluate(model, test, executor="serial", progress=seen.append)
    assert not [each for each in seen if isinstance(each, ExecutorChosen)]


def test_an_executor_that_is_named_is_no_choice():
    model, events = chosen(executor="serial")
    assert events == []
    assert model.provenance["executor_reason"] == "it was asked for"


def test_a_plan_says_it_too():
    forecast = rs.plan(rows(), rank=8)
    assert forecast.executor_reason
    assert f"({forecast.executor_reason})" in str(forecast)
    assert forecast.as_dict()["executor_reason"] == forecast.executor_reason


def test_the_request_has_what_the_plan_needs_and_what_is_free(manager):
    seen = []

    @hookimpl
    def recscale_choose_executor(request):
        seen.append(request)

    manager.register(SimpleNamespace(recscale_choose_executor=recscale_choose_executor), name="looks")
    rs.factorize(rows(), rank=8, memory_limit="3GiB")
    (found,) = seen
    assert found.bytes_free == 3 << 30
    assert 100 << 20 < found.bytes_needed < 3 << 30


def test_a_plugin_may_choose_with_options_and_a_reason(manager):
    @hookimpl
    def recscale_choose_executor(request):
        return ExecutorChoice(name="threads", reason="I like it", options={"n_workers": 1})

    manager.register(SimpleNamespace(recscale_choose_executor=recscale_choose_executor), name="likes")
    model, (event,) = chosen()
    assert model.provenance["executor"] == "threads"
    assert event.reason == "I like it"


def test_the_choice_of_a_plugin_comes_before_the_client_of_this_process(manager):
    with Client(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"):
        assert manager.choose_executor(request()).name == "dask"

        @hookimpl
        def recscale_choose_executor(request):
            return ExecutorChoice(name="serial", reason="of another engine")

        manager.register(SimpleNamespace(recscale_choose_executor=recscale_choose_executor), name="engine")
        assert manager.choose_executor(request()).reason == "of another engine"


def test_the_client_of_this_process_is_used_and_left_open():
    with Client(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        model, (event,) = chosen()
        assert model.provenance["executor"] == "dask"
        assert client.scheduler.address in event.reason
        assert client.status == "running"
        small = rs.factorize(rows(50), rank=2)
        assert small.provenance["executor"] == "serial"
    assert chosen()[0].provenance["executor"] != "dask"
