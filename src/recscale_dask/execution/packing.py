"""Pickles in which an executor's own broadcast handles become places, filled again on the worker.

For engines that move constants themselves (Dask futures, Spark broadcast variables): the handle must
travel beside the pickle, where the engine sees it, and not inside it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

import cloudpickle

from recscale_dask.execution.contract import Broadcast
from recscale_dask.execution.serial import LocalBroadcast


def pack(value: Any, kind: type[Broadcast]) -> tuple[bytes, list[Any]]:
    """Pickle a value, leaving out the broadcast handles of one class wherever they are in it.

    Parameters
    ----------
    value : object
        A job, or a task with its constants.
    kind : type
        Class of the handles to leave out; other handles are pickled as they are.

    Returns
    -------
    data : bytes
        The pickle.
    handles : list of Broadcast
        What was left out, in the order in which `unpack` wants the values.
    """
    file = io.BytesIO()
    pickler = _Pickler(file, kind)
    pickler.dump(value)
    return file.getvalue(), pickler.handles


def unpack(data: bytes, values: Sequence[Any]) -> Any:
    """Return what `pack` was given, with a recipe for ``values[i]`` in the place of handle ``i``."""
    return _Unpickler(io.BytesIO(data), values).load()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, kind: type[Broadcast]) -> None:
        super().__init__(file, protocol=5)
        self.handles: list[Any] = []
        self._kind = kind

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, self._kind):
            return None
        self.handles.append(value)
        return len(self.handles) - 1


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, values: Sequence[Any]) -> None:
        super().__init__(file)
        self._values = values

    def persistent_load(self, place: int) -> LocalBroadcast:
        return LocalBroadcast(self._values[place])
