"""Real discovery: packages with metadata in `plugins/`, some of them broken, on the path for a test only."""

import importlib.metadata
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from recscale_dask.errors import ExecutorUnavailable, PluginError, UnknownNameError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.manager import PluginManager
from recscale_dask.hooks.specs import ENTRY_POINT_GROUP, ExecutorRequest, hookimpl

PLUGINS = Path(__file__).with_name("plugins")
BUILT_IN = {"serial", "threads", "processes", "dask", "futures"}
Manage = Callable[..., PluginManager]


@pytest.fixture
def manage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manage]:
    """Return a function that makes a manager which finds only the named plugins of this folder."""
    monkeypatch.syspath_prepend(str(PLUGINS))

    def make(*names: str) -> PluginManager:
        found = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        chosen = [each for each in found if each.name in names]
        assert len(chosen) == len(names), f"found {[each.name for each in found]}"
        return PluginManager(chosen)

    yield make
    for module in [name for name in sys.modules if name.startswith("plugin_")]:
        del sys.modules[module]


def names(manager: PluginManager, kind: str = "executors") -> set[str]:
    return {offer.spec.name for offer in manager.offers(kind)}


def reasons(manager: PluginManager) -> dict[str, str]:
    return {broken.name: broken.reason for broken in manager.broken}


def request(purpose: str = "fit", n_stored: int = 10) -> ExecutorRequest:
    return ExecutorRequest(purpose=purpose, n_users=10, n_items=10, n_stored=n_stored, rank=2)


def test_without_plugins_there_are_the_built_ins(manage: Manage) -> None:
    manager = manage()
    assert names(manager) == BUILT_IN
    assert names(manager, "solvers") >= {"svd"}
    assert manager.broken == []
    assert manager.resolve("executors", "serial") is SerialExecutor


def test_installed_plugins_are_found_by_default(manage: Manage) -> None:
    assert "stored" in names(PluginManager())


def test_stored_plugin_of_contract_1_works(manage: Manage) -> None:
    manager = manage("stored-v1")
    assert manager.broken == []
    assert manager.resolve("executors", "stored")().name == "stored"
    assert "stored-solver" in names(manager, "solvers")
    assert "stored-reader" in names(manager, "readers")
    assert "stored-metric" in names(manager, "metrics")
    [offer] = [offer for offer in manager.offers("executors") if offer.spec.name == "stored"]
    assert offer.package == "plugin-v1"
    assert offer.unavailable() == ""


@pytest.mark.parametrize(
    "hook",
    ["recscale_run_started", "recscale_block_done", "recscale_run_finished", "recscale_solver_step"],
)
def test_observers_of_a_plugin_are_called(manage: Manage, hook: str) -> None:
    [(plugin, function)] = manage("stored-v1").observers(hook)
    function(event="an event")
    assert plugin == "stored-v1"
    assert sys.modules["plugin_v1"].SEEN == ["an event"]


def test_observer_of_ingests_is_called(manage: Manage) -> None:
    [(plugin, function)] = manage("ingest").observers("recscale_ingest_step")
    function(event="an event")
    assert plugin == "ingest"
    assert sys.modules["plugin_ingest"].SEEN == ["an event"]


@pytest.mark.parametrize(
    ("plugin", "name", "reason"),
    [
        ("from-the-future", "future", "contract 2; this recscale_dask has contract 1"),
        ("import-error", "import-error", "ModuleNotFoundError: No module named 'module_that_is_not_there'"),
        ("system-exit", "system-exit", "SystemExit: no licence found"),
        ("misspelt", "misspelt", "'recscale_register_executor', which is no hook; did you mean 'recscale_reg"),
        ("other-arguments", "other-arguments", "rgument(s) {'colour'} are declared"),
        ("hook-raises", "hook-raises", "recscale_register_executors: OSError: no connection"),
        ("returns-none", "returns-none", "recscale_register_executors: TypeError"),
        ("not-a-spec", "not-a-spec", "offers 'serial'; expected a ExecutorSpec"),
    ],
)
def test_broken_plugin_is_told_and_takes_nothing_down(manage: Manage, plugin: str, name: str, reason: str) -> None:
    manager = manage("stored-v1", plugin)
    assert list(reasons(manager)) == [name]
    assert reason in reasons(manager)[name]
    assert names(manager) == BUILT_IN | {"stored", "not-installed", "not-here"}
    assert manager.resolve("executors", "stored")().name == "stored"
    with pytest.raises(PluginError, match="cannot be used") as caught:
        manager.resolve("executors", name)
    assert reason in str(caught.value)


