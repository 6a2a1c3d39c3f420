"""What plugins offer, and what is wrong with those that cannot be used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import threading
from dataclasses import dataclass
from typing import Any


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
        except (Exception, SystemExit) as error:  # a parent package that fails on import
            return f"{type(error).__name__}: {error}"
        if not found:
            return f"no module {module!r}. {self.spec.install}".strip()
        if not self.spec.check:
            return ""
        try:
            return str(import_target(self.spec.check)() or "")
        except (Exception, SystemExit) as error:
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
    package : str
        The installed package that brings it; ``""`` if none is known.
    """

    name: str
    reason: str
    kind: str = ""
    package: str = ""

    @property
    def bringer(self) -> str:
        """Who brings it, for a sentence."""
        return f"the package {self.package}" if self.package else "the package that brings it"


class Printed(io.StringIO):
    """What one thread prints; what others do goes where it would."""

    def __init__(self) -> None:
        super().__init__()
        self._thread, self._stdout = threading.get_ident(), sys.stdout

    def write(self, text: str) -> int:
        """Keep a text, or pass it on."""
        return super().write(text) if threading.get_ident() == self._thread else self._stdout.write(text)


def import_target(target: str) -> Any:
    """Return the object that ``"package.module:attribute"`` names; what its import prints goes to stderr."""
    module, _, attribute = target.partition(":")
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, such as those of `--json`
        return getattr(importlib.import_module(module), attribute)
