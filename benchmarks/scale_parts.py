#!/usr/bin/env python3
"""The parts of `scale.py` that run in a process of their own, beside the command line that it measures.

Usage: python benchmarks/scale_parts.py sort FOLDER OUT.parquet [--memory-limit 2GiB] [--threads 2]
       python benchmarks/scale_parts.py fit STORE MODEL [--rank 64] [--tol 0.01]
       python benchmarks/scale_parts.py residuals STORE MODEL

`sort` has DuckDB sort the rows of Parquet files by user, with the threads and the memory that an ingest has. `fit`
loads a store into memory, fits and saves a model, and takes the times of its parts. `residuals` measures those of a
model's triplets in float64 with SciPy, from the Arrow files of a store without deltas and the arrays of the model, with
nothing of ours. Each prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse

from recscale_dask.execution.machine import cpu_count


def sort(interactions: Path, out: Path, memory_limit: str, threads: int) -> dict[str, Any]:
    """Write the rows to one Parquet file, sorted by user."""
    import duckdb

    out.unlink(missing_ok=True)
    spill = out.with_suffix(".spill")
    with duckdb.connect() as connection:
        for name, setting in (("memory_limit", memory_limit), ("threads", threads), ("temp_directory", spill)):
            connection.execute(f"SET {name} = '{setting}'")
        query = f"SELECT user, item, value FROM read_parquet('{interactions}/*.parquet') ORDER BY user"
        rows = connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet)").fetchall()
    return {"rows": rows[0][0]}


def fit(store: Path, model: Path, rank: int, tol: float) -> dict[str, Any]:
    """Fit with the matrix in memory; loading it is timed apart, and so is each kind of pass."""
    import recscale_dask as rs
    from recscale_dask.execution.events import Event, RunFinished
    from recscale_dask.solvers.preparation import prepare

    kinds = {"passes": 0.0, "user factors": 0.0}

    def observe(event: Event) -> None:
        if isinstance(event, RunFinished):
            kinds["user factors" if event.label == "user factors" else "passes"] += event.seconds

    seconds = {}
    start = time.perf_counter()
    matrix = rs.UserItemMatrix.open(store).loaded()
    seconds["read"] = time.perf_counter() - start
    start = time.perf_counter()
    fitted = rs.factorize(matrix, rank=rank, tol=tol, executor="threads", progress=observe)
    seconds["fit"] = time.perf_counter() - start
    start = time.perf_counter()
    fitted.save(model, overwrite=True)
    seconds["save"] = time.perf_counter() - start
    start = time.perf_counter()
    prepare(matrix, None, 0, 0)  # what a fit begins with
    kinds["first look"] = time.perf_counter() - start
    kinds["driver"] = seconds["fit"] - sum(kinds.values())
    assert fitted.certificate is not None
    return {
        "seconds": seconds,
        "kinds": kinds,
        "passes": fitted.certificate.passes,
        "plan": fitted.provenance["plan"],
        "n_users": matrix.shape[0],
        "n_items": matrix.shape[1],
        "n_stored": matrix.nnz,
        "cores": cpu_count(),
        "factors_sha256": fitted.factors_sha256(),
    }


def residuals(store: Path, model: Path) -> dict[str, Any]:
    """Measure ``sqrt(|A v - s u|^2 + |A' u - s v|^2) / s`` of each triplet."""
    s = np.load(model / "singular_values.npy").astype(np.float64)
    manifest = json.loads((store / "manifest.json").read_text())
    user_rows, item_rows = (
        _positions(store / manifest["vocabularies"][name].get("file", f"{name}.arrow"), model / f"{name}.arrow")
        for name in ("users", "items")
    )
    users = np.load(model / "user_factors.npy", mmap_mode="r")
    v = np.load(model / "item_factors.npy")[item_rows].astype(np.float64) / np.sqrt(s)
    left, back = np.zeros(len(s)), np.zeros_like(v)
    start = 0
    for block in _blocks([store / each["file"] for each in manifest["blocks"]], len(v)):
        u = users[user_rows[start : start + block.shape[0]]].astype(np.float64) / np.sqrt(s)
        left += np.square(block @ v - u * s).sum(axis=0)
        back += block.T @ u
        start += block.shape[0]
    found = np.sqrt(left + np.square(back - v * s).sum(axis=0)) / s
    return {"worst": float(found.max()), "rows": start}


def _positions(stored: Path, modelled: Path) -> Any:
    """Return the row of the model's factors of each row or column of the store, by their ids."""
    found = []
    for path in (stored, modelled):
        with pa.memory_map(str(path)) as file:
            found.append(pa.ipc.open_file(file).read_all()["id"].combine_chunks())
    return pc.index_in(found[0], value_set=found[1]).to_numpy()


def _blocks(paths: Sequence[Path], n_items: int) -> Iterator[Any]:
    """Yield the rows of a store as SciPy matrices, block by block."""
    for path in paths:
        with pa.memory_map(str(path)) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
            items, values = batch.column("items"), batch.column("values")
            csr = (values.flatten().to_numpy().astype(np.float64), items.flatten().to_numpy(), items.offsets.to_numpy())
            yield scipy.sparse.csr_array(csr, shape=(batch.num_rows, n_items))


def main() -> None:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sort", "fit", "residuals"))
    parser.add_argument("input", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--memory-limit", default="2GiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--tol", type=float, default=1e-2)
    args = parser.parse_args()
    if args.what == "sort":
        answer = sort(args.input, args.out, args.memory_limit, args.threads)
    elif args.what == "fit":
        answer = fit(args.input, args.out, args.rank, args.tol)
    else:
        answer = residuals(args.input, args.out)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
