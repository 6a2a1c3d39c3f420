"""Array aliases and the two protocols that the layers below the model share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IntArray: TypeAlias = NDArray[np.integer[Any]]
Codes: TypeAlias = NDArray[np.int32]
Aggregation: TypeAlias = Literal["sum", "max", "last"]
"""What becomes of several rows of one user and item."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class Recipe(Protocol[T_co]):
    """A small picklable object that makes a large one where it is needed.

    What travels to workers: a block of a store, a constant in shared memory, a piece of a Dask graph.
    """

    def load(self) -> T_co:
        """Return the large object; called on the worker, once per use."""
        ...


Task: TypeAlias = Callable[..., Any]
"""A pure function ``task(payload, **constants)``: no state, no randomness but from ``[seed, block]``."""

Combine: TypeAlias = Callable[[Any, Any], Any]
"""An associative-in-tree function of two results, such as ``numpy.add``; it may write into the first."""
