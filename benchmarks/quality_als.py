"""How well alternating least squares recommends and predicts, with options fixed by a part of the training data."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import scipy.sparse
from common import Report, Row
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import recscale_dask as rs
from recscale_dask.api.factor_model import FactorModel

FOLDS = 5
SCALE = (0.5, 5.0)  # of MovieLens' ratings, to which all predictions are cut, as Surprise does
EXPLICIT_GRID = [(rank, weight) for rank in (32, 64) for weight in (0.8, 1.2, 1.6)]
SVD_GRID = [(rank, weight) for rank in (20, 100) for weight in (0.02, 0.05, 0.1)]

TUNING_RANK, RANK = 128, 256
SWEEPS = 12
GRID = [(alpha, weight) for alpha in (20.0, 50.0, 100.0) for weight in (0.03, 0.06)]
IMPLICIT_GRID = [(alpha, weight) for alpha in (20.0, 50.0, 100.0) for weight in (1.0, 30.0)]
METRICS = ["recall@20", "ndcg@20"]

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


# -- ratings -----------------------------------------------------------------------------------------


class Ratings:
    """The ratings of MovieLens, and errors of models that are fitted to some of them on others."""

    def __init__(self, folder: Any) -> None:
        data = rs.read_interactions(folder / "ratings.csv")
        self.users, self.items, self.values = data.user_codes, data.item_codes, data.values
        self.shape = len(data.users), len(data.items)

    def ours(self, split: Split, options: tuple[int, float]) -> float:
        """Return the error of als-explicit with a rank and a regularization."""
        rows, held = split
        A = scipy.sparse.csr_array((self.values[rows], (self.users[rows], self.items[rows])), shape=self.shape)
        rank, weight = options
        model = rs.factorize(A, solver="als-explicit", rank=rank, regularization=weight, progress=False)
        return self._error(held, model.score(self.users[held], self.items[held], progress=False))

    def surprise(self, split: Split, name: str, **options: Any) -> float:
        """Return the error of one of Surprise's algorithms."""
        import pandas
        import surprise

        rows, held = split
        columns = {"user": self.users[rows], "item": self.items[rows], "rating": self.values[rows].astype(float)}
        reader = surprise.Reader(rating_scale=SCALE)
        train = surprise.Dataset.load_from_df(pandas.DataFrame(columns), reader).build_full_trainset()
        algorithm = getattr(surprise, name)(random_state=0, **options).fit(train)
        pairs = zip(self.users[held], self.items[held], strict=True)
        return self._error(held, np.array([algorithm.predict(user, item).est for user, item in pairs]))

    def _error(self, held: NDArray[np.int64], scores: NDArray[Any]) -> float:
        return float(np.sqrt(np.mean((np.clip(scores, *SCALE) - self.values[held]) ** 2)))


def explicit(report: Report, inputs: argparse.Namespace) -> None:
    """Compare with Surprise on the same folds; ours and its SVD are tuned in each with as many fits."""
    ratings = Ratings(inputs.ml)
    n = len(ratings.values)
    rng = np.random.default_rng(0)
    folds, inner = rng.permutation(n) % FOLDS, rng.random(n) < 0.1
    errors: dict[str, list[float]] = {"ours": [], "ours, defaults": [], "SVD": [], "SVD, defaults": [], "SVDpp": []}
    for fold in range(FOLDS):
        split = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        tuning = np.flatnonzero((folds != fold) & ~inner), np.flatnonzero((folds != fold) & inner)
        best = min(EXPLICIT_GRID, key=lambda options: ratings.ours(tuning, options))
        found = min(
            SVD_GRID, key=lambda options: ratings.surprise(tuning, "SVD", n_factors=options[0], reg_all=options[1])
        )
        errors["ours"].append(ratings.ours(split, best))
        errors["ours, defaults"].append(ratings.ours(split, (64, 1.2)))
        errors["SVD"].append(ratings.surprise(split, "SVD", n_factors=found[0], reg_all=found[1]))
        errors["SVD, defaults"].append(ratings.surprise(split, "SVD"))
        errors["SVDpp"].append(ratings.surprise(split, "SVDpp"))
        report.note(f"explicit, fold {fold}: " + ", ".join(f"{name} {each[-1]:.4f}" for name, each in errors.items()))
    means = {name: float(np.mean(each)) for name, each in errors.items()}
    for name, label in (("SVD", "SVD, tuned"), ("SVD, defaults", "SVD"), ("SVDpp", "SVD++")):
        report.row(
            Row(
                case=f"explicit: rmse, Surprise's {label}",
                ours=means["ours"],
                peer=means[name],
                target=1.0,
                at_most=True,
                unit="",
            )
        )
    report.note(f"explicit: ours with its default options at rank 64 {means['ours, defaults']:.4f}")
    report.facts["explicit"] = errors


