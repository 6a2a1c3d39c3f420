"""The kinds of item operators, by the names that saved models give them: a closed set."""

from __future__ import annotations

from recscale_dask.item_operators.base import ItemOperator
from recscale_dask.item_operators.graph_filter import GraphFilter
from recscale_dask.item_operators.item_weights import DenseItemWeights, SparseItemWeights

KINDS: dict[str, type[ItemOperator]] = {each.kind: each for each in (GraphFilter, DenseItemWeights, SparseItemWeights)}
