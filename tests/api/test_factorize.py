import json
import warnings
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.api import observing
from recscale_dask.api.plugins import list_broken, plugin_manager
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import (
    DataError,
    ExecutorUnavailable,
    NotConvergedWarning,
    OptionError,
    UnknownNameError,
)
from recscale_dask.execution.events import BlockDone, ExecutorChosen, IngestStep, RunFinished, RunStarted, SolverStep
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import hookimpl

DENSE = np.random.default_rng(0).random((12, 9)).round(1)


@pytest.fixture
def manager():
    """The plugin manager of this process, made anew before and after."""
    plugin_manager.cache_clear()
    yield plugin_manager()
    plugin_manager.cache_clear()


def fit(matrix=DENSE, **options):
    return rs.factorize(matrix, **{"rank": 3, "executor": "serial", **options})


@pytest.mark.parametrize("rank", [0, -1, 9, 100, 2.5, True, "3", None])
def test_rank_outside_the_matrix_is_refused_with_one_that_works(rank):
    with pytest.raises(OptionError, match=r"rank must be .*got rank=.*Try rank=\d+"):
        fit(rank=rank)


def test_largest_rank_that_the_error_names_does_work():
    with pytest.raises(OptionError, match=r"both sides of the matrix \(12 x 9\); got rank=9. Try rank=8 or less"):
        fit(rank=9)
    assert fit(rank=8).rank == 8


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (0, 3), (0, 0)])
def test_matrix_too_small_for_any_rank_is_refused(shape):
    with pytest.raises(OptionError, match="at least 2 users and 2 items"):
        fit(np.ones(shape), rank=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"solver": "svdd"}, UnknownNameError, "there are: .*popularity, svd"),
        ({"executor": "sparks"}, UnknownNameError, "no executor is called 'sparks'"),
        ({"executor": 3}, OptionError, "executor must be a name"),
        ({"weighting": "idf"}, OptionError, "no weighting is called 'idf'"),
        ({"passes": 3}, OptionError, "no option passes; its options are: basis_size, block_size, center, filter"),
        (
            {"passes": 3},
            OptionError,
            "of all solvers: rank=, weighting=, user_scaling=, item_scaling=, tol=, seed=$",
        ),
        ({"wieghting": "binary"}, OptionError, "did you mean 'weighting' by 'wieghting'"),
        ({"block_sise": 8, "ranks": 3}, OptionError, "did you mean 'block_size' by .* did you mean 'rank' by 'ranks'"),
        (
            {"executor": "processes", "n_workers": 2},
            OptionError,
            r"n_workers=2 is for the executor, not for the solver.*with rs.open_executor\('processes', n_workers=2\)",
        ),
        ({"warm_start": 3}, OptionError, "warm_start must be a model.* or the path of one; got a int"),
        ({"maxiter": 0}, OptionError, "maxiter must be"),
        ({"tol": -1}, OptionError, "tol must be"),
        ({"user_scaling": np.nan}, OptionError, "user_scaling must be"),
        ({"solver": "popularity", "maxiter": 3}, OptionError, "its options are: none"),
    ],
)
def test_option_that_cannot_work_says_what_can(options, error, message):
    with pytest.raises(error, match=message):
        fit(**options)


def test_a_data_file_is_no_matrix_and_says_how_to_make_one():
    with pytest.raises(DataError, match=r"no store at 'ratings\.csv'.*rs\.read_interactions"):
        fit("ratings.csv")


@pytest.mark.parametrize("matrix", [None, [[1, 2], [3, 4]], {"user": [1]}])
def test_what_is_no_matrix_is_refused(matrix):
    with pytest.raises(DataError, match="expected a UserItemMatrix"):
        fit(matrix)


def test_value_that_is_not_finite_names_its_row():
    with pytest.raises(DataError, match="row 4, column 2 holds nan"):
        fit(np.where(np.arange(108).reshape(12, 9) == 38, np.nan, DENSE))


def test_everything_like_a_matrix_gives_the_same_factors():
    users, items = np.nonzero(DENSE)
    table = pa.table({"u": users, "i": items, "v": DENSE[users, items]})
    single = DENSE.astype(np.float32)
    sources = [
        single,
        sp.csr_array(single),
        sp.csr_matrix(single),
        da.from_array(single, chunks=5),
        rs.UserItemMatrix.from_scipy(single),
        Interactions.from_arrow(table, user="u", item="i", value="v"),
    ]
    assert len({fit(source).factors_sha256() for source in sources}) == 1


def test_provenance_tells_all_that_made_the_model():
    model = fit(weighting="log", user_scaling=0.5, seed=7, maxiter=50)
    found = model.provenance
    assert found["solver"] == "svd"
    assert found["options"] == {
        "rank": 3,
        "weighting": "log",
        "user_scaling": 0.5,
        "item_scaling": 0.0,
        "tol": 1e-3,
        "maxiter": 50,
        "block_size": None,
        "basis_size": None,
        "center": None,
        "filter": None,
        "filter_strength": None,
        "undo_scaling": True,
    }
    assert found["seed"] == 7
    assert found["executor"] == "serial"
    assert found["versions"].keys() >= {"python", "recscale-dask", "numpy", "scipy", "numba"}
    assert len(found["data_fingerprint"]) == 64
    assert found["data_fingerprint"] == fit().provenance["data_fingerprint"] != fit(2 * DENSE).provenance
    assert json.loads(json.dumps(found)) == found


def test_certificate_tells_what_was_reached():
    certificate = fit(tol=1e-6).certificate
    assert certificate.converged
    assert certificate.tol == 1e-6
    assert certificate.residuals.shape == (3,)
    assert certificate.max_residual == certificate.residuals.max() <= 1e-6


