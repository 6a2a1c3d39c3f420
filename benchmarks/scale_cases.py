"""The cases of `scale.py`: command lines in fresh processes, each measured with all that it starts."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from common import Report, Row
from generator import FILE_ROWS, Interactions
from process_tree import Measured, measure

from recscale_dask.execution.machine import cpu_count

_PARTS = Path(__file__).with_name("scale_parts.py")
_USERS = 1_000_000  # that get recommendations
_COLUMNS = ("--user", "user", "--item", "item", "--value", "value")
_NEW = 0.01  # of the rows are appended
_LARGE = 200_000_000  # rows from which the limits of a billion hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the cases run on, and where.

    Attributes
    ----------
    n_rows : int
        Interactions.
    folder : Path
        Of everything that is written. What an earlier run left there is used: interactions, store, model.
    rank : int
    tol : float
    memory_limit : str
        Of ingests.
    kills : int
    n_resume : int
        Interactions of the case `resume`, which fits many times.
    baseline : Path or None
        JSON of a smaller run, to compare times per value with.
    seed : int
    peers : bool
        Whether DuckDB's sort and the fit in memory are measured too, which take minutes of a billion rows.
    """

    n_rows: int
    folder: Path
    rank: int
    tol: float
    memory_limit: str
    kills: int
    n_resume: int
    baseline: Path | None
    seed: int
    peers: bool = True

    @property
    def fit_options(self) -> tuple[Any, ...]:
        """Options of `recscale fit` and `recscale plan`."""
        return "--rank", self.rank, "--tol", self.tol

    def path(self, suffix: str = "", n_rows: int | None = None) -> Path:
        """Return where something of this size, or of another one, is."""
        return self.folder / f"{short(n_rows or self.n_rows)}{suffix}"

    def interactions(self, n_rows: int | None = None) -> Path:
        """Return the folder of Parquet files; they are drawn if they are not there."""
        out = self.path(n_rows=n_rows)
        if not out.exists():
            Interactions.of_size(n_rows or self.n_rows, seed=self.seed).write(out)
        return out

    def store(self, n_rows: int | None = None) -> Path:
        """Return the store; it is ingested, unmeasured, if it is not there."""
        store = self.path("-store", n_rows)
        if not store.exists():
            recscale("ingest", self.interactions(n_rows), "--out", store, *_COLUMNS).answer()
        return store

    def model(self) -> Path:
        """Return the model of all interactions; it is fitted, unmeasured, if it is not there."""
        model = self.path("-model")
        if not model.exists():
            recscale("fit", self.store(), "--out", model, *self.fit_options).answer()
        return model


def ingest(report: Report, setting: Setting) -> None:
    """Measure an ingest against DuckDB merely sorting the same rows by user."""
    source, store = setting.interactions(), setting.path("-store")
    limit = ("--memory-limit", setting.memory_limit)
    shutil.rmtree(store, ignore_errors=True)
    peer = _sorted_by_duckdb(source, setting, limit) if setting.peers else None
    plan = recscale("ingest", source, "--out", store, *_COLUMNS, *limit, "--plan").answer()
    ours = recscale("ingest", source, "--out", store, *_COLUMNS, *limit)
    answer = ours.answer()
    case = f"ingest {short(setting.n_rows)}"
    if peer is not None:
        report.row(
            Row(case=f"{case}, DuckDB's sort by user", ours=ours.seconds, peer=peer.seconds, target=2.0, at_most=True)
        )
    most = 6.0 if setting.n_rows >= _LARGE else 2.5
    _memory_row(report, f"{case}: peak", ours.peak_bytes, peer and peer.peak_bytes, most)
    _forecast_rows(report, case, ours.peak_bytes, answer["seconds"]["total"], plan)
    report.note(
        f"{case}: {ours.seconds:.1f} s, {setting.n_rows / ours.seconds:,.0f} rows a second"
        f"{f', DuckDB {setting.n_rows / peer.seconds:,.0f}' if peer else ''}; "
        f"the store has {_size(store) / 1e9:.2f} GB"
    )
    facts = {"plan": plan, "ingest": ours.as_dict(), "duckdb": peer and peer.as_dict(), "answer": answer}
    report.measured(case, {}, **facts, store_bytes=_size(store))


def _sorted_by_duckdb(source: Path, setting: Setting, limit: tuple[str, str]) -> Measured:
    sorted_rows = setting.path("-sorted.parquet")
    peer = _part("sort", source, sorted_rows, *limit, "--threads", cpu_count())
    peer.answer()
    sorted_rows.unlink()
    return peer


