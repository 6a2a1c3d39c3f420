"""The kit on processes, and what is special to a pool of our own."""

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import pytest

from recscale_dask.errors import ExecutorUnavailable, TaskNotPortable
from recscale_dask.execution.contract import Executor, Job
from recscale_dask.execution.interrupts import interrupts_held
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.run import map_blocks
from recscale_dask.testing import ExecutorContract, tasks

# Workers cannot import this module: its functions travel as those of a script do.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make_executor(self) -> Callable[[], Executor]:
        return lambda: ProcessesExecutor(n_workers=2)


@pytest.mark.timeout(60)
def test_the_only_worker_serves_after_a_result_that_does_not_load_here() -> None:
    with ProcessesExecutor(n_workers=1) as executor:
        for kind in (tasks.Unloadable, tasks.LargeUnloadable):
            with pytest.raises(TaskNotPortable, match=r"block 0 .*ImportError: planted: this cannot be loaded"):
                list(map_blocks(executor, tasks.UnportableResultOn(0, kind), range(3)))
            assert list(map_blocks(executor, tasks.echo, range(3))) == [0, 1, 2]


def test_workers_that_started_end_when_a_later_one_cannot() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(os.listdir("/dev/fd"))
    executor = ProcessesExecutor(n_workers=1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 12, limit[1]))
    try:
        with pytest.raises(ExecutorUnavailable, match=r"worker process \d+ of 1000 .*Give a smaller n_workers"):
            executor.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert multiprocessing.active_children() == []
    assert len(os.listdir("/dev/fd")) <= n_open + 1  # that of the resource tracker, which lives on


def interrupt(here: bool, done: threading.Event) -> None:
    if here:
        os.kill(os.getpid(), signal.SIGINT)
    else:
        other = threading.Thread(target=interrupted_here)
        other.start()
        other.join()
    time.sleep(0.05)
    done.set()


def interrupted_here() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


@pytest.mark.parametrize("thread", ["this", "another"])
def test_interrupt_is_held_until_the_end_whichever_thread_gets_it(thread: str) -> None:
    before, done = signal.signal(signal.SIGINT, signal.default_int_handler), threading.Event()
    try:
        with pytest.raises(KeyboardInterrupt), interrupts_held():
            interrupt(thread == "this", done)
        assert done.is_set()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.timeout(60)
def test_a_quick_run_does_not_wait_for_a_slow_one_of_another_thread() -> None:
    with ProcessesExecutor(n_workers=2) as executor:
        list(map_blocks(executor, time.sleep, [0.5, 0.5]))  # both have started
        slow = threading.Thread(target=lambda: list(map_blocks(executor, time.sleep, [5.0])))
        slow.start()
        time.sleep(0.1)
        assert list(map_blocks(executor, tasks.echo, range(20))) == list(range(20))
        assert slow.is_alive()
        slow.join()


@pytest.mark.timeout(60)
def test_jobs_may_come_from_another_thread_that_uses_the_same_workers() -> None:
    with ProcessesExecutor(n_workers=2) as executor, ThreadPoolExecutor(1) as other:

        def pair(first: int) -> list[int]:
            return list(map_blocks(executor, tasks.echo, range(first, first + 2)))

        def jobs() -> Iterator[int]:
            for first in range(0, 6, 2):
                yield from other.submit(pair, first).result()

        assert list(map_blocks(executor, tasks.echo, jobs())) == list(range(6))


def slept(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


@pytest.mark.timeout(60)
def test_workers_of_a_run_that_another_thread_gave_up_are_used_again() -> None:
    with ProcessesExecutor(n_workers=2) as executor, ThreadPoolExecutor(1) as other:

        def give_up() -> None:
            answers = executor.outcomes(slept, iter([Job(0, 0.0), Job(1, 0.5)]), {})
            next(answers)
            answers.close()

        list(map_blocks(executor, time.sleep, [0.5, 0.5]))  # both have started
        other.submit(give_up).result()
        told = set(map_blocks(executor, slept, [0.1] * 20))
    assert len(told) == 2
