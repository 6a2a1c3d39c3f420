"""The metrics of docs/plugins/write_a_metric.md work as they are pasted, in a package that is really discovered."""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.api import plugins
from recscale_dask.testing.matrices import checkerboard

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins" / "write_a_metric.md").read_text()
METRICS = ("r_precision@5", "long_tail@5", "evenness@1", "within_half")


@pytest.fixture
def guide_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put the guide's package, with metadata as pip writes it, on the path."""
    for block in re.findall(r"```python\n# src/(.*?)```", GUIDE, re.DOTALL):
        name, code = block.split("\n", 1)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    info = tmp_path / "my_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[recscale_dask]\nmy_metrics = my_metrics.plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.plugin_manager.cache_clear()
    yield
    plugins.plugin_manager.cache_clear()
    for module in [name for name in sys.modules if name.partition(".")[0] == "my_metrics"]:
        del sys.modules[module]


@pytest.mark.usefixtures("guide_installed")
def test_metrics_of_the_guide_are_evaluated_and_compared() -> None:
    board = rs.factorize(checkerboard(20), rank=2, executor="serial")
    diagonal = pa.table({"user": np.arange(20), "item": np.arange(20), "value": np.ones(20)})
    test = rs.read_interactions(diagonal)  # of each user the best unseen item
    found = rs.evaluate(board, test, metrics=METRICS, executor="threads")
    assert found["r_precision@5"] == 1
    assert found["long_tail@5"] == 0
    assert found["evenness@1"] == pytest.approx(np.log2(20))
    assert 0 <= found["within_half"] <= 1
    assert set(found.intervals()) == {"r_precision@5", "long_tail@5", "within_half"}
    compared = rs.compare({"one": board, "two": board}, test, metrics=METRICS, executor="serial")
    assert compared["two", "evenness@1"].difference == 0
