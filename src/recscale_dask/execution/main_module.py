"""Starting processes without running the caller's script again in them."""

from __future__ import annotations

import sys
import threading
import types


class _WithoutMainModule:
    """Counts its users, for several processes may start at once: the last one out brings it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._main: types.ModuleType | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._main = sys.modules["__main__"]
                sys.modules["__main__"] = types.ModuleType("__main__")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._main is not None:
                sys.modules["__main__"], self._main = self._main, None


without_main_module = _WithoutMainModule()
"""Context manager: hides the caller's script while processes are spawned.

Tasks never need it (cloudpickle sends functions of a script by value), and without this every script
would need an ``if __name__ == "__main__"`` guard.
"""
