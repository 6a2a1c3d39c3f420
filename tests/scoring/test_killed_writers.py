"""`kill -9` of workers and of runs while recommendations are written, by the benchmark that does it more often."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "recommend_faults.py"


@pytest.mark.slow
@pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not part of an installed package")
def test_killed_workers_and_runs_leave_the_same_bytes_and_no_half_file_for_a_reader() -> None:
    run = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "1", "--users", "50000"], capture_output=True, text=True, timeout=280
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("1 of 1") == 4
