"""`recscale recommend`: a model in, the best items of every user out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import check_file, print_json

if TYPE_CHECKING:
    from recscale_dask.data.vocabulary import Vocabulary


def recommend(
    model: options.Model,
    out: Annotated[
        str,
        typer.Option("--out", metavar="RECS.parquet", help="One Parquet file, or (without that suffix) a folder."),
    ],
    k: Annotated[int, typer.Option("--k", help="Items per user.")] = 10,
    users: Annotated[Path | None, typer.Option("--users", metavar="FILE", help="Only these users.")] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Also items of the training data.")] = False,
    allow: Annotated[Path | None, typer.Option("--allow", metavar="FILE", help="Only these items.")] = None,
    deny: Annotated[Path | None, typer.Option("--deny", metavar="FILE", help="Never these items.")] = None,
    executor: options.ExecutorName = None,
    executor_options: options.ExecutorOptions = None,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Write the k best unseen items of every user to Parquet: user, item, rank, score.

    A folder is written by the workers, file by file, and continued if the command was interrupted.
    Files of ids hold one a line, or are CSV or Parquet with the ids in the first column.
    """
    one_file = Path(out).suffix == ".parquet" and not out.endswith("/")
    if Path(out).suffix and not one_file and not out.endswith("/"):
        raise typer.BadParameter(
            f"{out} is neither a .parquet file nor a folder (a name without suffix)", param_hint="--out"
        )
    if one_file:
        check_file(Path(out), overwrite=overwrite)
    elif overwrite:
        raise typer.BadParameter(
            "a folder of recommendations is continued, never replaced; delete it first", param_hint="--overwrite"
        )
    start = time.perf_counter()
    with options.opened_executor(executor, executor_options) as opened:
        from recscale_dask.api.factor_model import load_model

        loaded = load_model(model)
        chosen = None if users is None else _read_ids(users, loaded.users)
        filters: dict[str, Any] = {
            "exclude_seen": not include_seen,
            "allow": None if allow is None else _read_ids(allow, loaded.items),
            "deny": None if deny is None else _read_ids(deny, loaded.items),
            "executor": opened,
        }
        if one_file:
            rows = loaded.recommend_file(out, chosen, k, **filters, overwrite=overwrite)
        else:
            rows = loaded.recommend_to(out, chosen, k, **filters)
    n_users = len(loaded.users) if chosen is None else len(chosen)
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json({"out": out, "rows": rows, "users": n_users, "k": k, "seconds": seconds})
    else:
        typer.echo(f"{out}: {rows:,} recommendations for {n_users:,} users, in {seconds:.1f} s.")


def _read_ids(path: Path, known: Vocabulary) -> Any:
    """Return the ids in a file: an Arrow column, or a list of text, without the header of a CSV file."""
    if path.suffix in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        return pq.ParquetFile(path).read().column(0)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if path.suffix not in (".csv", ".tsv"):
        return [line.strip() for line in lines if line.strip()]
    import csv

    rows = csv.reader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
    ids = [row[0] for row in rows if row]
    has_header = bool(ids) and known.codes(ids[:1], missing="ignore")[0] < 0
    return ids[1:] if has_header else ids
