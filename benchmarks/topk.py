#!/usr/bin/env python3
"""Speed of recommendations and scores against peers: the same factors, taken in turns, medians.

Usage: python benchmarks/topk.py [CASE ...] [--large MATRIX.npz] [--gowalla FOLDER] [--repeats 5] [--json OUT]

Peers are not needed otherwise: pip install implicit faiss-cpu

MATRIX.npz is a SciPy CSR matrix such as one of MovieLens-20M's shape; --gowalla is a folder with the
train.txt of the NGCF/LightGCN split. Without CASE all of these run: large (rank 64, top-10), large-128,
large-100 (top-100), gowalla (rank 256), gaussian (random factors, where no bound leaves anything out),
pairs (20 million scores). Factors are those of our SVD; every contender gets the same.

We are timed as users call us, ids in and an Arrow table with ids out, on two threads; implicit's
`recommend` returns codes, on all cores, with one BLAS thread as it advises itself; faiss searches a flat
index by inner product and leaves out nothing. The matrix product makes all scores, 1024 users at a time, and
selects nothing. Use a quiet machine: the last column says how many cores other processes used meanwhile.

Our lists are compared with brute force for some users, item for item; exit code 1 if any differs. A missed
target is only a "no".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import scipy.sparse
from common import Report, Row, Runs, interleave
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import recscale_dask as rs
from recscale_dask.api.factor_model import FactorModel
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.model import Factors, SeenItems
from recscale_dask.scoring.recommend import recommend_batches
from recscale_dask.scoring.request import request

OURS = "recscale_dask"
CORE = "recscale_dask, without the table"
IMPLICIT = "implicit"
FAISS = "faiss flat"
PRODUCT = "matrix product"
EINSUM = "NumPy einsum"
WARM_UP_USERS = 4096
CHECKED_USERS = 300
PRODUCT_USERS = 1024
EINSUM_PAIRS = 1 << 16
N_PAIRS = 20_000_000


@dataclass(frozen=True)
class Problem:
    """What each contender gets: a model, what its users have seen (or None, to leave out nothing), and k."""

    model: FactorModel
    seen: Any
    k: int

    def first_users(self, n: int) -> Problem:
        """Return the problem of the first users only."""
        model = self.model
        users = np.arange(min(n, len(model.users)), dtype=np.int32)
        small = replace(
            model,
            user_factors=model.user_factors[: len(users)],
            users=Vocabulary.range(len(users)),
            seen=model.seen.rows(users),
        )
        return Problem(small, None if self.seen is None else self.seen[: len(users)], self.k)


# -- contenders --------------------------------------------------------------------------------------


def ours(problem: Problem) -> Any:
    """Return our table."""
    leave_out = problem.seen is not None
    return problem.model.recommend(k=problem.k, exclude_seen=leave_out, executor="threads", progress=False)


def core(problem: Problem) -> Any:
    """Return our answers in codes, in batches."""
    wanted = request(problem.model, None, problem.k, exclude_seen=problem.seen is not None)
    with rs.open_executor("threads") as executor:
        return list(recommend_batches(problem.model, wanted, executor))


def implicit(problem: Problem) -> Any:
    """Return implicit's answer, from a model with our factors."""
    model = problem.model
    peer = AlternatingLeastSquares(factors=model.rank)
    peer.user_factors, peer.item_factors = model.user_factors, model.item_factors
    with threadpool_limits(1, "blas"):
        users = np.arange(len(model.users))
        return peer.recommend(users, problem.seen, N=problem.k, filter_already_liked_items=True)


def faiss_flat(problem: Problem) -> Any:
    """Return the answer of a flat index; it leaves out nothing."""
    index = faiss.IndexFlatIP(problem.model.rank)
    index.add(problem.model.item_factors)
    return index.search(problem.model.user_factors, problem.k)


def matrix_product(problem: Problem) -> None:
    """Make all scores, and forget them."""
    users, items = problem.model.user_factors, problem.model.item_factors
    for start in range(0, len(users), PRODUCT_USERS):
        users[start : start + PRODUCT_USERS] @ items.T