def test_fit_that_did_not_converge_warns_and_says_so():
    matrix = sp.random_array((500, 400), density=0.1, rng=0)
    with pytest.warns(NotConvergedWarning, match="Allow more passes with maxiter"):
        model = fit(matrix, tol=1e-9, maxiter=3, block_size=16)
    assert not model.certificate.converged


def test_model_is_frozen():
    with pytest.raises(AttributeError):
        fit().user_factors = 3


def test_executor_may_be_open_already_and_stays_open():
    with SerialExecutor() as executor:
        assert fit(executor=executor).factors_sha256() == fit(executor=executor).factors_sha256()


def test_without_a_name_the_hook_chooses_the_executor(manager):
    assert fit(executor=None).provenance["executor"] == "serial"
    assert (
        fit(sp.random_array((3000, 500), density=0.5, rng=0), rank=16, executor=None).provenance["executor"]
        == "threads"
    )
    seen = []

    @hookimpl
    def recscale_choose_executor(request):
        seen.append(request)
        return "threads"

    manager.register(SimpleNamespace(recscale_choose_executor=recscale_choose_executor), name="chooser")
    assert fit(executor=None).provenance["executor"] == "threads"
    (request,) = seen
    assert (request.purpose, request.n_users, request.n_items, request.rank) == ("fit", 12, 9, 3)
    assert request.n_stored == np.count_nonzero(DENSE)


def test_progress_callable_gets_every_event():
    events = []
    model = fit(progress=events.append, block_size=4)
    kinds = [type(event) for event in events]
    runs = model.certificate.passes + 1  # and one for the factors of the users
    assert kinds.count(RunStarted) == kinds.count(RunFinished) == kinds.count(BlockDone) == runs
    steps = [event for event in events if isinstance(event, SolverStep)]
    assert steps[-1].converged == steps[-1].wanted == 3
    assert 0 < steps[-1].goal < model.certificate.tol
    assert steps[-1].residual == 0
    assert [step.passes for step in steps] == sorted(step.passes for step in steps)
    assert all(event.executor == "serial" for event in events if isinstance(event, RunStarted))
    assert all(event.error is None for event in events if isinstance(event, RunFinished))


def test_progress_bar_and_silence(capsys):
    fit(progress=False)
    assert capsys.readouterr().err == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(progress=True)
    assert capsys.readouterr().out == ""


def test_plugins_see_the_events_of_a_run(manager):
    seen = []

    @hookimpl
    def recscale_run_started(event):
        seen.append(event)

    manager.register(SimpleNamespace(recscale_run_started=recscale_run_started), name="watcher")
    model = fit()
    assert len(seen) == model.certificate.passes + 1


def test_observer_that_raises_is_warned_about_once_and_dropped_for_that_call(manager):
    calls = []

    @hookimpl
    def recscale_block_done(event):
        calls.append(event)
        raise RuntimeError("watch me fall")

    manager.register(SimpleNamespace(recscale_block_done=recscale_block_done), name="falling")
    events = []
    with pytest.warns(RuntimeWarning, match="plugin 'falling' failed.*watch me fall") as caught:
        model = fit(progress=events.append, block_size=4)
    assert len(caught) == len(calls) == 1
    assert sum(isinstance(event, BlockDone) for event in events) == model.certificate.passes + 1
    with pytest.warns(RuntimeWarning, match="falling"):
        fit()
    assert len(calls) == 2


def test_errors_of_the_users_own_callable_are_not_hidden():
    def fail(event):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(progress=fail)


def test_every_event_has_a_hook():
    assert set(observing._HOOKS) == {ExecutorChosen, RunStarted, BlockDone, RunFinished, SolverStep, IngestStep}


def test_names_that_are_built_in_are_listed_and_usable():
    assert {each.name for each in rs.list_executors()} >= {"serial", "threads", "processes", "dask"}
    assert {each.name for each in rs.list_solvers()} >= {"svd", "popularity"}
    metrics = {each.name for each in rs.list_metrics()}
    assert metrics >= {"recall", "precision", "ndcg", "map", "rmse", "mae"}
    built_in = [*rs.list_executors(), *rs.list_solvers(), *rs.list_metrics()]
    assert all(each.available for each in built_in if each.package == "recscale-dask")
    assert isinstance(list_broken(), list)


def test_executor_options_are_checked_by_name():
    with pytest.raises(OptionError, match="its options are: n_workers"):
        rs.open_executor("threads", workers=2)
    with rs.open_executor("threads", n_workers=2) as executor:
        assert fit(executor=executor).provenance["executor"] == "threads"


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_executor_that_is_not_open_says_how_to_open_it(name):
    with pytest.raises(ExecutorUnavailable, match=f"{name}' is not open. Use it in a `with` statement"):
        fit(rank=2, executor=rs.open_executor(name))


@pytest.mark.parametrize(
    ("option", "value"), [("tol", None), ("tol", "a"), ("seed", "x"), ("seed", -1), ("user_scaling", None)]
)
def test_options_of_another_kind_are_refused_by_name(option, value):
    with pytest.raises(OptionError, match=option):
        fit(rank=2, **{option: value})


def test_a_file_is_no_store_and_says_how_it_is_read(tmp_path):
    (tmp_path / "ratings.csv").write_text("user,item\n1,2\n")
    with pytest.raises(DataError, match=r"ratings.csv' is a file, .*rs.read_interactions\('.*ratings.csv'\)"):
        rs.factorize(tmp_path / "ratings.csv")
