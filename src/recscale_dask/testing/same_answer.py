"""One job on an executor, start to end, to be compared with the same job on another."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recscale_dask.data.interactions import Interactions
from recscale_dask.data.matrix import UserItemMatrix
from recscale_dask.execution.contract import Executor
from recscale_dask.scoring.fold_in import fold_in
from recscale_dask.scoring.new_rows import with_items_of
from recscale_dask.scoring.pairs import score_pairs
from recscale_dask.scoring.recommend import recommend
from recscale_dask.scoring.reconstruct import reconstruct_blocks
from recscale_dask.scoring.request import RecommendRequest, request
from recscale_dask.scoring.write import recommend_to
from recscale_dask.solvers.als import ExplicitALSSolver, ImplicitALSSolver
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.ease import EASESolver
from recscale_dask.solvers.graph_filter import BSPMSolver
from recscale_dask.solvers.item_knn import ItemKNNSolver
from recscale_dask.solvers.svd import SVDSolver
from recscale_dask.testing.matrices import planted_tastes

_ITEM_SOLVERS: dict[str, Solver] = {
    "bspm": BSPMSolver(),
    "item-knn": ItemKNNSolver(neighbors=20),
    "ease": EASESolver(),
}


def answers_of(executor: Executor, *, n_users: int = 5000, n_items: int = 800, seed: int = 0) -> dict[str, Any]:
    """Fit, recommend, score pairs, reconstruct and fold in on an open executor; return what must be equal on all.

    Returns
    -------
    dict
        ``factors`` (SHA-256), ``from_store`` (that of a fit of the same matrix on disk),
        ``recommendations`` (pyarrow.Table), ``data_set`` (bytes of its files by name),
        ``scores`` (bytes), ``rectangle`` (bytes) and
        ``folded``: the SHA-256 of the factors of the same users folded in; and by the names of other solvers
        what `_answers_of_items` returns.
    """
    tastes = planted_tastes(n_users, n_items, n_groups=8, seed=seed)
    columns = pa.table(tastes.columns())
    data = Interactions.from_arrow(columns, user="user", item="item", value="value", time="time")
    matrix = UserItemMatrix.from_interactions(data)
    options: dict[str, Any] = {"weighting": "bm25", "user_scaling": 0.5, "item_scaling": 0.5}
    problem = Problem(matrix=matrix, rank=16, seed=seed, **options)
    model = replace(SVDSolver().fit(problem, executor), provenance={"options": options})
    rng = np.random.default_rng(seed)
    users = rng.integers(0, n_users, 100_000).astype(np.int32)
    items = rng.integers(0, n_items, 100_000).astype(np.int32)
    wanted = request(model, k=10)
    with tempfile.TemporaryDirectory() as folder:
        recommend_to(model, wanted, folder, executor)
        data_set = {each.name: each.read_bytes() for each in Path(folder).iterdir()}
    with tempfile.TemporaryDirectory() as folder:
        matrix.save(Path(folder, "store"))
        stored = replace(problem, matrix=UserItemMatrix.open(Path(folder, "store")))
        from_store = SVDSolver().fit(stored, executor).factors_sha256()
    rectangle = reconstruct_blocks(model.user_factors, model.item_factors, executor)
    return {
        "factors": model.factors_sha256(),
        "from_store": from_store,
        "recommendations": recommend(model, wanted, executor),
        "data_set": data_set,
        "scores": score_pairs(model, users, items, executor).tobytes(),
        "folded": fold_in(
            model, with_items_of(matrix, matrix.items), SVDSolver().closed_form(model), executor
        ).factors_sha256(),
        "rectangle": b"".join(rows.tobytes() for rows in rectangle),
        **{name: _answers_of_items(solver, matrix, executor) for name, solver in _ITEM_SOLVERS.items()},
    }


def _answers_of_items(solver: Solver, matrix: UserItemMatrix, executor: Executor) -> dict[str, Any]:
    """Return what must be equal on all executors of a solver whose scores come from more than factors."""
    options: dict[str, Any] = {"weighting": "bm25"}
    problem = Problem(matrix=matrix, rank=16, **options)
    model = replace(solver.fit(problem, executor), provenance={"options": options})
    everyone = np.arange(len(matrix.users), dtype=np.int32)
    items = everyone % np.int32(len(matrix.items))
    folded = fold_in(model, with_items_of(matrix, matrix.items), solver.closed_form(model), executor)
    return {
        "fingerprint": model.fingerprint,
        "recommendations": recommend(model, RecommendRequest(everyone[::2], None, 10), executor),
        "scores": score_pairs(model, everyone, items, executor).tobytes(),
        "folded": folded.fingerprint,
    }


def als_answers_of(executor: Executor, *, n_users: int = 9000, n_items: int = 500, seed: int = 0) -> dict[str, Any]:
    """Fit by alternating least squares and fold in on an open executor; return what must be equal on all.

    Returns
    -------
    dict
        Of each way to solve, the SHA-256 of the factors of a fit, its objectives, and the SHA-256 of the factors of the
        same users folded in.
    """
    tastes = planted_tastes(n_users, n_items, n_groups=8, seed=seed)
    data = Interactions.from_arrow(pa.table(tastes.columns()), user="user", item="item", value="value", time="time")
    matrix = UserItemMatrix.from_interactions(data)
    answers: dict[str, Any] = {}
    for name, solver in {
        "cg": ImplicitALSSolver(max_sweeps=2, method="cg"),
        "cholesky": ImplicitALSSolver(max_sweeps=2, method="cholesky", exponent=1.0),
        "nonnegative": ImplicitALSSolver(max_sweeps=1, nonnegative=True),
        "explicit": ExplicitALSSolver(max_sweeps=2),
    }.items():
        problem = Problem(matrix=matrix, rank=20, tol=0.0, seed=seed, weighting="log" if name == "cg" else None)
        model = solver.fit(problem, executor)
        model = replace(model, provenance={**model.provenance, "options": {"weighting": problem.weighting}})
        folded = fold_in(model, with_items_of(matrix, matrix.items), solver.closed_form(model), executor)
        answers[name] = model.factors_sha256(), model.provenance["objective"], folded.factors_sha256()
    return answers
