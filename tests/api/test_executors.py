"""Executors as users name them: what cannot be opened says why, and what is wrong within one stays what it is."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.api import executors
from recscale_dask.errors import OptionError, PluginError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ExecutorSpec, hookimpl


class Clumsy(SerialExecutor):
    """One whose constructor has an error of its own."""

    name = "clumsy"

    def __init__(self, n_workers: int = 1) -> None:
        self.n_workers = n_workers + "2"  # type: ignore[operator]


class Older(SerialExecutor):
    """One of another contract."""

    name = "older"
    contract = 0


@pytest.fixture
def plugin(monkeypatch):
    @hookimpl
    def recscale_register_executors():
        return [
            ExecutorSpec(name=each.name, target=f"{__name__}:{each.__name__}", summary="") for each in (Clumsy, Older)
        ]

    manager = PluginManager([])
    manager.register(SimpleNamespace(recscale_register_executors=recscale_register_executors), name="clumsy")
    manager._offers["executors"] = manager._collect("executors")
    monkeypatch.setattr(executors, "plugin_manager", lambda: manager)


def test_an_option_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(OptionError, match="'workers'; its options are: n_workers"):
        rs.open_executor("threads", workers=2)


@pytest.mark.usefixtures("plugin")
def test_an_error_of_a_constructor_is_not_taken_for_a_wrong_option():
    with pytest.raises(TypeError, match="unsupported operand"):
        rs.open_executor("clumsy", n_workers=2)


@pytest.mark.usefixtures("plugin")
def test_an_executor_of_another_contract_is_refused():
    with pytest.raises(PluginError, match="has contract 0; this recscale_dask has contract 1"):
        rs.open_executor("older")


def test_what_is_no_executor_is_told_that_a_pool_would_be_one():
    with pytest.raises(OptionError, match=r"a pool of concurrent[.]futures or None; got int"):
        rs.factorize(np.eye(4), rank=1, executor=3)


def test_a_pool_is_an_executor_of_every_function_that_takes_one():
    with ThreadPoolExecutor(2) as pool:
        model = rs.factorize(np.eye(6), rank=2, executor=pool)
        assert model.provenance["executor"] == "futures"
        assert model.recommend(k=1, executor=pool).equals(model.recommend(k=1, executor="serial"))
    functions = (rs.factorize, rs.svds, rs.plan, rs.evaluate, rs.compare, rs.report, rs.tune, rs.advise_rank)
    methods = (rs.FactorModel.recommend, rs.FactorModel.recommend_to, rs.FactorModel.fold_in, rs.FactorModel.rows)
    for each in (*functions, *methods):
        assert inspect.signature(each).parameters["executor"].annotation == "ExecutorLike | None", each
