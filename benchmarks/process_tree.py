"""Memory and time of a command and of all processes that it starts. Linux only.

Memory is the proportional set size (PSS), summed over the processes: a page that three of them share counts a third
in each, and pages of mapped files count as long as they are mapped and in memory. To add it up, the kernel walks over
all pages, which takes tens of milliseconds for some GB; so that is done when the sum of resident set sizes, which costs
nothing, is higher than it ever was, and else now and then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_INTERVAL = 0.05  # seconds between two looks
_SHARE = 0.02  # of the time may go into adding up where there is no sign of a new peak
_PATIENCE = 10.0  # seconds for a command to end when the caller was interrupted
_HIGHER = 1.005  # how much the sum of resident sizes has to grow to be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a command took.

    Attributes
    ----------
    command : tuple of str
    code : int
        Exit code; negative is the signal that ended it.
    seconds : float
        From its start to its end.
    peak_bytes : int
        The largest PSS of its processes together.
    peak_own_bytes : int
        What of that was no mapped file, at the same moment.
    looks : int
        How often that was added up.
    stdout, stderr : str
    """

    command: tuple[str, ...]
    code: int
    seconds: float
    peak_bytes: int
    peak_own_bytes: int
    looks: int
    stdout: str
    stderr: str

    def answer(self) -> Any:
        """Return the JSON that it printed.

        Raises
        ------
        SystemExit
            If it failed.
        """
        if self.code:
            raise SystemExit(f"{' '.join(self.command)} ended with {self.code}:\n{self.stderr[-4000:]}")
        return json.loads(self.stdout or "null")

    def as_dict(self) -> dict[str, Any]:
        """Return what a report keeps."""
        names = ("seconds", "peak_bytes", "peak_own_bytes", "looks")
        return {"command": " ".join(self.command), **{name: getattr(self, name) for name in names}}


def measure(command: Sequence[Any], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end and return what it took."""
    text = tuple(map(str, command))
    peak = own = looks = highest = 0
    following = 0.0
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(text, stdout=stdout, stderr=stderr, env=environment)
        try:
            while process.poll() is None:
                begun, resident = time.perf_counter(), resident_bytes(process.pid)
                if begun >= following or resident > _HIGHER * highest:
                    highest = max(highest, resident)
                    total, anonymous = memory_of(process.pid)
                    looks += 1
                    if total > peak:
                        peak, own = total, anonymous
                    ended = time.perf_counter()
                    following = ended + (ended - begun) / _SHARE
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_INTERVAL)
        except BaseException:
            process.terminate()  # it may have to clean up
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            process.kill()
            raise
        seconds = time.perf_counter() - start
        stdout.seek(0)
        stderr.seek(0)
        return Measured(
            command=text,
            code=process.wait(),
            seconds=seconds,
            peak_bytes=peak,
            peak_own_bytes=own,
            looks=looks,
            stdout=stdout.read(),
            stderr=stderr.read(),
        )


def memory_of(pid: int) -> tuple[int, int]:
    """Return the PSS of a process and all below it, and what of it is no mapped file; bytes."""
    total = anonymous = 0
    for each in tree(pid):
        with suppress(OSError):  # it just ended
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
                elif line.startswith("Pss_Anon:"):
                    anonymous += int(line.split()[1]) * 1024
    return total, anonymous


def resident_bytes(pid: int) -> int:
    """Return the sum of the resident set sizes of a process and all below it."""
    pages = 0
    for each in tree(pid):
        with suppress(OSError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tree(pid: int) -> list[int]:
    """Return a process and all below it, by the ids of the kernel's lists of children."""
    found = [pid]
    for each in found:  # grows meanwhile
        with suppress(OSError):
            for thread in Path(f"/proc/{each}/task").iterdir():
                with suppress(OSError):
                    found.extend(map(int, (thread / "children").read_text().split()))
    return found


def main() -> None:
    """Measure the command that is given: ``python benchmarks/process_tree.py COMMAND...``."""
    measured = measure(sys.argv[1:])
    sys.stdout.write(measured.stdout)
    sys.stderr.write(measured.stderr + json.dumps(measured.as_dict()) + "\n")
    raise SystemExit(measured.code)


if __name__ == "__main__":
    main()
