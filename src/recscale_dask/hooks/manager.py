"""The plugin manager: loads each plugin alone, so that a broken one takes nothing else down."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from recscale_dask.errors import ExecutorUnavailable, PluginError, UnknownNameError
from recscale_dask.hooks import builtin
from recscale_dask.hooks.specs import (
    ENTRY_POINT_GROUP,
    PROJECT,
    ExecutorChoice,
    ExecutorRequest,
    ExecutorSpec,
    Hooks,
    MetricSpec,
    ReaderSpec,
    SolverSpec,
    Spec,
)

_SPEC_TYPES: dict[str, type[Spec]] = {
    "executors": ExecutorSpec,
    "solvers": SolverSpec,
    "readers": ReaderSpec,
    "metrics": MetricSpec,
}
CONTRACT = 1
_OWN = "recscale-dask"


@dataclass(frozen=True, slots=True)
class Offer:
    """A spec and the package that offers it."""

    spec: Any
    package: str

    def unavailable(self) -> str:
        """Return why it cannot be used on this machine, or ``""``; imports no engine."""
        module = self.spec.target.partition(":")[0]
        try:
            found = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # not even its package is there
            found = False
        except Exception as error:  # a parent package that fails on import
            return f"{type(error).__name__}: {error}"
        if not found:
            return f"no module {module!r}. {self.spec.install}".strip()
        if not self.spec.check:
            return ""
        try:
            return str(import_target(self.spec.check)())
        except Exception as error:
            return f"its check failed: {type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin, or one of its offers, that cannot be used, and why.

    Attributes
    ----------
    name : str
        Of the plugin's entry point, or of what it offers.
    reason : str
        What is wrong and what to do.
    kind : str
        What it offers: executors, solvers, readers or metrics; ``""`` if the plugin itself is broken.
    """

    name: str
    reason: str
    kind: str = ""


