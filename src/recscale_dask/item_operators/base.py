"""What an item operator is: a linear map W of rows over items, that adds ``r_u W`` to the scores of user u."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recscale_dask.data.blocked_array import parts_of
from recscale_dask.data.blocks import Block
from recscale_dask.data.weighting import Transform, kept_summary, summary_of

_SUMMARY = "summary_"  # of names of arrays


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ItemOperator(ABC):
    """A linear map of rows over items; travels to the workers, and is saved with its model.

    Each kind is a frozen record of arrays and a few numbers. The kinds are a closed set
    (`recscale_dask.item_operators.kinds`), because the format of models is no extension point.

    Attributes
    ----------
    weigh : Transform
        The weighting of a row's values, which comes first; no scaling.
    """

    kind: ClassVar[str]

    weigh: Transform

    @property
    @abstractmethod
    def n_items(self) -> int:
        """Length of the rows."""

    @property
    @abstractmethod
    def products_per_score(self) -> float:
        """About how many multiplications a score takes."""

    @property
    def working_bytes(self) -> int:
        """Bytes that adding scores takes besides them."""
        return 0

    @abstractmethod
    def column(self, item: int) -> NDArray[np.float64]:
        """Return what one of each item, weighted, adds to the score of an item code, shape (n_items,)."""

    @abstractmethod
    def own_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of this operator by name, but for those of its weighting."""

    @abstractmethod
    def own_settings(self) -> dict[str, Any]:
        """Return its numbers by name: plain JSON values."""

    @classmethod
    @abstractmethod
    def of(cls, weigh: Transform, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Return the operator with these arrays and numbers."""

    @abstractmethod
    def _add(self, rows: Block, out: NDArray[np.float32]) -> None:
        """Add ``R W`` to `out`; the values of rows are weighted, and float32."""

    def add_scores(self, rows: Block, out: NDArray[np.float32]) -> None:
        """Add ``r_u W`` of each row to `out`, shape (n_rows, n_items), in one order whatever the other rows are.

        Parameters
        ----------
        rows : Block
            Values as they were before weighting.
        out : ndarray of float32, C order
        """
        weighted = self.weigh(rows)
        self._add(weighted.with_values(weighted.values.astype(np.float32, copy=False)), out)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays by name."""
        summary = {f"{_SUMMARY}{name}": array for name, array in kept_summary(self.weigh).items()}
        return {**self.own_arrays(), **summary}

    def settings(self) -> dict[str, Any]:
        """Return its kind and numbers: plain JSON values."""
        return {"kind": self.kind, "weighting": self.weigh.weighting, **self.own_settings()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """Return the operator whose `arrays` and `settings` these are."""
        kept = {name.removeprefix(_SUMMARY): array for name, array in arrays.items() if name.startswith(_SUMMARY)}
        weigh = Transform(settings["weighting"], summary_of(settings["weighting"], kept))
        return cls.of(weigh, arrays, settings)

    def fingerprint(self) -> str:
        """Return a SHA-256 (hex) of all of it."""
        digest = hashlib.sha256(json.dumps(self.settings(), sort_keys=True).encode())
        for name, array in sorted(self.arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            for part in parts_of(array):
                digest.update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data.cast("B"))
        return digest.hexdigest()


def as_read(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return an array as kernels take it: C order, of one dtype, and read-only, as one that was mapped is."""
    array = np.ascontiguousarray(array, dtype).view()
    array.flags.writeable = False
    return array
