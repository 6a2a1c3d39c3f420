#!/usr/bin/env python3
"""How fast the worst residual falls with reads of the matrix: our SVD, subspace iteration, scikit-learn.

Usage: python benchmarks/svd_plot.py --gowalla FOLDER --ml FOLDER [--out docs/guide/svd_convergence.svg] [--json OUT]

Two real spectra, 32 triplets, all methods in float64, every residual recomputed by SciPy. A read is one
pass over the stored values, for ``A X``, ``A' X`` or both at once: our engine applies ``A'A`` in one read,
and its last read makes the certificate; the others multiply by ``A`` and by ``A'``, two reads an iteration.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from common import read_gowalla, read_movielens, worst_residual
from sklearn.utils.extmath import randomized_svd

import recscale_dask as rs

RANK = 32
OVERSAMPLES = 10
MOST_READS = 40
FLOOR = 1e-9  # residuals below this are rounding

Points = list[tuple[int, float]]  # reads of the matrix, worst residual


def ours(A: Any) -> Iterator[tuple[int, float]]:
    """Yield what `svds` has reached when it is stopped after more and more passes."""
    seen = 0
    for limit in count(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rs.NotConvergedWarning)
            result: Any = rs.svds(A, RANK, tol=FLOOR, maxiter=limit)
        if result.certificate.passes > seen:
            seen = result.certificate.passes
            yield seen, worst_residual(A, result)
        if result.certificate.converged:
            return


def subspace_iteration(A: Any) -> Iterator[tuple[int, float]]:
    """Yield Rayleigh-Ritz triplets of ``(A'A)^q X``, made orthonormal in each step; the last read makes ``A X``."""
    X = np.random.default_rng(0).standard_normal((A.shape[1], RANK + OVERSAMPLES))
    for reads in count(1, 2):
        X, _ = np.linalg.qr(X)
        image = A @ X
        u, s, wt = np.linalg.svd(image, full_matrices=False)
        yield reads, worst_residual(A, (u[:, :RANK], s[:RANK], (wt @ X.T)[:RANK]))
        X = A.T @ image


def randomized(A: Any) -> Iterator[tuple[int, float]]:
    """Yield what scikit-learn gives for more and more power iterations: one read before and one after them."""
    for iterations in count():
        triplets = randomized_svd(A, RANK, n_oversamples=OVERSAMPLES, n_iter=iterations, random_state=0)
        yield 2 * iterations + 2, worst_residual(A, triplets)


METHODS: dict[str, tuple[Callable[[Any], Iterator[tuple[int, float]]], str, str]] = {
    "recscale_dask svds: one read an iteration (A'A at once)": (ours, "#0072b2", "o"),
    "subspace iteration: two reads an iteration (A, then A')": (subspace_iteration, "#d55e00", "s"),
    "scikit-learn randomized_svd: two reads an iteration": (randomized, "#009e73", "^"),
}
"""What draws a curve, in which colour and with which mark."""


def curve(method: Callable[[Any], Iterator[tuple[int, float]]], A: Any) -> Points:
    """Return the points of a method until it used up the reads or is at rounding level."""
    points: Points = []
    for reads, residual in method(A):
        if reads > MOST_READS:
            break
        points.append((reads, residual))
        if residual <= FLOOR:
            break
    return points


def draw(curves: dict[str, dict[str, Points]], out: Path) -> None:
    """Write one panel for each matrix."""
    mpl.use("svg")
    # Text stays text, and equal points give an equal file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "recscale_dask", "font.size": 9})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(9, 4.2), sharey=True, layout="constrained")
    for axis, (title, by_method) in zip(axes, curves.items(), strict=True):
        for label, points in by_method.items():
            _, colour, mark = METHODS[label]
            axis.semilogy(*zip(*points, strict=True), color=colour, marker=mark, markersize=4, label=label)
        axis.set(title=title, xlabel="reads of the matrix", xlim=(0, MOST_READS + 1))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(f"worst residual of {RANK} triplets")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    """Compute the points and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gowalla", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--ml", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("docs/guide/svd_convergence.svg"))
    parser.add_argument("--json", type=Path, metavar="OUT", help="the points too; - for stdout")
    args = parser.parse_args()
    matrices = {
        "ml-latest-small, ratings": read_movielens(args.ml),
        "Gowalla, degree-normalised": read_gowalla(args.gowalla),
    }
    curves = {
        title: {label: curve(method, A.astype(np.float64)) for label, (method, _, _) in METHODS.items()}
        for title, A in matrices.items()
    }
    draw(curves, args.out)
    if args.json is not None:
        text = json.dumps({"rank": RANK, "points": curves}, indent=2)
        print(text) if str(args.json) == "-" else args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