def fit(report: Report, setting: Setting) -> None:
    """Measure a fit from the store against its forecast, and against the same fit with the matrix in memory."""
    store, model, case = setting.store(), setting.path("-model"), f"fit {short(setting.n_rows)}"
    plan = recscale("plan", store, *setting.fit_options).answer()
    measured = recscale("fit", store, "--out", model, "--overwrite", *setting.fit_options)
    answer = measured.answer()
    seconds = sum(answer["seconds"].values())
    n_stored = answer["n_interactions"]
    per_pass = answer["seconds"]["fit"] / answer["passes"] / (n_stored / 1e9)

    forecast = plan["peak_bytes"]
    _memory_row(report, f"{case}: peak", measured.peak_bytes, None, 6.0 if setting.n_rows >= _LARGE else 3.0)
    report.row(
        Row(
            case=f"{case}: peak, the plan's forecast",
            ours=measured.peak_bytes / 1e9,
            peer=forecast / 1e9,
            target=1.15,
            at_most=True,
            unit="GB",
        )
    )
    _forecast_rows(report, case, measured.peak_bytes, seconds, plan)
    certificate = answer["certificate"]
    report.check(
        f"{case}: certified",
        certificate["converged"] and certificate["max_residual"] <= setting.tol,
        f"{certificate['max_residual']:.2e} after {answer['passes']} passes",
    )
    _verify(report, case, store, model, setting.tol)
    report.note(
        f"{case}: {answer['n_users']:,} users x {answer['n_items']:,} items, {n_stored:,} values, "
        f"{seconds:.1f} s, forecast {plan['seconds']:.1f} s; {per_pass:.2f} s per pass and billion values"
    )
    facts = {
        "n_rows": setting.n_rows,
        "plan": plan,
        "fit": measured.as_dict(),
        "answer": answer,
        "seconds_per_pass_and_billion": per_pass,
    }
    facts |= _in_memory(report, setting, case, answer)
    report.measured(case, {}, **facts)
    if setting.baseline is not None:
        name, smaller = _baseline(setting.baseline)
        report.row(
            Row(case=f"{case}: per pass and value, {name}", ours=per_pass, peer=smaller, target=1.5, at_most=True)
        )


