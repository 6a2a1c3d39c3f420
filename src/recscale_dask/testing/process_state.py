"""What belongs to the whole process, and so not to an executor: environment, signals, random numbers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_NOT_LOOKED_AT = ("PYTEST_CURRENT_TEST", "_")  # pytest's own; Dask's own and the like, which others do not read
_SIGNALS = tuple(each for each in signal.Signals if each.name != "SIGALRM")  # which pytest-timeout uses


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The state at one time.

    Attributes
    ----------
    environment : mapping of str to str
        Environment variables, without those whose names begin with an underscore.
    handlers : mapping of Signals to object
        What handles each signal.
    numpy_random : tuple
        State of NumPy's global random numbers. Those of the module `random` are left out: Dask draws from them.
    """

    environment: Mapping[str, str]
    handlers: Mapping[signal.Signals, Any]
    numpy_random: tuple[Any, ...]

    @classmethod
    def now(cls) -> ProcessState:
        """Return the present state."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_LOOKED_AT)}
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        numbers: Any = np.random.get_state()  # noqa: NPY002 -- which others may use
        return cls(environment, handlers, (numbers[0], numbers[1].tolist(), *numbers[2:]))

    def changes(self) -> Iterator[str]:
        """Yield what is another since, a phrase each."""
        now = ProcessState.now()
        for name in sorted({*self.environment, *now.environment}):
            old, new = self.environment.get(name), now.environment.get(name)
            if old != new:
                yield f"environment variable {name} was {old!r} and is {new!r}"
        for number, handler in self.handlers.items():
            if now.handlers[number] != handler:
                yield f"{number.name} was handled by {handler!r} and is by {now.handlers[number]!r}"
        if self.numpy_random != now.numpy_random:
            yield "the global random numbers of NumPy were seeded or used: make a Generator of your own"

    def restore(self) -> None:
        """Put back what `changes` tells of, for the tests that follow."""
        for name in ProcessState.now().environment.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        for number, handler in self.handlers.items():
            if signal.getsignal(number) != handler:
                signal.signal(number, handler)
        np.random.set_state(self.numpy_random)  # noqa: NPY002
