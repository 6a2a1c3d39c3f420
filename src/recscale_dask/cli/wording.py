"""Messages of the library, which name arguments of Python, in the words of the command that was typed."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from recscale_dask.errors import RecscaleError

_VALUE = r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;:()]*[^\s,;:.()])?"
_BOTH = re.compile(r"\b\w+=(?:\w*|'[^']*') \((--[\w-]+)\)")  # overwrite=True (--overwrite)
_GIVEN = re.compile(rf"(?:(?<![\w.(/-])|(?<= \())(?P<name>[a-z]\w*)={_VALUE}")
_NAMED = re.compile(r"(?<![\w=.'(/-])(?P<name>[a-z]+(_[a-z]+)+)(?![\w='.(/])")


class Wording:
    """The words of one command.

    Parameters
    ----------
    command : click Command
    typed : mapping of str to Any
        Its parameters, by their names in Python.
    """

    def __init__(self, command: Any, typed: Mapping[str, Any]) -> None:
        self._options = {each.name: each for each in command.params if each.param_type_name == "option"}
        self._typed = typed

    def of(self, message: str) -> str:
        """Return a message with ``--memory-limit 2GiB`` in the place of ``memory_limit='2GiB'``.

        What the command has no option of its own for becomes ``--set block_size=8`` if it is an option of the solver,
        and ``--option n_workers=2`` if it is one of the executor. All else stays as it is.
        """
        message = _BOTH.sub(r"\1", message)
        message = _GIVEN.sub(self._given, message)
        return _NAMED.sub(lambda found: self._flag(found["name"]) or found[0], message)

    def _given(self, found: re.Match[str]) -> str:
        name, value = found["name"], (found["value"] or "").strip("'\"")
        flag = self._flag(name)
        if flag is not None:
            return flag if self._options[name].is_flag or not value else f"{flag} {value}"
        if "settings" in self._options and name in self._of_the_fit:
            return f"--set {name}={value}"
        if "executor_options" in self._options and name in self._of_the_executor:
            return f"--option {name}={value}"
        return found[0]

    def _flag(self, name: str) -> str | None:
        if name not in self._options:
            return None
        return next(str(each) for each in self._options[name].opts if each.startswith("--"))

    @cached_property
    def _of_the_fit(self) -> set[str]:
        from recscale_dask.api.fitting import factorize

        names = set(inspect.signature(factorize).parameters)
        solvers = self._typed.get("solver") or self._typed.get("solvers") or "svd"  # of `advise`
        for solver in solvers.split(","):
            target = _resolved("solvers", solver.strip())
            names |= {field.name for field in dataclasses.fields(target)} if dataclasses.is_dataclass(target) else set()
        return names

    @cached_property
    def _of_the_executor(self) -> set[str]:
        target = _resolved("executors", self._typed.get("executor") or "threads")
        return set(inspect.signature(target).parameters) if callable(target) else set()


def _resolved(kind: str, name: str) -> Any:
    """Return what a name stands for; None if that cannot be had, which is then what the message is about."""
    from recscale_dask.api.plugins import plugin_manager

    try:
        return plugin_manager().resolve(kind, name)
    except RecscaleError:
        return None
