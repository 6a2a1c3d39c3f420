"""A fit leaves its spans, with the error of a run that failed."""

import json

import numpy as np
import pytest
import recscale_dask as rs
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.errors import BlockFailed

from recscale_trace import plugin


@pytest.fixture
def trace(monkeypatch, tmp_path):
    """Return a function that reads the spans; the plugin is there even if its package is not installed."""
    monkeypatch.setenv("RECSCALE_TRACE", str(tmp_path / "trace.jsonl"))
    if "trace" not in [name for name, _ in plugin_manager().observers("recscale_run_started")]:
        plugin_manager().register(plugin, name="trace")
    return lambda: [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]


def test_a_fit_is_spans(trace):
    rs.factorize(np.random.default_rng(0).random((12, 9)), rank=2, block_size=4)
    spans = trace()
    assert spans[0]["name"] == "executor chosen"
    assert spans[0]["attributes"]["executor"] == "serial"
    assert any(span["name"] == "svd step" for span in spans)
    runs = [span for span in spans if "blocks" in span["attributes"]]
    assert runs
    assert all(span["start"] <= span["end"] and span["error"] is None for span in runs)


def test_a_run_that_fails_says_why(trace):
    from recscale_dask.api.observing import plugin_observer
    from recscale_dask.execution.run import map_blocks
    from recscale_dask.execution.serial import SerialExecutor

    def fail(block):
        raise ValueError("no")

    with SerialExecutor() as executor, pytest.raises(BlockFailed):
        list(map_blocks(executor, fail, [1], label="failing", observer=plugin_observer()))
    (span,) = trace()
    assert span["name"] == "failing"
    assert "no" in span["error"]
