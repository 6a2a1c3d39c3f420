"""Rows of users that a model has not seen, with its items as columns."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import UnknownIdError, UnknownIdWarning

_LISTED = 5  # unknown ids in a message


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


def with_items_of(
    matrix: UserItemMatrix, items: Vocabulary, *, missing: Literal["raise", "warn", "ignore"] = "raise"
) -> NewRows:
    """Return the rows of a matrix with another vocabulary's items as columns, matched by id.

    Parameters
    ----------
    matrix : UserItemMatrix
        In memory already, or read here.
    items : Vocabulary
        Those of a model.
    missing : {"raise", "warn", "ignore"}
        What to do about values of items that it does not have; the last two leave them out.

    Raises
    ------
    UnknownIdError
        If there are such; says how many, and which, up to five.

    Warns
    -----
    UnknownIdWarning
        With ``missing="warn"``, the same.
    """
    if matrix.items == items:
        return NewRows(matrix.loaded(), items.ids.slice(0, 0), 0)
    rows = matrix.to_scipy()
    codes = items.codes(matrix.items.ids, missing="ignore", kind="item")
    columns = codes[rows.indices]
    known = columns >= 0
    unknown = matrix.items.take(np.unique(rows.indices[~known]))
    skipped = int(np.count_nonzero(~known))
    if skipped and missing != "ignore":
        more = ", ..." if len(unknown) > _LISTED else ""
        shown = ", ".join(str(each) for each in unknown.slice(0, _LISTED).to_pylist()) + more
        n_items = len(unknown) + len(np.unique(columns[known]))
        what = f"{len(unknown)} of {n_items} items, in {skipped} of {rows.nnz} interactions"
        if missing == "warn":
            warnings.warn(f"{what}, were skipped, as the model does not have them: {shown}", UnknownIdWarning, 3)
        else:
            raise UnknownIdError(
                f"{what}, are not in the model: {shown}. Skip them, with unknown='skip' (--skip-unknown), or fit again "
                "with them."
            )
    kept = np.concatenate([[0], np.cumsum(known)])
    shape = (rows.shape[0], len(items))
    matched = sp.csr_array((rows.data[known], columns[known], kept[rows.indptr]), shape=shape)
    matched.sort_indices()
    return NewRows(UserItemMatrix.from_scipy(matched, users=matrix.users, items=items), unknown, skipped)