# -- clicks ------------------------------------------------------------------------------------------


def ours_implicit(matrix: rs.UserItemMatrix, rank: int, options: tuple[float, float]) -> FactorModel:
    """Return als-implicit with an alpha, and a weight of penalties that grow with the number of values."""
    alpha, weight = options
    return rs.factorize(
        matrix,
        solver="als-implicit",
        rank=rank,
        alpha=alpha,
        regularization=weight * alpha,
        exponent=0.75,
        max_sweeps=SWEEPS,
        progress=False,
    )


def implicits(matrix: rs.UserItemMatrix, rank: int, options: tuple[float, float]) -> FactorModel:
    """Return implicit's ALS with an alpha and a regularization, as a model of ours."""
    from dataclasses import replace

    from implicit.als import AlternatingLeastSquares

    A = scipy.sparse.csr_matrix(matrix.to_scipy())
    A.data[:] = 1
    alpha, weight = options
    peer = AlternatingLeastSquares(
        factors=rank, regularization=weight, alpha=alpha, iterations=SWEEPS, random_state=0, dtype=np.float32
    )
    with threadpool_limits(1, "blas"):
        peer.fit(A, show_progress=False)
    model = rs.factorize(matrix, solver="popularity", rank=1, progress=False)
    return FactorModel.of(
        replace(
            model,
            user_factors=np.ascontiguousarray(peer.user_factors),
            item_factors=np.ascontiguousarray(peer.item_factors),
            singular_values=np.ones(rank),
        )
    )


def gowalla(report: Report, inputs: argparse.Namespace) -> None:
    """Tune both with as many fits on a validation part of the training data; judge one fit of each on the test set."""
    train, test = (
        rs.read_interactions(inputs.gowalla / f"{name}.txt", format="adjacency") for name in ("train", "test")
    )
    part, held = rs.split(train, how="random", fraction=0.2, seed=0)
    small, whole = rs.UserItemMatrix.from_interactions(part), rs.UserItemMatrix.from_interactions(train)
    results = {}
    for name, fit, grid in (("ours", ours_implicit, GRID), ("implicit", implicits, IMPLICIT_GRID)):
        tried = {}
        for options in grid:
            metrics = rs.evaluate(fit(small, TUNING_RANK, options), held, metrics=METRICS, progress=False).metrics
            tried[options] = metrics["ndcg@20"]
            report.note(f"gowalla, {name}, alpha {options[0]:g}, regularization {options[1]:g}: {metrics}")
        best = max(tried, key=tried.__getitem__)
        results[name] = rs.evaluate(fit(whole, RANK, best), test, metrics=METRICS, progress=False).metrics
        report.note(f"gowalla, {name}: on the test set with {best} at rank {RANK}: {results[name]}")
    for metric, target in zip(METRICS, (0.1627, 0.1378), strict=True):
        mine, peer = (float(results[name][metric]) for name in ("ours", "implicit"))
        report.row(
            Row(case=f"gowalla: {metric}, implicit's ALS", ours=mine, peer=peer, target=target, absolute=True, unit="")
        )
        report.check(f"gowalla: {metric} against implicit's", mine >= peer, f"{mine:.4f} and {peer:.4f}")
    report.facts["gowalla"] = results
