"""Users that were not fitted: factors in closed form, computed block by block on an executor."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from recscale_dask.closed_form import ClosedForm, FoldedRows
from recscale_dask.data.blocks import Block
from recscale_dask.errors import BlockFailed, DataError
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer, ignore
from recscale_dask.execution.run import map_blocks
from recscale_dask.model import Factors, SeenItems, stored_values
from recscale_dask.scoring.new_rows import NewRows

_LISTED = 100  # unknown ids that provenance names


def fold_rows(block: Block, *, closed_form: ClosedForm) -> FoldedRows:
    """Return the factors of one block: a task for `map_blocks`."""
    return closed_form.fold(block)


def fold_in(
    model: Factors, new: NewRows, closed_form: ClosedForm, executor: Executor, *, observer: Observer = ignore
) -> Factors:
    """Return the model of new users: their factors, what they have seen, and the item factors as they are.

    Raises
    ------
    DataError
        If there are no users, or values do not suit the weighting of the model.
    """
    blocks = new.matrix.sources
    if not blocks:
        raise DataError("there are no new users: the matrix has no rows")
    constants = {"closed_form": closed_form}
    try:
        parts = list(map_blocks(executor, fold_rows, blocks, constants, label="fold in", observer=observer))
    except BlockFailed:
        for block in blocks:
            fold_rows(block.load(), closed_form=closed_form)  # raises, here, the error about the data
        raise
    rows = FoldedRows(*[np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(FoldedRows)])
    seen = SeenItems.of(blocks)
    return replace(
        model,
        user_factors=rows.user_factors,
        users=new.matrix.users,
        seen=seen,
        provenance={**model.provenance, "folded_in": _described(new, rows)},
        training={**model.training, "values": stored_values(blocks, seen)},
    )


def _described(new: NewRows, rows: FoldedRows) -> dict[str, Any]:
    """Return what provenance says of new users: plain JSON values."""
    energy = float(rows.total.sum()) or 1.0
    share = float(rows.explained.sum()) / energy
    # Of a ratio of sums over users (Cochran, "Sampling Techniques", 1977, chapter 6); one user has no scatter.
    n = len(rows.total)
    scatter = float(np.linalg.norm(rows.explained - share * rows.total)) / energy
    error = float(np.sqrt(n / (n - 1)) * scatter) if n > 1 else 1.0
    shown = new.unknown_items.slice(0, _LISTED).to_pylist()
    return {
        "users": len(new.matrix.users),
        "explained": share,
        "standard_error": error,
        "interactions": new.matrix.nnz,
        "unknown_items": len(new.unknown_items),
        "skipped_interactions": new.skipped_values,
        "some_unknown_items": [each if isinstance(each, int) else str(each) for each in shown],
    }
