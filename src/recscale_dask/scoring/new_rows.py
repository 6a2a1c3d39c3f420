"""Rows of users that a model has not seen, with its items as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import OptionError, UnknownIdError

_LISTED = 5  # unknown ids in an error

Unknown = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True, eq=False)
class NewRows:
    """Users by the items of a model, and what the model does not know.

    Attributes
    ----------
    matrix : UserItemMatrix
        A user whose items are all unknown has an empty row.
    unknown_items : pyarrow.Array
        Ids of items that are not in the model, each once.
    skipped_values : int
        Stored values of these.
    """

    matrix: UserItemMatrix
    unknown_items: pa.Array
    skipped_values: int


def with_items_of(matrix: UserItemMatrix, items: Vocabulary, *, unknown: Unknown = "raise") -> NewRows:
    """Return the rows of a matrix with another vocabulary's items as columns, matched by id.

    Parameters
    ----------
    matrix : UserItemMatrix
        In memory already, or read here.
    items : Vocabulary
        Those of a model.
    unknown : {"raise", "skip"}
        What becomes of values of items that it does not have.

    Raises
    ------
    UnknownIdError
        If there are such and they are not to be skipped; names some.
    OptionError
        If `unknown` is neither.
    """
    if unknown not in ("raise", "skip"):
        raise OptionError(f"unknown={unknown!r} is not a choice; use 'raise' or 'skip'")
    if matrix.items == items:
        return NewRows(replace(matrix, items=items), items.ids.slice(0, 0), 0)
    rows = matrix.to_scipy()
    codes = items.codes(matrix.items.ids, missing="ignore", kind="item")
    columns = codes[rows.indices]
    known = columns >= 0
    missing = np.unique(rows.indices[~known])
    if len(missing) and unknown == "raise":
        shown = ", ".join(str(each) for each in matrix.items.take(missing[:_LISTED]).to_pylist())
        more = ", ..." if len(missing) > _LISTED else ""
        raise UnknownIdError(
            f"{len(missing)} items ({shown}{more}) with {int((~known).sum())} interactions are not among the {len(items)} "
            "of the model. Pass unknown='skip' to leave them out, or fit again with them."
        )
    kept = np.concatenate([[0], np.cumsum(known)])
    shape = (rows.shape[0], len(items))
    matched = sp.csr_array((rows.data[known], columns[known], kept[rows.indptr]), shape=shape)
    matched.sort_indices()
    found = UserItemMatrix.from_scipy(matched, users=matrix.users, items=items)
    return NewRows(found, matrix.items.take(missing), int((~known).sum()))