def test_all_broken_plugins_together_take_nothing_down(manage: Manage) -> None:
    broken = ["from-the-future", "import-error", "system-exit", "misspelt", "other-arguments", "hook-raises"]
    manager = manage("stored-v1", *broken, "returns-none", "not-a-spec", "taken-name", "bad-chooser")
    assert names(manager) == BUILT_IN | {"stored", "not-installed", "not-here", "free"}
    assert len(manager.broken) == 9
    assert manager.resolve("executors", "free") is SerialExecutor


def test_taken_name_is_an_error_that_names_both(manage: Manage) -> None:
    manager = manage("stored-v1", "taken-name")
    with pytest.raises(
        PluginError, match=r"plugin_v1:StoredExecutor of package 'plugin-v1' and plugin_taken_name:Taken"
    ):
        manager.resolve("executors", "stored")
    assert manager.resolve("executors", "free") is SerialExecutor


def test_broken_plugin_called_like_a_built_in_leaves_that_alone() -> None:
    entry_point: Any = importlib.metadata.EntryPoint("serial", "module_that_is_not_there", ENTRY_POINT_GROUP)
    manager = PluginManager([entry_point])
    assert list(reasons(manager)) == ["serial"]
    assert manager.resolve("executors", "serial") is SerialExecutor


def test_plugin_offered_twice_is_registered_once(manage: Manage) -> None:
    manage("stored-v1")
    twice = [importlib.metadata.EntryPoint(name, "plugin_v1", ENTRY_POINT_GROUP) for name in ("one", "two")]
    manager = PluginManager(twice)
    assert "stored" in names(manager)
    assert "'one' under another name" in reasons(manager)["two"]


def test_unknown_name_lists_what_there_is_and_what_is_broken(manage: Manage) -> None:
    with pytest.raises(
        UnknownNameError, match="'quantum'; there are: dask, futures, processes, serial, threads"
    ) as caught:
        manage("import-error").resolve("executors", "quantum")
    assert "Broken, and why says `recscale doctor`: import-error" in str(caught.value)


def test_executor_that_does_not_import_says_what_to_install(manage: Manage) -> None:
    with pytest.raises(ExecutorUnavailable, match="pip install package-that-is-not-there"):
        manage("stored-v1").resolve("executors", "not-installed")


def test_listing_says_what_is_missing(manage: Manage) -> None:
    offers = {offer.spec.name: offer for offer in manage("stored-v1").offers("executors")}
    assert "pip install package-that-is-not-there" in offers["not-installed"].unavailable()
    assert offers["not-here"].unavailable() == "it is only a stored plugin"
    assert offers["serial"].unavailable() == ""


def test_choice_of_a_plugin_wins_over_the_built_in_one(manage: Manage) -> None:
    manager = manage("stored-v1", "chooser")
    assert manager.choose_executor(request("score")).name == "stored"
    assert manager.choose_executor(request("fit")).name == "serial"


def test_built_in_choice_is_serial_for_little_and_threads_for_much(manage: Manage) -> None:
    manager = manage()
    assert manager.choose_executor(request(n_stored=1000)).name == "serial"
    assert manager.choose_executor(request(n_stored=10**8)).name == "threads"