def import_target(target: str) -> Any:
    """Return the object that ``"package.module:attribute"`` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


class PluginManager:
    """Finds plugins and resolves names to objects.

    Parameters
    ----------
    entry_points : iterable of EntryPoint, optional
        By default those of the installed packages in the group ``recscale_dask``.
    """

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(Hooks)
        self._broken: list[Broken] = []
        self._remarks: list[Broken] = []
        self._packages: dict[str, str] = {}
        self.register(builtin, name="recscale_dask builtin", package=_OWN)
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        for entry_point in sorted(entry_points, key=lambda each: each.name):
            package = entry_point.dist.name if entry_point.dist is not None else ""
            # What a plugin prints would be in the midst of `--json`.
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                try:
                    plugin = entry_point.load()
                    self.register(plugin, name=entry_point.name, package=package)
                except (Exception, SystemExit) as error:
                    self._broken.append(Broken(entry_point.name, f"{type(error).__name__}: {error}"))
            if printed.getvalue():
                said = f"prints {printed.getvalue().strip()[:80]!r} when it is imported, which is kept off stdout"
                self._remarks.append(Broken(entry_point.name, said))
        self._offers: dict[str, dict[str, Offer]] = {kind: self._collect(kind) for kind in _SPEC_TYPES}

    def register(self, plugin: Any, *, name: str, package: str = "") -> None:
        """Register a plugin object.

        Raises
        ------
        PluginError
            If one of its hooks is not a hook of recscale_dask (a misspelt name), or has other
            arguments; nothing of the plugin is registered then.
        """
        if self._pluggy.is_registered(plugin):
            raise PluginError(f"plugin {name!r} is {self._pluggy.get_name(plugin)!r} under another name")
        try:
            self._pluggy.register(plugin, name=name)
        except pluggy.PluginValidationError as error:
            if self._pluggy.is_registered(plugin):  # half of it, by an older pluggy
                self._pluggy.unregister(plugin)
            raise PluginError(str(error)) from error
        for caller in self._pluggy.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                self._pluggy.unregister(plugin)
                known = [hook for hook in dir(Hooks) if hook.startswith("recscale_")]
                close = difflib.get_close_matches(caller.name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise PluginError(f"plugin {name!r} implements {caller.name!r}, which is no hook{hint}")
        self._packages[name] = package

    def _collect(self, kind: str) -> dict[str, Offer]:
        offers: dict[str, Offer] = {}
        hook = getattr(self._pluggy.hook, f"recscale_register_{kind}")
        for implementation in sorted(hook.get_hookimpls(), key=lambda each: each.plugin is not builtin):
            plugin = implementation.plugin_name
            try:
                specs = list(implementation.function())
            except (Exception, SystemExit) as error:
                reason = f"recscale_register_{kind}: {type(error).__name__}: {error}"
                self._broken.append(Broken(plugin, reason, kind))
                continue
            for spec in specs:
                reason = self._refusal(kind, spec, offers)
                if reason:
                    name = getattr(spec, "name", plugin)
                    self._broken.append(Broken(name, f"plugin {plugin!r}: {reason}", kind))
                else:
                    offers[spec.name] = Offer(spec, self._packages.get(plugin, ""))
        return offers

    @staticmethod
    def _refusal(kind: str, spec: Any, offers: dict[str, Offer]) -> str:
        expected = _SPEC_TYPES[kind]
        if not isinstance(spec, expected):
            return f"offers {spec!r}; expected a {expected.__name__}"
        if spec.contract != CONTRACT:
            return (
                f"{spec.name!r} was written for contract {spec.contract}; this recscale_dask has contract "
                f"{CONTRACT}. Upgrade the older of the two."
            )
        if spec.name in offers:
            return f"the name {spec.name!r} is offered twice: by {offers[spec.name].spec.target} and {spec.target}"
        return ""

    @property
    def broken(self) -> list[Broken]:
        """Plugins and offers that cannot be used, with the reason for each."""
        return list(self._broken)

    @property
    def remarks(self) -> list[Broken]:
        """Plugins that work, but do something that they should not."""
        return list(self._remarks)

    def offers(self, kind: str) -> list[Offer]:
        """Return all usable offers of a kind: executors, solvers, readers or metrics."""
        return list(self._offers[kind].values())

    def resolve(self, kind: str, name: str) -> Any:
        """Import and return the object that a name stands for.

        Raises
        ------
        UnknownNameError
            If nothing offers the name; says what there is.
        PluginError
            If what offers it is broken, has another contract, or offers a taken name.
        ExecutorUnavailable
            If its import fails; says what to install.
        """
        offer = self._offers[kind].get(name)
        for broken in self._broken:
            # A broken plugin of this name must not take down what another one offers under it.
            # Nor one of the built-ins, whose names nobody can take.
            if broken.name == name and (offer is None or (broken.kind == kind and offer.package != _OWN)):
                raise PluginError(f"{kind[:-1]} {name!r} cannot be used: {broken.reason}")
        if offer is None:
            names = ", ".join(sorted(self._offers[kind]))
            reasons = "".join(f" Plugin {each.name!r} is broken: {each.reason}." for each in self._broken)
            hint = " The package recscale-dask-spark brings 'spark'." if (kind, name) == ("executors", "spark") else ""
            raise UnknownNameError(f"no {kind[:-1]} is called {name!r}; there are: {names}.{hint}{reasons}")
        try:
            return import_target(offer.spec.target)
        except (Exception, SystemExit) as error:
            install = f" Try: {offer.spec.install}" if offer.spec.install else ""
            raise ExecutorUnavailable(
                f"{kind[:-1]} {name!r} does not import: {type(error).__name__}: {error}.{install}"
            ) from error

    def choose_executor(self, request: ExecutorRequest) -> ExecutorChoice:
        """Return the executor for a call that names none; the built-in answer if a plugin fails."""
        try:
            answer = self._pluggy.hook.recscale_choose_executor(request=request)
        except Exception as error:
            broken = Broken("recscale_choose_executor", f"{type(error).__name__}: {error}")
            if broken not in self._broken:
                self._broken.append(broken)
            return builtin.recscale_choose_executor(request)
        return answer if isinstance(answer, ExecutorChoice) else ExecutorChoice(name=str(answer), reason="of a plugin")

    def observers(self, hook_name: str) -> list[tuple[str, Callable[..., None]]]:
        """Return the plugins that observe a hook, each with its function."""
        hook = getattr(self._pluggy.hook, hook_name)
        return [(each.plugin_name, each.function) for each in hook.get_hookimpls()]
