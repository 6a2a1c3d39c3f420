"""Which of a user's own items a score comes from, and how much of it."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.closed_form import ClosedForm
from recscale_dask.data.blocks import Block
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import DataError, ModelFormatError
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.model import Factors, SeenItems, stored_values
from recscale_dask.scoring.pairs import score_pairs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """A score as a sum over the items of the user: ``contributions + others + remainder``.

    Attributes
    ----------
    user, item : object
        Ids.
    score : float
        That of `FactorModel.score`.
    contributions : pyarrow.Table
        Columns item (id) and contribution (float64): the largest in size first, ties by item code.
    others : float
        Sum of the contributions that the table leaves out.
    remainder : float
        What comes from none of the user's items: means that centring subtracted, popularity, and what a fit to
        a tolerance and rounding leave.
    """

    user: Any
    item: Any
    score: float
    contributions: pa.Table
    others: float
    remainder: float

    def __str__(self) -> str:
        lines = [f"{each['contribution']:+9.4f}  {each['item']}" for each in self.contributions.to_pylist()]
        lines += [f"{self.others:+9.4f}  other items of the user", f"{self.remainder:+9.4f}  remainder"]
        return "\n".join([f"{self.score:9.4f}  score of item {self.item} for user {self.user}", *lines])


def explain(model: Factors, closed_form: ClosedForm, user: int, item: int, k: int, values: NDArray[Any]) -> Explanation:
    """Return what each of a user's items adds to the score of an item.

    Parameters
    ----------
    user, item : int
        Codes.
    k : int
        How many items to list.
    values : ndarray of shape (n_interactions,) or (1,)
        Of the interactions of the model, in the order of `Factors.seen`.
    """
    first, last = (int(each) for each in model.seen.indptr[user : user + 2])
    own = values[first:last] if len(values) == model.n_interactions else np.full(last - first, values[0])
    row = Block(0, user, np.array([0, last - first]), model.seen.indices[first:last], own, len(model.items))
    added = closed_form.contributions(row, item)
    with SerialExecutor() as here:
        score = score_pairs(model, np.array([user], np.int32), np.array([item], np.int32), here)
    best = np.lexsort([row.indices, -np.abs(added)])
    listed, rest = best[:k], best[k:]
    others = float(added[rest].sum())
    return Explanation(
        user=model.users.ids[user].as_py(),
        item=model.items.ids[item].as_py(),
        score=float(score[0]),
        contributions=pa.table({"item": model.items.take(row.indices[listed]), "contribution": added[listed]}),
        others=others,
        remainder=float(score[0]) - float(added[listed].sum()) - others,
    )


def training_values(model: Factors, matrix: UserItemMatrix | None = None) -> NDArray[Any]:
    """Return the values of the interactions of a model: those it holds or, given a matrix, those of that.

    Raises
    ------
    DataError
        If the matrix is not the one that the model was fitted to, by ids and fingerprint.
    ModelFormatError
        If there is none, and the model holds none.
    """
    if matrix is None:
        if "values" in model.training:
            return model.training["values"]
        raise ModelFormatError(
            "this model does not hold the values of its training data, as none that earlier versions saved does. "
            "Pass the matrix that it was fitted to, or fit it again."
        )
    matrix = matrix.ready()
    with SerialExecutor() as here:
        found = fold_blocks(here, summarize, matrix.sources, combine=operator.add, label="fingerprint").digest.hex()
    fitted = model.provenance.get("data_fingerprint")
    if matrix.users != model.users or matrix.items != model.items or found != fitted:
        raise DataError(
            f"this matrix ({matrix.shape[0]} x {matrix.shape[1]}, fingerprint {found[:12]}) is not the one that the "
            f"model was fitted to ({len(model.users)} x {len(model.items)}, {str(fitted)[:12]}). Pass that one, or "
            "leave it out."
        )
    return stored_values(matrix.sources, SeenItems.of(matrix.sources, stored=matrix.is_stored))
