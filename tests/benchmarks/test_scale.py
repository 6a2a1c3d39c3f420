"""What `benchmarks/scale.py` stands on: drawn interactions, and the memory of a tree of processes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = [
    pytest.mark.skipif(not BENCHMARKS.exists(), reason="the benchmarks are not part of an installed package"),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_drawn_interactions_are_a_log_with_a_few_popular_items_and_ids_that_are_no_codes(tmp_path: Path) -> None:
    out = tmp_path / "interactions"
    done = run("scale.py", "generate", "--interactions", "200k", "--out", str(out), "--users", "2k", "--items", "1k")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*.part"))

    table = pq.read_table(out / "part-00000.parquet")
    assert table.schema.types == [pa.int64(), pa.int64(), pa.float32(), pa.int64()]
    user, item, value, time = (column.to_numpy() for column in table.columns)
    assert len(user) == 200_000
    assert (np.diff(time) >= 0).all()
    assert (np.diff(user) < 0).mean() > 0.4  # in no order of users
    assert set(np.unique(value)) <= set(np.arange(1, 11) / 2)
    assert ((user - 1_000_000) % 7 == 0).all()
    assert 1_900 < len(np.unique(user)) <= 2_000
    shares = np.sort(np.unique(item, return_counts=True)[1])[::-1] / len(item)
    assert shares[:100].sum() > 0.3
    assert shares[500:].sum() < 0.25


def test_memory_of_a_process_below_the_command_counts() -> None:
    grandchild = "import time; x = bytearray(300_000_000); time.sleep(0.5)"
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}]); sys.exit(3)"
    done = run("process_tree.py", sys.executable, "-c", command)
    assert done.returncode == 3
    found = json.loads(done.stderr)
    assert 300e6 < found["peak_bytes"] < 400e6
    assert found["peak_own_bytes"] <= found["peak_bytes"]