def _in_memory(report: Report, setting: Setting, case: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Compare with the same fit in memory, if this machine has enough of it."""
    if not setting.peers:
        return {}
    needed, there = 12 * answer["n_interactions"], psutil.virtual_memory().available
    if needed > there:
        report.note(f"{case}: not compared with the matrix in memory, which takes {needed / 1e9:.0f} GB")
        return {}
    model = setting.path("-memory-model")
    measured = _part("fit", setting.store(), model, *setting.fit_options)
    theirs = measured.answer()
    shutil.rmtree(model)
    ours, peer = (each["seconds"]["fit"] + each["seconds"]["save"] for each in (answer, theirs))
    report.row(Row(case=f"{case}: the matrix in memory", ours=ours, peer=peer, target=1.5, at_most=True))
    same = answer["factors_sha256"] == theirs["factors_sha256"]
    report.check(f"{case}: the same bits as in memory", same, answer["factors_sha256"][:12])
    return {"in_memory": measured.as_dict(), "in_memory_answer": theirs}


def _verify(report: Report, case: str, store: Path, model: Path, tol: float) -> None:
    worst = _part("residuals", store, model).answer()["worst"]
    report.check(f"{case}: residuals by SciPy in float64", worst <= tol, f"{worst:.2e}")


def recommend(report: Report, setting: Setting) -> None:
    """Measure the best 10 unseen items of the first million users, written to a folder."""
    model, out, case = setting.model(), setting.path("-recs"), f"recommend {short(setting.n_rows)}"
    shutil.rmtree(out, ignore_errors=True)
    with pa.memory_map(str(model / "users.arrow")) as file:
        users = pa.ipc.open_file(file).read_all()["id"].slice(0, _USERS)
    chosen = setting.path("-users.parquet")
    pq.write_table(pa.table({"user": users}), chosen)
    command_line = ("recommend", model, "--out", out, "--k", 10, "--users", chosen)
    plan = recscale(*command_line, "--plan").answer()
    measured = recscale(*command_line)
    answer = measured.answer()
    _memory_row(report, f"{case}: peak", measured.peak_bytes, None, 6.0 if setting.n_rows >= _LARGE else 3.0)
    _forecast_rows(report, case, measured.peak_bytes, answer["seconds"], plan)
    report.check(f"{case}: all users", answer["rows"] == 10 * len(users), f"{answer['rows']:,} rows")
    report.note(
        f"{case}: {len(users):,} users in {answer['seconds']:.1f} s, {len(users) / answer['seconds']:,.0f} a second"
    )
    report.measured(case, {}, plan=plan, recommend=measured.as_dict(), answer=answer)
    shutil.rmtree(out)


def append(report: Report, setting: Setting) -> None:
    """Count the passes of a refit from the model before 1% of the rows were appended, against a fresh fit."""
    case = f"append {short(setting.n_rows)}"
    folder = setting.path("-append")
    shutil.rmtree(folder, ignore_errors=True)
    _hold_back(setting.interactions(), folder)
    store, old = folder / "store", folder / "old"
    recscale("ingest", folder / "old-rows", "--out", store, *_COLUMNS).answer()
    recscale("fit", store, "--out", old, *setting.fit_options).answer()
    appended = recscale("append", store, folder / "new-rows", *_COLUMNS)
    appended.answer()
    measured = {
        name: recscale("fit", store, "--out", folder / name, *setting.fit_options, *more)
        for name, more in (("warm", ("--warm-start", old)), ("fresh", ()))
    }
    answers = {name: each.answer() for name, each in measured.items()}
    warm, fresh = (answers[name]["passes"] for name in ("warm", "fresh"))
    report.row(Row(case=f"{case}: passes, fresh", ours=warm, peer=fresh, target=2.0, unit="passes"))
    for name, answer in answers.items():
        certificate = answer["certificate"]
        report.check(f"{case}: {name} certified", certificate["converged"], f"{certificate['max_residual']:.2e}")
    compacted = recscale("compact", store)
    compacted.answer()
    _verify(report, case, store, folder / "warm", setting.tol)
    report.measured(
        case,
        {},
        append=appended.as_dict(),
        compact=compacted.as_dict(),
        answers=answers,
        **{n: m.as_dict() for n, m in measured.items()},
    )
    shutil.rmtree(folder)


def _hold_back(interactions: Path, folder: Path) -> None:
    """Lay out the first rows and the last hundredth, in the order of time."""
    for name in ("old-rows", "new-rows"):
        (folder / name).mkdir(parents=True)
    *whole, last = sorted(interactions.glob("*.parquet"))
    for path in whole:
        (folder / "old-rows" / path.name).symlink_to(path.absolute())
    table = pq.read_table(last)
    held_back = round(_NEW * (len(whole) * FILE_ROWS + len(table)))
    if held_back >= len(table):
        raise SystemExit(f"{interactions} has too few rows in its last file to hold {held_back:,} of them back")
    pq.write_table(table.slice(0, len(table) - held_back), folder / "old-rows" / last.name)
    pq.write_table(table.slice(len(table) - held_back), folder / "new-rows" / last.name)


# -- what cases share --------------------------------------------------------------------------------


def recscale(*arguments: Any) -> Measured:
    """Run a command line that answers in JSON, in a process of its own."""
    print("recscale", *arguments, file=sys.stderr, flush=True)
    return measure([command(), *arguments, "--json"])


def command() -> Path:
    """Return where the command is."""
    return Path(sys.executable).with_name("recscale")


def short(n_rows: int) -> str:
    """Return a number of rows as text: 100M."""
    for suffix, factor in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if n_rows >= factor:
            return f"{n_rows / factor:g}{suffix}"
    return str(n_rows)


def _part(*arguments: Any) -> Measured:
    return measure([sys.executable, _PARTS, *arguments])


def _memory_row(report: Report, case: str, ours: int, peer: int | None, most: float) -> None:
    report.row(
        Row(
            case=case,
            ours=ours / 1e9,
            peer=None if peer is None else peer / 1e9,
            target=most,
            at_most=True,
            absolute=True,
            unit="GB",
        )
    )


def _forecast_rows(report: Report, case: str, peak: int, seconds: float, plan: dict[str, Any]) -> None:
    """Hold a forecast against what was measured."""
    _factor_row(report, f"{case}: peak and forecast apart by", peak, plan["peak_bytes"], 1.25)
    _factor_row(report, f"{case}: time and forecast apart by", seconds, plan["seconds"], 2.0)


def _factor_row(report: Report, case: str, one: float, other: float, most: float) -> None:
    factor = max(one / other, other / one)
    report.row(Row(case=case, ours=factor, peer=None, target=most, at_most=True, absolute=True, unit="times"))


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _baseline(path: Path) -> tuple[str, float]:
    """Return the name of the fit in the JSON of a run, and its seconds per pass and billion values."""
    facts = json.loads(path.read_text())["facts"]
    for name, each in facts.items():
        if "seconds_per_pass_and_billion" in each:
            return name, float(each["seconds_per_pass_and_billion"])
    raise SystemExit(f"{path} has no case 'fit': run that first, with --json")
