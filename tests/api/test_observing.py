"""Runs are told to plugins, to the progress bar and to the log, all by the same hooks."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.api import observing, progress, run_log
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.errors import BlockFailed
from recscale_dask.execution.events import BlockDone, RunStarted
from recscale_dask.execution.run import map_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import Hooks

MATRIX = np.random.default_rng(0).random((12, 9))


def test_the_log_is_a_plugin_and_the_bar_has_hooks_as_its_methods():
    hooks = {name for name in vars(Hooks) if name.startswith("recscale_")}
    assert "recscale_dask log" in [plugin for plugin, _ in plugin_manager().observers("recscale_solver_step")]
    for observer in (progress.ProgressBar, run_log):
        names = {name for name in vars(observer) if name.startswith("recscale_")}
        assert names
        assert names <= hooks


def test_the_log_has_the_steps_of_a_fit(caplog):
    with caplog.at_level(logging.DEBUG, "recscale_dask"):
        rs.factorize(MATRIX, rank=2, block_size=4)
    assert any(message.startswith("executor serial, as it is done") for message in caplog.messages)
    assert any(message.startswith("svd: pass ") for message in caplog.messages)
    assert any(" blocks in " in message for message in caplog.messages)


def test_a_failed_run_is_in_the_log_and_not_on_stderr(caplog, capfd):
    def fail(block):
        raise ValueError("no")

    with SerialExecutor() as executor, pytest.raises(BlockFailed):
        list(map_blocks(executor, fail, [1], label="failing", observer=observing.plugin_observer()))
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "failing" in record.getMessage()
    assert capfd.readouterr().err == ""


def test_an_observer_that_raises_is_warned_of_once_and_dropped():
    calls = []

    def recscale_block_done(event):
        calls.append(event)
        raise RuntimeError("full disk")

    def recscale_run_finished(event):
        calls.append(event)

    broken = SimpleNamespace(recscale_block_done=recscale_block_done, recscale_run_finished=recscale_run_finished)
    with SerialExecutor() as executor, pytest.warns(RuntimeWarning, match="full disk") as warned:
        list(map_blocks(executor, abs, [1, 2, 3], label="run", observer=observing.plugin_observer(broken)))
    assert len(warned) == 1
    assert len(calls) == 1


def test_progress_in_a_log_is_a_line_after_seconds_and_then_every_half_minute(capfd):
    now = iter([0.0, 1.0, 6.0, 35.0, 36.0, 70.0])
    lines = progress.ProgressLines(clock=lambda: next(now))
    lines.recscale_run_started(RunStarted(label="recommend", executor="serial", n_blocks=7))
    for index in range(5):
        lines.recscale_block_done(BlockDone(label="recommend", index=index, seconds=1.0))
    assert capfd.readouterr().err.splitlines() == [
        "    6 s  recommend: 2 of 7 blocks",
        "   36 s  recommend: 4 of 7 blocks",
        "   70 s  recommend: 5 of 7 blocks",
    ]


def test_progress_that_is_asked_for_is_shown_without_a_terminal_too(capfd, monkeypatch):
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    rs.factorize(MATRIX, rank=2, executor="serial", progress=True)
    assert " of 1 blocks" in capfd.readouterr().err
    rs.factorize(MATRIX, rank=2, executor="serial")
    assert capfd.readouterr().err == ""