CONTENDERS: dict[str, Callable[[Problem], Any]] = {
    OURS: ours,
    CORE: core,
    IMPLICIT: implicit,
    FAISS: faiss_flat,
    PRODUCT: matrix_product,
}


# -- cases -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """What the command line gives; matrices are read when a case first wants them."""

    large_path: Path | None
    gowalla_folder: Path | None
    repeats: int

    @cached_property
    def large(self) -> Any:
        """The matrix of --large as CSR."""
        return scipy.sparse.csr_matrix(scipy.sparse.load_npz(self.large_path))

    def fitted(self, rank: int, k: int) -> Problem:
        """The SVD of the large matrix."""
        model = rs.factorize(rs.UserItemMatrix.from_scipy(self.large), rank=rank, progress=False)
        return Problem(model, self.large, k)


def large(report: Report, inputs: Inputs) -> None:
    """Compare on a large matrix."""
    _compare(report, "large", inputs.fitted(64, 10), {IMPLICIT: 6, FAISS: 4, PRODUCT: 1}, inputs.repeats)


def large_128(report: Report, inputs: Inputs) -> None:
    """Compare at twice the rank."""
    _compare(report, "large-128", inputs.fitted(128, 10), {IMPLICIT: 4}, inputs.repeats)


def large_100(report: Report, inputs: Inputs) -> None:
    """Compare on longer lists, where bounds leave out less."""
    _compare(report, "large-100", inputs.fitted(64, 100), {IMPLICIT: 4}, inputs.repeats)


def gowalla(report: Report, inputs: Inputs) -> None:
    """Compare at a high rank, degree-normalised."""
    train = rs.read_interactions((inputs.gowalla_folder or Path()) / "train.txt", format="adjacency")
    matrix = rs.UserItemMatrix.from_interactions(train)
    options = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}
    model = rs.factorize(matrix, rank=256, progress=False, **options)
    problem = Problem(model, scipy.sparse.csr_matrix(matrix.to_scipy()), 10)
    _compare(report, "gowalla", problem, {IMPLICIT: 3}, inputs.repeats)


def gaussian(report: Report, inputs: Inputs) -> None:
    """Compare on random factors of the same length: everything has to be scored."""
    _compare(report, "gaussian", Problem(_random_model(64), None, 10), {FAISS: 1 / 1.1}, inputs.repeats)


def pairs(report: Report, inputs: Inputs) -> None:
    """Time scores of single pairs against a sum over gathered rows."""
    model = _random_model(64)
    rng = np.random.default_rng(1)
    users = rng.integers(0, len(model.users), N_PAIRS, dtype=np.int32)
    items = rng.integers(0, len(model.items), N_PAIRS, dtype=np.int32)

    def einsum(n: int) -> NDArray[np.float32]:
        parts = []
        for start in range(0, n, EINSUM_PAIRS):
            part = slice(start, min(start + EINSUM_PAIRS, n))
            rows, columns = model.user_factors[users[part]], model.item_factors[items[part]]
            parts.append(np.einsum("ij,ij->i", rows, columns))
        return np.concatenate(parts)

    contenders: dict[str, Callable[[int], Any]] = {
        OURS: lambda n: model.score(users[:n], items[:n], executor="threads", progress=False),
        EINSUM: einsum,
    }
    runs = interleave(contenders, N_PAIRS, warm_up=EINSUM_PAIRS, repeats=inputs.repeats)
    report.measured("pairs", runs)
    _speed_row(report, "pairs", runs, OURS, EINSUM, 5)
    difference = float(np.abs(runs[OURS].result - runs[EINSUM].result).max())
    report.check("pairs: scores", difference < 1e-4, f"differ from einsum's by {difference:.1e} at most")


CASES: dict[str, tuple[Callable[[Report, Inputs], None], str | None]] = {
    "large": (large, "large"),
    "large-128": (large_128, "large"),
    "large-100": (large_100, "large"),
    "gowalla": (gowalla, "gowalla"),
    "gaussian": (gaussian, None),
    "pairs": (pairs, None),
}
"""Cases by name, and the option that each needs."""


