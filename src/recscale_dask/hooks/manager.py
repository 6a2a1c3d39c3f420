"""The plugin manager: loads each plugin alone, so that a broken one takes nothing else down."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import inspect
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pluggy

from recscale_dask.errors import ExecutorUnavailable, PluginError, UnknownNameError
from recscale_dask.hooks import builtin
from recscale_dask.hooks.offers import Broken, Offer, Printed, import_target
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
OWN = "recscale-dask"
_HOOKS = [name for name in dir(Hooks) if name.startswith("recscale_")]
_NAME = re.compile(r"[^\s@]+")  # of what is offered: the @ of a metric begins its k


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
        self._printing = threading.RLock()
        self.register(builtin, name="recscale_dask builtin", package=OWN)
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)
        for entry_point in sorted(entry_points, key=lambda each: each.name):
            package = entry_point.dist.name if entry_point.dist is not None else ""
            with self._off_stdout(entry_point.name, package, "when it is imported"):
                try:
                    plugin = entry_point.load()
                    self.register(plugin, name=entry_point.name, package=package)
                except (Exception, SystemExit) as error:
                    reason = f"{type(error).__name__}: {error}"
                    self._broken.append(Broken(entry_point.name, reason, package=package))
        self._offers: dict[str, dict[str, Offer]] = {kind: self._collect(kind) for kind in _SPEC_TYPES}

    @contextlib.contextmanager
    def _off_stdout(self, plugin: str, package: str, when: str) -> Iterator[None]:
        """Keep what a plugin prints off stdout, where it would be in the midst of answers, and remember that it did.

        Not for our own, which print nothing.
        """
        if package == OWN:
            yield
            return
        with self._printing:  # as redirections of several threads undo each other's
            printed = Printed()
            try:
                with contextlib.redirect_stdout(printed):
                    yield
            finally:
                if text := printed.getvalue().strip():
                    remark = Broken(plugin, f"prints {text[:80]!r} {when}, which is kept off stdout", package=package)
                    if remark not in self._remarks:
                        self._remarks.append(remark)

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
            raise PluginError(_in_one_line(error)) from error
        for caller in self._pluggy.get_hookcallers(plugin) or []:
            if not caller.has_spec():
                self._pluggy.unregister(plugin)
                close = difflib.get_close_matches(caller.name, _HOOKS, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise PluginError(f"plugin {name!r} implements {caller.name!r}, which is no hook{hint}")
        self._packages[name] = package
        for hook in _HOOKS:
            if callable(getattr(plugin, hook, None)) and getattr(self._pluggy.hook, hook) not in (
                self._pluggy.get_hookcallers(plugin) or []
            ):
                said = f"has a function {hook} that is never called; mark it with @hookimpl"
                self._remarks.append(Broken(name, said, package=package))

    @contextlib.contextmanager
    def registered(self, plugin: Any, *, name: str) -> Iterator[None]:
        """Register a plugin object of this package for a while."""
        self.register(plugin, name=name, package=OWN)
        try:
            yield
        finally:
            self._pluggy.unregister(plugin)

    def _collect(self, kind: str) -> dict[str, Offer]:
        offers: dict[str, Offer] = {}
        hook = getattr(self._pluggy.hook, f"recscale_register_{kind}")
        for implementation in sorted(hook.get_hookimpls(), key=lambda each: each.plugin is not builtin):
            plugin = implementation.plugin_name
            package = self._packages.get(plugin, "")
            try:
                with self._off_stdout(plugin, package, f"in recscale_register_{kind}"):
                    specs = list(implementation.function())
            except (Exception, SystemExit) as error:
                reason = f"recscale_register_{kind}: {type(error).__name__}: {error}"
                self._broken.append(Broken(plugin, reason, kind, package))
                continue
            for spec in specs:
                reason = self._refusal(kind, spec, package, offers)
                if reason:
                    name = str(getattr(spec, "name", plugin))
                    self._broken.append(Broken(name, f"plugin {plugin!r}: {reason}", kind, package))
                else:
                    offers[spec.name] = Offer(spec, package)
        return offers

    @staticmethod
    def _refusal(kind: str, spec: Any, package: str, offers: dict[str, Offer]) -> str:
        expected = _SPEC_TYPES[kind]
        if not isinstance(spec, expected):
            return f"offers {spec!r}; expected a {expected.__name__}"
        texts = dict.fromkeys(("name", "target", "summary", "install", "check"), (str, "text"))
        for field, (type_, wanted) in {**texts, "contract": (int, "a whole number")}.items():
            if not isinstance(value := getattr(spec, field), type_):
                return f"offers {spec.name!r} with {field}={value!r}; expected {wanted}"
        for field, target in (("target", spec.target), ("check", spec.check or ":")):
            if ":" not in target:
                return f"offers {spec.name!r} with {field}={target!r}; expected 'package.module:attribute'"
        if spec.contract != CONTRACT:
            return (
                f"{spec.name!r} was written for contract {spec.contract}; this recscale_dask has contract "
                f"{CONTRACT}. Upgrade the older of the two."
            )
        if not _NAME.fullmatch(spec.name):
            return f"the name {spec.name!r} has a space or an @; choose another"
        if spec.name in offers:
            first = offers[spec.name]
            both = f"{first.spec.target} of package {first.package!r} and {spec.target} of package {package!r}"
            return f"the name {spec.name!r} is offered twice: by {both}"
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

    def refused(self, kind: str, name: str) -> str:
        """Return why a name cannot be used whatever offers it, or ``""``."""
        offer = self._offers[kind].get(name)
        for each in self._broken:
            # A broken plugin of this name must not take down what another one offers under it.
            # Nor one of the built-ins, whose names nobody can take.
            if each.name == name and (offer is None or (each.kind == kind and offer.package != OWN)):
                return each.reason
        return ""

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
        reason = self.refused(kind, name)
        if reason:
            raise PluginError(f"{kind[:-1]} {name!r} cannot be used: {reason}")
        if offer is None:
            names = ", ".join(sorted(self._offers[kind]))
            names_of_broken = ", ".join(sorted({each.name for each in self._broken}))
            broken = f" Broken, and why says `recscale doctor`: {names_of_broken}." if names_of_broken else ""
            ours = kind == "executors" and name in ("spark", "ray")
            hint = f" The package {OWN}-{name} brings {name!r}." if ours else ""
            raise UnknownNameError(f"no {kind[:-1]} is called {name!r}; there are: {names}.{hint}{broken}")
        try:
            return import_target(offer.spec.target)
        except (Exception, SystemExit) as error:
            install = f" Try: {offer.spec.install}" if offer.spec.install else ""
            unusable = ExecutorUnavailable if kind == "executors" else PluginError
            raise unusable(
                f"{kind[:-1]} {name!r} does not import: {type(error).__name__}: {error}.{install}"
            ) from error

    def unavailable(self, offer: Offer) -> str:
        """Return why an offer cannot be used on this machine, or ``""``; imports no engine."""
        with self._off_stdout(offer.spec.name, offer.package, f"in its check {offer.spec.check}"):
            return offer.unavailable()

    def examine(self, kind: str, offer: Offer, misfit: Callable[[Any], str]) -> None:
        """Import what is offered; it is broken if it does not import, or if `misfit` says why it does not suit."""
        try:
            reason = misfit(import_target(offer.spec.target))
        except (Exception, SystemExit) as error:
            reason = f"does not import: {type(error).__name__}: {error}"
        if reason:
            reason = f"{offer.spec.target} {reason}"
            self._broken.append(Broken(offer.spec.name, reason, kind, offer.package))

    def choose_executor(self, request: ExecutorRequest) -> ExecutorChoice:
        """Return the executor for a call that names none.

        A plugin that raises, or names what nothing offers, is warned about and passed over.
        """
        # One after another, in pluggy's order, so that the one whose answer it is can be named.
        for each in reversed(self._pluggy.hook.recscale_choose_executor.get_hookimpls()):
            plugin = each.plugin_name
            package = self._packages.get(plugin, "")
            try:
                with self._off_stdout(plugin, package, "in recscale_choose_executor"):
                    answer = _with_known_arguments(each)(request=request)
            except (Exception, SystemExit) as error:
                self._tell_chooser(plugin, f"{type(error).__name__}: {error}")
                continue
            if answer is None:
                continue
            choice = answer if isinstance(answer, ExecutorChoice) else ExecutorChoice(name=str(answer))
            if choice.name in self._offers["executors"]:
                return choice if choice.reason else replace(choice, reason=f"plugin {plugin!r} chose it")
            self._tell_chooser(plugin, f"it answers {answer!r}, which is no executor")
        raise PluginError("no plugin chooses an executor, not even the built-in one")

    def _tell_chooser(self, plugin: str, reason: str) -> None:
        warnings.warn(f"plugin {plugin!r} was passed over when an executor was chosen: {reason}", RuntimeWarning, 2)
        broken = Broken(plugin, f"recscale_choose_executor: {reason}", package=self._packages.get(plugin, ""))
        if broken not in self._broken:
            self._broken.append(broken)

    def package_of(self, kind: str, name: str) -> str:
        """Return the package that offers a name; that of recscale_dask if nobody does, as for an executor by hand."""
        offer = self._offers[kind].get(name)
        return (offer.package if offer else "") or OWN

    def observers(self, hook_name: str) -> list[tuple[str, Callable[..., None]]]:
        """Return the plugins that observe a hook, each with its function."""
        hook = getattr(self._pluggy.hook, hook_name)
        return [(each.plugin_name, _with_known_arguments(each)) for each in hook.get_hookimpls()]


def _with_known_arguments(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Return a hook's function as one of all its arguments, of which it may take some."""

    def call(**arguments: Any) -> Any:
        return implementation.function(*(arguments[name] for name in implementation.argnames))

    return call


def _in_one_line(error: pluggy.PluginValidationError) -> str:
    """Return what pluggy says of a function that takes what its hook does not have, and what the hook has."""
    text = " ".join(str(error).split())
    hook = re.search(r"for hook '(\w+)'", text)
    if hook is None or hook[1] not in _HOOKS:
        return text
    known = [name for name in inspect.signature(getattr(Hooks, hook[1])).parameters if name != "self"]
    return f"{text}. It may take: {', '.join(known) or 'nothing'}"
