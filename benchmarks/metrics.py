#!/usr/bin/env python3
"""Metrics against ranx: on random and degenerate lists, and on a model of Gowalla, with the times of both.

Usage: pip install ranx; python benchmarks/metrics.py [--gowalla FOLDER] [--repeats 5] [--json OUT]

Every user's value is compared, of six metrics at several k. Lists may be empty or shorter than k, users may have no
test item, scores may be tied (a tie is broken before either sees the list). The time of ranx is that of its metrics
alone, from lists in its own format and after its compilation; ours is that of the top-k pass and all metrics, from
model to means.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ranx
from common import Report, Row, interleave

import recscale_dask as rs
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.evaluation.trial import parse_metric

NAMES = ("recall", "precision", "ndcg", "map", "mrr", "hit_rate")
MORE = ("novelty@20", "coverage@20", "gini@20")
TOLERANCE = 1e-6

Lists = dict[str, dict[str, float]]


def theirs(truth: Lists, run: Lists, metrics: list[str]) -> dict[str, np.ndarray]:
    """Return the values of ranx for each user, in the order of `truth`."""
    judged = ranx.Run.from_dict(run)
    ranx.evaluate(ranx.Qrels.from_dict(truth), judged, metrics, make_comparable=False)
    return {name: np.array([judged.scores[name][user] for user in truth]) for name in metrics}


def random_lists(seed: int, n_users: int = 500, depth: int = 30) -> tuple[np.ndarray, np.ndarray, Lists, Lists]:
    """Return hits and numbers of test items, and the same as ranx takes them."""
    rng = np.random.default_rng(seed)
    hits = rng.random((n_users, depth)) < rng.choice([0.0, 0.1, 0.5, 1.0], (n_users, 1))
    lengths = np.where(rng.random(n_users) < 0.2, rng.integers(0, 4, n_users), depth)
    hits &= np.arange(depth) < lengths[:, None]
    missed = rng.integers(0, 40, n_users) * rng.integers(0, 2, n_users)
    truth, run = {}, {}
    for user in range(n_users):
        right = [f"i{place}" for place in np.flatnonzero(hits[user])] + [f"m{place}" for place in range(missed[user])]
        truth[f"u{user}"] = dict.fromkeys(right, 1) or {"none": 0}
        run[f"u{user}"] = {f"i{place}": float(depth - place) for place in range(lengths[user])} or {"other": 1.0}
    return hits, hits.sum(axis=1) + missed, truth, run


def check_lists(report: Report) -> None:
    """Compare on random lists, a fifth of them short or empty, half of the users without other test items."""
    worst = 0.0
    for seed in range(5):
        hits, n_relevant, truth, run = random_lists(seed)
        names = [f"{name}@{k}" for name in NAMES for k in (1, 5, 20, 30)]
        expected = theirs(truth, run, names)
        for name in names:
            request = parse_metric(name, lambda base: plugin_manager().resolve("metrics", base))
            ours = request.metric(hits, n_relevant, request.k)
            worst = max(worst, float(np.abs(ours - expected[name]).max()))
    report.check("random and degenerate lists", worst <= TOLERANCE, f"largest difference to ranx {worst:.1e}")


def check_gowalla(report: Report, folder: Path, repeats: int) -> None:
    """Compare on a model of Gowalla, and take the time of both."""
    train, test = (rs.read_interactions(folder / f"{part}.txt", format="adjacency") for part in ("train", "test"))
    options: dict[str, Any] = {"weighting": "binary", "user_scaling": 0.5, "item_scaling": 0.5}
    names = [f"{name}@{k}" for name in NAMES for k in (10, 20)]
    with rs.open_executor("threads") as executor:
        model = rs.factorize(train, rank=64, executor=executor, **options)
        lists = model.recommend(k=20, executor=executor)
        truth: Lists = {}
        for row in test.to_arrow().to_pylist():
            truth.setdefault(str(row["user"]), {})[str(row["item"])] = 1
        run: Lists = {user: {} for user in truth}
        for row in lists.to_pylist():
            if str(row["user"]) in run:
                run[str(row["user"])][str(row["item"])] = 21.0 - row["rank"]
        expected = theirs(truth, run, names)
        qrels, judged = ranx.Qrels.from_dict(truth), ranx.Run.from_dict(run)
        found = rs.evaluate(model, test, metrics=names, executor=executor)
        contenders: dict[str, Callable[[list[str]], Any]] = {
            "ours": lambda metrics: rs.evaluate(model, test, metrics=metrics, executor=executor),
            "ranx": lambda metrics: ranx.evaluate(qrels, judged, metrics, make_comparable=False),
            "with novelty, coverage and gini": lambda metrics: rs.evaluate(
                model, test, metrics=[*metrics, *MORE], executor=executor
            ),
            "top-k pass alone": lambda _: model.recommend(k=20, executor=executor),
            "intervals": lambda _: found.intervals(),
        }
        timed = interleave(contenders, names, warm_up=names, repeats=repeats)
    users = [str(user) for user in found.users.to_pylist()]
    place = {user: number for number, user in enumerate(truth)}
    order = [place[user] for user in users]
    worst = max(float(np.abs(found.per_user[name] - expected[name][order]).max()) for name in names)
    report.check("Gowalla, every user", worst <= TOLERANCE, f"{len(users):,} users, largest difference {worst:.1e}")
    report.measured("gowalla", timed)
    ours, peer = timed["ours"], timed["ranx"]
    report.row(
        Row(
            case=f"Gowalla, {len(names)} metrics: top-k pass and all, against ranx's metrics alone",
            ours=ours.median,
            peer=peer.median,
            target=1.0,
            others=max(ours.others, peer.others),
        )
    )
    for name in ("with novelty, coverage and gini", "top-k pass alone", "intervals"):
        report.note(f"{name}: {timed[name].median:.3g} s")


def main() -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    report = Report(args.json)
    check_lists(report)
    if args.gowalla:
        check_gowalla(report, args.gowalla, args.repeats)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
