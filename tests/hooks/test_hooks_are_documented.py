"""Every hook is in docs/plugins/hooks.md with its exact signature, and a plugin of the tests implements it."""

import inspect
import re
import typing
from pathlib import Path

import pytest

from recscale_dask.execution import events
from recscale_dask.hooks import specs

ROOT = Path(__file__).parents[2]
HOOKS = sorted(name for name in vars(specs.Hooks) if name.startswith("recscale_"))
DOCUMENTED = re.findall(
    r"^## `(\w+)`\n\n```python\n(.*)\n```\n\n(\S.{40})", (ROOT / "docs/plugins/hooks.md").read_text(), re.MULTILINE
)


def signature(name: str) -> str:
    """Return the signature of a hook as a plugin writes it: without self."""
    found = inspect.signature(getattr(specs.Hooks, name))
    arguments = [each for each in found.parameters.values() if each.name != "self"]
    return f"def {name}{found.replace(parameters=arguments)}".replace("'", "")


def test_documentation_has_every_hook_and_no_other() -> None:
    assert sorted(name for name, _, _ in DOCUMENTED) == HOOKS


@pytest.mark.parametrize("name", HOOKS)
def test_documented_signature_is_that_of_the_code(name: str) -> None:
    assert {hook: written for hook, written, _ in DOCUMENTED}[name] == signature(name)


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_implemented_by_a_plugin_of_these_tests(name: str) -> None:
    sources = [path.read_text() for path in (ROOT / "tests/hooks/plugins").glob("*.py")]
    assert any(f"def {name}(" in source for source in sources)


@pytest.mark.parametrize(
    "record", ["ExecutorSpec", "SolverSpec", "ReaderSpec", "MetricSpec", "ExecutorRequest", "ExecutorChoice"]
)
def test_record_is_documented_with_all_its_fields(record: str) -> None:
    section = (ROOT / "docs/plugins/hooks.md").read_text().partition("# Records")[2]
    assert f"`{record}`" in section
    for field in inspect.signature(getattr(specs, record)).parameters:
        assert f"`{field}`" in section


@pytest.mark.parametrize("event", typing.get_args(events.Event), ids=lambda event: event.__name__)
def test_event_is_documented_with_all_its_fields(event: type) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "docs/plugins/hooks.md").read_text(), re.MULTILINE)
    written = dict(rows)[event.__name__]
    assert set(re.findall(r"`(\w+)`", written)) == set(inspect.signature(event).parameters)
