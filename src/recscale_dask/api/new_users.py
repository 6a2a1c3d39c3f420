"""What people pass as the interactions of new users, as a matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from recscale_dask.api.reading import read_interactions
from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.sparse import is_sparse
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError
from recscale_dask.types import Aggregation

_IDS = (list, tuple, set, frozenset, range, pa.Array, pa.ChunkedArray)


def new_users(interactions: Any, items: Vocabulary, duplicates: Aggregation = "sum") -> UserItemMatrix:
    """Return the interactions of new users as a matrix with items of its own.

    Parameters
    ----------
    interactions : object
        See `FactorModel.fold_in`.
    items : Vocabulary
        Of the model: what the columns of an array without ids are, if they are 0, 1, 2, ...
    duplicates : {"sum", "max", "last"}
        What becomes of several rows of one user and item.

    Raises
    ------
    DataError
        If they cannot be used.
    """
    if isinstance(interactions, UserItemMatrix):
        return interactions
    if is_sparse(interactions) or (isinstance(interactions, np.ndarray) and interactions.ndim == 2):
        if interactions.shape[1] != len(items):
            raise DataError(
                f"the model has {len(items)} items; got an array of shape {interactions.shape}. Give one column per "
                "item of the model, or ids with UserItemMatrix.from_scipy(..., items=ids)."
            )
        if not items.is_range:
            raise DataError(
                f"the items of the model have ids (such as {items.ids[0]}), and the columns of an array have none: say "
                "which is which with UserItemMatrix.from_scipy(..., items=ids), or give them in the model's order with "
                "items=model.items.ids."
            )
        return UserItemMatrix.from_scipy(interactions, items=items)
    single = isinstance(interactions, (*_IDS, Mapping)) or getattr(interactions, "ndim", None) == 1
    if single:
        data = _one_user(interactions)
    elif isinstance(interactions, Interactions):
        data = interactions.compact()  # users without rows are those of another part of a split
    else:
        data = read_interactions(interactions)
    return UserItemMatrix.from_interactions(data, duplicates=duplicates)


def _one_user(items: Any) -> Interactions:
    """Return the interactions of the user 0: ids, or a mapping of ids to values."""
    values = None
    if isinstance(items, Mapping):
        try:
            values = np.fromiter(items.values(), np.float32, len(items))
        except (TypeError, ValueError) as error:
            raise DataError(f"a mapping gives each item id a number: {error}") from error
        if not np.isfinite(values).all():
            raise DataError(f"values must be finite; got {values[~np.isfinite(values)][0]} for one item")
        items = list(items)
    elif isinstance(items, set | frozenset):
        items = sorted(items)
    known, codes = Vocabulary.from_ids(items)
    return Interactions(np.zeros(len(codes), np.int32), codes, values, None, Vocabulary.range(1), known)
