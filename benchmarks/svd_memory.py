#!/usr/bin/env python3
"""Peak memory of one `svds` beyond the matrix, in this process alone: run it anew for each figure. Linux only.

Usage: python benchmarks/svd_memory.py MATRIX.npz [--k 64] [--tol 1e-3]

Prints one JSON object. `peak_growth` is the highest resident memory of the process after the matrix is
loaded, less that at this point; `libraries` is the part of it that a fit of a tiny matrix takes too:
imports and compiled kernels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse


def status_bytes(field: str) -> int:
    """Return a field of this process's status, such as VmRSS (now) or VmHWM (the peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Load, reset the peak, fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--tol", type=float, default=1e-3)
    args = parser.parse_args()

    A = scipy.sparse.load_npz(args.matrix).tocsr()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, while loading, is forgotten
    loaded = status_bytes("VmRSS")

    import recscale_dask as rs

    rs.svds(scipy.sparse.random_array((200, 300), density=0.1, rng=0, dtype=np.float32), 4, tol=args.tol)
    libraries = status_bytes("VmRSS") - loaded
    rs.svds(A, args.k, tol=args.tol)
    print(json.dumps({"loaded": loaded, "libraries": libraries, "peak_growth": status_bytes("VmHWM") - loaded}))


if __name__ == "__main__":
    main()
