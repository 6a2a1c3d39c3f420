#!/usr/bin/env python3
"""Quality of recommendations: options chosen on a part of the training data, judged once on the test part.

Usage::

    python benchmarks/quality.py choose gowalla FOLDER [--only gf-cf,bspm] [--choices choices.json]
    python benchmarks/quality.py judge gowalla FOLDER [--only gf-cf,bspm] [--choices choices.json] [--json OUT]
    python benchmarks/quality.py judge gowalla FOLDER --published
    python benchmarks/quality.py judge movielens FOLDER --ratings

Data sets: ``gowalla`` (train.txt and test.txt of the NGCF/LightGCN split), ``movielens`` (ratings.csv), ``planted``
(generated; FOLDER is any). `choose` fits each contender of `quality_models`, with the options of its stages, on nine
tenths of each user's training interactions, and keeps those with the largest product of recall@20 and ndcg@20 on the
rest. It never reads the test part's answers. The part is drawn user by user, because metrics are means over users, and
is small, because the judged model has all of the training data, which is denser (``--how``, ``--fraction`` and
``--users`` try others). `judge` runs each choice in a process of its own, from the text file to metrics, on all
training interactions: seconds by stage, and the peak memory of its processes. With ``--ratings`` it is models of
ratings, with their defaults, by the errors of the test ratings.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common import Report, Row, table
from process_tree import measure
from quality_data import DATA_SETS, Validation
from quality_models import CONTENDERS, PUBLISHED, RATED

import recscale_dask as rs

METRICS = ("recall@20", "ndcg@20")
ERRORS = ("rmse", "mae")
TARGETS = {  # recall@20, ndcg@20, seconds and GB from text file to metrics, on Gowalla
    "gf-cf": (0.1849, 0.1518, 60.0, 4.0),
    "bspm": (0.1910, 0.1585, 180.0, 4.0),
}
PUBLISHED_TARGETS = {"gf-cf": (0.1849, 0.1518, 60.0, 4.0), "bspm": (0.1920, 0.1597, 180.0, 4.0)}


def choose(args: argparse.Namespace) -> None:
    """Print the quality of all options of the contenders on the validation part, and keep the best."""
    validation = Validation(args.how, args.fraction, args.users)
    train, held_out = DATA_SETS[args.data].for_choosing(args.folder, validation)
    matrix = rs.UserItemMatrix.from_interactions(train)
    choices = _read(args.choices)
    for contender in _contenders(args):
        best: dict[str, Any] = dict(contender.start)
        found: list[tuple[dict[str, float], dict[str, Any]]] = []
        for stage in contender.stages:
            for options in [{**best, **tried} for tried in stage]:
                if any(options == seen for _, seen in found):
                    continue
                start = time.perf_counter()
                model = rs.factorize(matrix, solver=contender.solver, progress=False, executor="threads", **options)
                metrics = rs.evaluate(model, held_out, metrics=METRICS, progress=False, executor="threads").metrics
                found.append((metrics, options))
                shown = "  ".join(f"{metrics[name]:.5f}" for name in METRICS)
                seconds = time.perf_counter() - start
                print(f"{contender.name:<16}{shown}  {seconds:6.1f} s  {json.dumps(options)}", flush=True)
            # A tenth more of either metric counts the same, though ndcg is the smaller number.
            _, best = max(found, key=lambda each: math.prod(each[0].values()))
        metrics = next((metrics for metrics, options in found if options == best), {})
        entry = {"solver": contender.solver, "options": best, "validation": {**asdict(validation), **metrics}}
        choices.setdefault(args.data, {})[contender.name] = entry
        args.choices.write_text(json.dumps(choices, indent=2) + "\n")
        print(f"{contender.name}: chosen {json.dumps(best)}\n", flush=True)


def run(args: argparse.Namespace) -> None:
    """Go from the text file to metrics with some options, and print what that took as JSON."""
    times, start = {}, time.perf_counter()

    def stage(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        times[name], start = now - start, now

    train, test = DATA_SETS[args.data].load(args.folder)
    matrix = rs.UserItemMatrix.from_interactions(train)
    stage("read")
    model = rs.factorize(matrix, solver=args.solver, progress=False, executor="threads", **json.loads(args.options))
    stage("fit")
    evaluation = rs.evaluate(model, test, metrics=args.metrics.split(","), progress=False, executor="threads")
    stage("evaluate")
    residual = None if model.certificate is None else model.certificate.max_residual
    print(json.dumps({"metrics": evaluation.metrics, "seconds": times, "max_residual": residual}))


def judge(args: argparse.Namespace) -> int:
    """Run choices, or the published options, in processes of their own; print and save a table."""
    report = Report(args.json)
    metrics = ERRORS if args.ratings else METRICS
    if args.ratings:
        wanted = {f"{solver}, {json.dumps(options)[1:-1]}": (solver, solver, options) for solver, options in RATED}
    elif args.published:
        wanted = {f"{name}, published options": (name, *each) for name, each in PUBLISHED.items()}
        wanted = {label: each for label, each in wanted.items() if not args.only or each[0] in args.only.split(",")}
    else:
        choices = _read(args.choices).get(args.data, {})
        names = [each.name for each in _contenders(args) if each.name in choices]
        wanted = {name: (name, choices[name]["solver"], choices[name]["options"]) for name in names}
    lines = []
    for label, (name, solver, options) in wanted.items():
        command = [sys.executable, __file__, "run", args.data, args.folder, "--solver", solver]
        measured = measure([*command, "--options", json.dumps(options), "--metrics", ",".join(metrics)])
        answer = measured.answer()
        first, second = (answer["metrics"][each] for each in metrics)
        memory = measured.peak_bytes / 1e9
        report.facts[f"{args.data}, {label}"] = {
            **answer,
            **measured.as_dict(),  # its seconds are from start to end
            "stages": answer["seconds"],
            "options": options,
        }
        if args.data == "gowalla" and name in TARGETS:
            targets = (PUBLISHED_TARGETS if args.published else TARGETS)[name]
            figures = ((first, "recall@20"), (second, "ndcg@20"), (measured.seconds, "seconds"), (memory, "GB"))
            for (figure, what), target in zip(figures, targets, strict=True):
                unit = {"seconds": "s", "GB": "GB"}.get(what, "")
                most = bool(unit)
                # As published: to four digits.
                shown = figure if most else round(figure, 4)
                case = f"{args.data}, {label}: {what}"
                row = Row(case=case, ours=shown, peer=None, target=target, at_most=most, absolute=True, unit=unit)
                report.row(row)
        stages = tuple(f"{answer['seconds'][each]:.1f}" for each in ("read", "fit", "evaluate"))
        cells = (f"{first:.4f}", f"{second:.4f}", *stages, f"{measured.seconds:.1f}", f"{memory:.2f}")
        lines.append((label, *cells, json.dumps(options)))
        report.save()
    head = ("model", *metrics, "read s", "fit s", "evaluate s", "in all s", "GB", "options")
    report.notes.extend(table(head, lines))
    return report.finish()


def _contenders(args: argparse.Namespace) -> list[Any]:
    names = args.only.split(",") if args.only else None
    return [each for each in CONTENDERS[args.data] if names is None or each.name in names]


def _read(path: Path) -> dict[str, Any]:
    choices: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return choices


def main() -> None:
    """Run one of the commands."""
    defaults = Validation()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("choose", "judge", "run"))
    parser.add_argument("data", choices=tuple(DATA_SETS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--choices", type=Path, default=Path(__file__).with_name("quality_choices.json"))
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--ratings", action="store_true")
    parser.add_argument("--metrics", default=",".join(METRICS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--how", default=defaults.how)
    parser.add_argument("--fraction", type=float, default=defaults.fraction)
    parser.add_argument("--users", type=int, default=defaults.users)
    parser.add_argument("--solver")
    parser.add_argument("--options", default="{}")
    args = parser.parse_args()
    raise SystemExit({"choose": choose, "judge": judge, "run": run}[args.command](args))


if __name__ == "__main__":
    main()
