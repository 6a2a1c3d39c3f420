"""Values that an engine carries without loading them, so that what does not load is told, and not fetched for ever."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import cloudpickle


class Sealed:
    """A pickled value; its arrays stay out of the pickle, and are copied no more than without a seal.

    Parameters
    ----------
    head : bytes
        The pickle without its buffers.
    buffers : sequence of buffers
        What was left out of it.
    """

    __slots__ = ("_buffers", "_head")

    def __init__(self, head: bytes, buffers: Sequence[Any]) -> None:
        self._head = head
        self._buffers = buffers

    @classmethod
    def of(cls, value: Any) -> Sealed:
        """Pickle a value, which may raise anything."""
        buffers: list[pickle.PickleBuffer] = []
        return cls(cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append), buffers)

    @property
    def nbytes(self) -> int:
        """How many bytes the buffers have."""
        return sum(memoryview(each).nbytes for each in self._buffers)

    def open(self) -> Any:
        """Return the value, which may raise anything; its arrays are views of the buffers."""
        return pickle.loads(self._head, buffers=self._buffers)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Older protocols, which Dask speaks in places, copy buffers into the pickle.
        kind = pickle.PickleBuffer if protocol >= 5 else bytearray
        return Sealed, (self._head, [kind(each) for each in self._buffers])
