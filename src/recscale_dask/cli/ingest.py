"""`recscale ingest`: interactions of any number into a matrix store."""

from __future__ import annotations

import time as clock
from typing import Annotated

import typer

from recscale_dask.cli import options
from recscale_dask.cli.output import peak_rss_bytes, print_json, print_plan
from recscale_dask.outputs import check_folder


def ingest(
    sources: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Data files, folders, globs or URLs.")],
    out: Annotated[str, typer.Option("--out", metavar="STORE", help="Folder, or URL, to write the store to.")],
    user: options.User = None,
    item: options.Item = None,
    value: options.Value = None,
    time: options.Time = None,
    format: options.Format = None,
    duplicates: options.DuplicatesOption = options.Duplicates.sum,
    min_user_interactions: Annotated[
        int, typer.Option("--min-user-interactions", help="Leave out users with fewer items.")
    ] = 1,
    min_item_interactions: Annotated[
        int, typer.Option("--min-item-interactions", help="Leave out items with fewer users.")
    ] = 1,
    since: Annotated[
        str | None, typer.Option("--since", help="First time: a number, or a date such as 2024-05-31.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="End of time; itself left out.")] = None,
    memory_limit: Annotated[
        str | None, typer.Option("--memory-limit", metavar="BYTES", help="Most memory to take, such as 2GiB.")
    ] = None,
    overwrite: options.Overwrite = False,
    plan: options.PlanOnly = False,
    progress: options.Progress = None,
    as_json: options.Json = False,
) -> None:
    """Write interactions to a matrix store, which need not fit in memory.

    With --plan nothing is written: memory, room on the disk and time that it would take are told, from the metadata of
    the files and their first rows; exit code 1 if it does not fit.
    """
    from recscale_dask.api.ingesting import plan_ingest_by, run_ingest
    from recscale_dask.data.matrix import UserItemMatrix
    from recscale_dask.data.store import STORE
    from recscale_dask.io.frames import Columns
    from recscale_dask.io.ingest import Rules
    from recscale_dask.io.ingest_window import Window

    start = clock.perf_counter()
    reading = options.Input(user, item, value, time, format)
    rules = Rules(
        duplicates=duplicates.value,
        min_user_interactions=min_user_interactions,
        min_item_interactions=min_item_interactions,
        window=Window.of(since, until),
    )
    source, columns = sources if len(sources) > 1 else sources[0], Columns(**reading.columns())
    if plan:
        check_folder(STORE, out, overwrite=overwrite)
        print_plan(plan_ingest_by(source, out, columns, rules, format, memory_limit), as_json=as_json)
        return
    ingested = run_ingest(
        source,
        out,
        columns,
        rules,
        format=format,
        memory_limit=memory_limit,
        engine=None,
        executor=None,
        overwrite=overwrite,
        progress=progress,
    )
    matrix = UserItemMatrix.open(out)
    seconds = clock.perf_counter() - start
    n_users, n_items = matrix.shape
    if as_json:
        print_json(
            {
                "store": out,
                "rows": ingested.rows,
                "n_users": n_users,
                "n_items": n_items,
                "n_interactions": matrix.nnz,
                "fingerprint": matrix.fingerprint,
                "seconds": {**ingested.seconds, "total": round(seconds, 3)},
                "rows_per_second": round(ingested.rows / seconds),
                "peak_rss_bytes": peak_rss_bytes(),
            }
        )
    else:
        typer.echo(
            f"{out}: {n_users:,} users x {n_items:,} items with {matrix.nnz:,} interactions, of {ingested.rows:,} rows "
            f"in {seconds:.1f} s ({ingested.rows / seconds:,.0f} rows a second)."
        )
