#!/usr/bin/env python3
"""Passes over the matrix that the SVD used, and the least that a block Krylov space allows.

Usage: python benchmarks/svd_passes.py --large MATRIX.npz --gowalla FOLDER

The least is the first step of block Lanczos in float64, orthogonalized in every step, never restarted and looked
at after each, at which all Ritz pairs are within the tolerance; and the passes of the certificate.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from common import read_gowalla

import recscale_dask as rs
from recscale_dask.execution.portable import single_threaded_blas
from recscale_dask.linalg.krylov import BlockLanczos
from recscale_dask.linalg.tall import tall_algebra
from recscale_dask.solvers.operator import BlockOperator
from recscale_dask.solvers.svd import singular_triplets

TOLERANCES = (1e-3, 1e-6)


def least_steps(A: Any, k: int, block: int, tolerances: tuple[float, ...], executor: Any) -> list[int]:
    """Return after how many steps all `k` Ritz pairs are within each of the tolerances, descending."""
    matrix = rs.UserItemMatrix.from_scipy(A.astype(np.float64))
    if A.shape[0] < A.shape[1]:
        matrix = matrix.transposed()
    found: list[int] = []
    with single_threaded_blas(), tall_algebra(2) as algebra:
        operator = BlockOperator(executor, matrix.sources, matrix)
        lanczos = BlockLanczos(
            operator.gram,
            operator.n_columns,
            k,
            block_size=block,
            basis_size=20 * k,
            algebra=algebra,
            rng=np.random.default_rng(0),
        )
        while len(found) < len(tolerances):
            lanczos.step()
            if lanczos.size > k:
                values, residuals = lanczos.ritz()
                found += [lanczos.steps for tol in tolerances[len(found) :] if (residuals <= tol * values).all()]
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=Path, required=True, metavar="MATRIX.npz")
    parser.add_argument("--gowalla", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()
    matrices = {"large": (scipy.sparse.load_npz(args.large).tocsr(), 64), "Gowalla": (read_gowalla(args.gowalla), 256)}
    print(
        "| matrix | k | tol | block | k / block | least, with the certificate | used |\n|---|---|---|---|---|---|---|"
    )
    with rs.open_executor("threads") as executor:
        for name, (A, k) in matrices.items():
            for tol in TOLERANCES:
                result = singular_triplets(rs.UserItemMatrix.from_scipy(A), k, tol=tol, executor=executor)
                assert result.plan is not None
                block = result.plan.block_size
                certificate = -(-k // 64)  # columns of a float64 pass
                least = least_steps(A, k, block, (tol,), executor)[0] + certificate
                print(
                    f"| {name} | {k} | {tol:g} | {block} | {k // block} | {least} | {result.certificate.passes} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