def test_plugin_that_fails_to_choose_is_told_and_passed_over(manage: Manage) -> None:
    manager = manage("bad-chooser")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="'bad-chooser' was passed over .* cannot choose"):
            assert manager.choose_executor(request()).name == "serial"
    assert reasons(manager) == {"bad-chooser": "recscale_choose_executor: RuntimeError: cannot choose"}
    assert manager.broken[0].package == "plugin-bad-chooser"


def test_what_a_plugin_prints_is_kept_off_stdout_and_told_once(manage: Manage, capsys) -> None:
    manager = manage("prints")
    [loud] = [offer for offer in manager.offers("executors") if offer.spec.name == "loud"]
    for _ in range(2):
        assert manager.unavailable(loud) == ""
        assert manager.choose_executor(request()).name == "serial"
    assert capsys.readouterr().out == ""
    assert [remark.reason for remark in manager.remarks] == [
        f"prints {text!r} {when}, which is kept off stdout"
        for text, when in (
            ("welcome to plugin_prints", "when it is imported"),
            ("registering", "in recscale_register_executors"),
            ("checking", "in its check plugin_prints:check"),
            ("choosing", "in recscale_choose_executor"),
        )
    ]
    assert {remark.package for remark in manager.remarks} == {"plugin-prints"}


class Slow:
    """Chooses nothing, and prints as soon as another thread has printed."""

    def __init__(self) -> None:
        self.begun, self.others = threading.Event(), threading.Event()

    @hookimpl
    def recscale_choose_executor(self) -> None:
        self.begun.set()
        self.others.wait(10)
        print("of the plugin")


def test_what_others_print_meanwhile_is_printed(manage: Manage, capsys) -> None:
    manager, slow = manage(), Slow()
    manager.register(slow, name="slow", package="slowly")
    with ThreadPoolExecutor(1) as pool:
        chosen = pool.submit(manager.choose_executor, request())
        assert slow.begun.wait(10)
        print("of the program")
        slow.others.set()
        assert chosen.result().name == "serial"
    assert capsys.readouterr().out == "of the program\n"
    assert "of the plugin" in manager.remarks[0].reason


class ChoosesNothingThatIs:
    @hookimpl
    def recscale_choose_executor(self) -> str:  # a hook may leave arguments out
        return "nonesuch"


def test_choice_of_what_nobody_offers_names_the_plugin_and_is_passed_over(manage: Manage) -> None:
    manager = manage()
    manager.register(ChoosesNothingThatIs(), name="dreamer", package="dreams")
    with pytest.warns(RuntimeWarning, match="'dreamer' .*'nonesuch', which is no executor"):
        assert manager.choose_executor(request()).name == "serial"
    assert manager.broken[0].package == "dreams"


class ChoosesByName:
    @hookimpl
    def recscale_choose_executor(self, request: ExecutorRequest) -> str:
        return "threads"

    @hookimpl
    def recscale_solver_step(self) -> None:
        raise LookupError("called without the event")

    def recscale_run_started(self, event: object) -> None:
        """Not marked."""


def test_choice_by_name_alone_has_the_plugin_as_its_reason(manage: Manage) -> None:
    manager = manage()
    manager.register(ChoosesByName(), name="simple")
    assert manager.choose_executor(request()).reason == "plugin 'simple' chose it"


def test_observer_may_take_no_argument(manage: Manage) -> None:
    manager = manage()
    manager.register(ChoosesByName(), name="simple")
    [(_, function)] = manager.observers("recscale_solver_step")
    with pytest.raises(LookupError, match="without the event"):
        function(event="an event")


def test_function_of_a_hook_that_is_not_marked_is_told(manage: Manage) -> None:
    manager = manage()
    manager.register(ChoosesByName(), name="simple", package="simply")
    [remark] = manager.remarks
    assert (remark.name, remark.package) == ("simple", "simply")
    assert "recscale_run_started that is never called; mark it with @hookimpl" in remark.reason


def test_arguments_that_a_hook_does_not_have_are_told_with_those_that_it_has(manage: Manage) -> None:
    [broken] = manage("other-arguments").broken
    assert "It may take: " in broken.reason
    assert "\n" not in broken.reason
