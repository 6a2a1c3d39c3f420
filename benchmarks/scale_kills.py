"""The case `resume` of `scale.py`: fits that are killed with ``kill -9``, and continued on another executor."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from common import Report, Row
from process_tree import tree
from scale_cases import Setting, command, recscale, short

_EXECUTORS: dict[str, tuple[str, ...]] = {
    "serial": (),
    "threads": ("--option", "n_workers=2"),
    "processes": ("--option", "n_workers=2"),
    "dask": ("--option", "n_workers=2"),
}
_PATIENCE = 60.0  # seconds for the processes below a killed one to end by themselves


def resume(report: Report, setting: Setting) -> None:
    """Kill fits at random moments, resume each on another executor, and compare hashes of the factors."""
    case = f"resume {short(setting.n_resume)}"
    fits = Fits(setting.store(setting.n_resume), setting.path("-killed", setting.n_resume), setting.fit_options)
    whole = {name: fits.whole(name) for name in _EXECUTORS}
    hashes = {each["sha"] for each in whole.values()}
    report.check(
        f"{case}: the same on all executors", len(hashes) == 1, ", ".join(sorted(each[:12] for each in hashes))
    )
    rng = random.Random(setting.seed)
    kills: list[dict[str, Any]] = []
    while len(kills) < setting.kills:
        victim = list(_EXECUTORS)[len(kills) % len(_EXECUTORS)]
        heir = rng.choice([name for name in _EXECUTORS if name != victim])
        moment = rng.uniform(whole[victim]["first"], whole[victim]["seconds"])
        killed = fits.killed(victim, moment)
        if killed is None:
            continue  # it had ended
        answer = recscale(*fits.command(heir), "--resume").answer()
        same = answer["factors_sha256"] in hashes and len(hashes) == 1
        kills.append({"killed": victim, "resumed": heir, "moment": moment, "same": same, **killed})
        print(kills[-1], file=sys.stderr, flush=True)
    n_same = sum(each["same"] for each in kills)
    report.row(
        Row(case=f"{case}: same factors", ours=n_same, peer=None, target=len(kills), absolute=True, unit="kills")
    )
    report.check(f"{case}: same factors", n_same == len(kills), f"{n_same} of {len(kills)}")
    early = sum(each["checkpoints"] == 0 for each in kills)
    report.note(f"{case}: {early} of {len(kills)} kills came before the first checkpoint")
    report.measured(case, {}, whole=whole, kills=kills)
    shutil.rmtree(fits.folder)


class Fits:
    """Fits of one store with checkpoints.

    Parameters
    ----------
    store : Path
    folder : Path
        Of models and checkpoints; emptied.
    options : tuple
        Of `recscale fit`.
    """

    def __init__(self, store: Path, folder: Path, options: tuple[Any, ...]) -> None:
        self.store, self.folder, self.options = store, folder, options
        self.checkpoint = folder / "checkpoint"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()

    def command(self, executor: str) -> tuple[Any, ...]:
        """Return the arguments of a fit with checkpoints, which starts where there are none."""
        return (
            *("fit", self.store, "--out", self.folder / "model", "--overwrite", *self.options),
            *("--checkpoint", self.checkpoint, "--executor", executor, *_EXECUTORS[executor]),
        )

    def whole(self, executor: str) -> dict[str, Any]:
        """Run one undisturbed; return its hash, its seconds, and the seconds to its first checkpoint."""
        self._start_afresh()
        start, first = time.perf_counter(), None
        with self._running(executor, subprocess.PIPE) as process:
            while process.poll() is None:
                time.sleep(0.01)
                if first is None and self._checkpoints():
                    first = time.perf_counter() - start
            seconds = time.perf_counter() - start
            assert process.stdout is not None
            answer = json.loads(process.stdout.read() or b"{}")
        if process.returncode:
            raise SystemExit(f"a fit on {executor} ended with {process.returncode}")
        return {"sha": answer["factors_sha256"], "seconds": seconds, "first": first or seconds / 2}

    def killed(self, executor: str, moment: float) -> dict[str, int] | None:
        """Run one and kill it after some seconds; return the files of checkpoints then, or None if it had ended."""
        self._start_afresh()
        with self._running(executor, subprocess.DEVNULL) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
                return None
            below = [psutil.Process(pid) for pid in tree(process.pid)[1:] if psutil.pid_exists(pid)]
            process.kill()
        _, alive = psutil.wait_procs(below, timeout=_PATIENCE)
        for each in alive:
            each.kill()
        return {"checkpoints": self._checkpoints(), "left_behind": len(alive)}

    def _start_afresh(self) -> None:
        for name in ("checkpoint", "model"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _checkpoints(self) -> int:
        return sum(each.is_file() for each in self.checkpoint.rglob("*")) if self.checkpoint.exists() else 0

    def _running(self, executor: str, stdout: int) -> subprocess.Popen[bytes]:
        arguments = [str(each) for each in (command(), *self.command(executor), "--json")]
        return subprocess.Popen(arguments, stdout=stdout, stderr=subprocess.DEVNULL)