# -- what cases share --------------------------------------------------------------------------------


def _compare(report: Report, case: str, problem: Problem, targets: Mapping[str, float], repeats: int) -> None:
    """Time ours, with and without the table, and the peers that have a target; compare with brute force."""
    contenders = {name: CONTENDERS[name] for name in (OURS, CORE, *targets)}
    warm_up = problem.first_users(WARM_UP_USERS)
    runs = interleave(contenders, problem, warm_up=warm_up, repeats=repeats)
    answers = runs[CORE].result
    scored = sum(each.scored for each in answers) / (len(problem.model.users) * len(problem.model.items))
    report.measured(case, runs, share_scored=scored)
    for peer, target in targets.items():
        _speed_row(report, case, runs, OURS, peer, target)
    report.note(f"{case}: without the table {runs[CORE].median:.3g} s; {scored:.1%} of all scores were computed")
    _check_lists(report, case, problem, runs[OURS].result)


def _speed_row(report: Report, case: str, runs: Mapping[str, Runs], ours: str, peer: str, target: float) -> None:
    mine, theirs = runs[ours], runs[peer]
    row = Row(case=f"{case}: {peer}", ours=mine.median, peer=theirs.median, target=target, others=mine.others)
    report.row(row)


def _check_lists(report: Report, case: str, problem: Problem, table: Any) -> None:
    """Compare the lists of some users with brute force in float64, ties by code."""
    model = problem.model
    users = np.sort(np.random.default_rng(2).choice(len(model.users), CHECKED_USERS, replace=False))
    scores = np.zeros((len(users), len(model.items)))
    for j in range(model.rank):
        left, right = (each[:, j].astype(np.float64) for each in (model.user_factors[users], model.item_factors))
        scores += np.outer(left, right)
    rounded = scores.astype(np.float32)
    ends = np.searchsorted(_codes(model.users, table["user"]), np.stack([users, users + 1]))
    items, found = _codes(model.items, table["item"]), table["score"].to_numpy()
    differing = 0
    for user, line, start, end in zip(users, rounded, *ends, strict=True):
        allowed = np.ones(len(line), bool)
        if problem.seen is not None:
            allowed[problem.seen.indices[problem.seen.indptr[user] : problem.seen.indptr[user + 1]]] = False
        best = np.lexsort((np.arange(len(line)), -line))
        best = best[allowed[best]][: problem.k]
        same = np.array_equal(best, items[start:end]) and np.array_equal(line[best], found[start:end])
        differing += not same
    report.check(f"{case}: lists", differing == 0, f"{differing} of {len(users)} differ from brute force")


def _codes(ids: Vocabulary, column: Any) -> NDArray[np.int32]:
    return np.asarray(ids.codes(column))


def _random_model(rank: int, n_users: int = 138_493, n_items: int = 26_744) -> FactorModel:
    """Return a model of independent normal factors, of the large matrix's shape."""
    rng = np.random.default_rng(0)
    factors = Factors(
        user_factors=rng.standard_normal((n_users, rank), dtype=np.float32),
        item_factors=rng.standard_normal((n_items, rank), dtype=np.float32),
        singular_values=np.ones(rank),
        users=Vocabulary.range(n_users),
        items=Vocabulary.range(n_items),
        seen=SeenItems(np.zeros(n_users + 1, np.int64), np.zeros(0, np.int32)),
    )
    return FactorModel.of(factors)


def main() -> None:
    """Run the cases that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--large", type=Path, metavar="MATRIX.npz")
    parser.add_argument("--gowalla", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    for name in (cases := args.cases or list(CASES)):
        if name not in CASES:
            parser.error(f"there is no case {name!r}; the cases are: {', '.join(CASES)}")
        if (needed := CASES[name][1]) and getattr(args, needed) is None:
            parser.error(f"case {name!r} needs --{needed}")
    inputs = Inputs(args.large, args.gowalla, args.repeats)
    report = Report(args.json)
    for name in cases:
        CASES[name][0](report, inputs)
        report.save()
    raise SystemExit(report.finish())


if __name__ == "__main__":
    main()
