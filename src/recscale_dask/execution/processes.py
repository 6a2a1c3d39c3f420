"""The executor that runs blocks on a pool of `multiprocessing` processes of this machine.

A pool of our own, because `multiprocessing.Pool` waits for ever for a worker that was killed and
`ProcessPoolExecutor` gives up all of its work. Here each worker has a pipe; one that dies is replaced
and only its job is answered as lost.
"""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

import cloudpickle

from recscale_dask.checks import whole_number
from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome, unportable
from recscale_dask.execution.deposit import collected, deposited
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.interrupts import interrupts_held
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.main_module import without_main_module
from recscale_dask.execution.portable import dump_bytes, run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.types import Task

_TURN = 0.1  # seconds


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    call: int = 0  # the last call whose task it was sent
    job: Job | None = None  # what it is at, of that call
    thread: int = 0  # whose call that is
    blank: FileRecipe | None = None  # for a large result


class ProcessesExecutor(Executor):
    """Runs blocks on processes of this machine; constants and blocks are mapped, not copied.

    Parameters
    ----------
    n_workers : int, optional
        Number of processes; by default as many as this process may use cores.
    """

    name = "processes"
    capabilities = Capabilities(isolated=True, shared_files=True)

    def __init__(self, n_workers: int | None = None) -> None:
        self._n_workers = cpu_count() if n_workers is None else whole_number(n_workers, "n_workers")
        self._workers: list[_Worker] = []
        self._exchange: Exchange | None = None
        self._calls = itertools.count(1)
        # Calls under way, each with answers that came while another one waited for its own.
        self._answers: dict[int, deque[Outcome]] = {}
        self._lock = threading.RLock()  # of pipes and workers, for calls may be of several threads

    def start(self) -> None:
        """Start the processes; they load while the driver goes on."""
        self._exchange = Exchange()
        try:
            for _ in range(self._n_workers):
                self._workers.append(self._start_worker())
        except ExecutorUnavailable:
            self.stop()
            raise

    def stop(self) -> None:
        """End the processes and delete what they shared."""
        with self._lock:
            for worker in self._workers:
                worker.pipe.close()  # an idle worker ends at the end of its pipe
                if worker.job is not None:
                    worker.process.terminate()
            for worker in self._workers:
                worker.process.join(5)
                if worker.process.is_alive():
                    worker.process.kill()
                    worker.process.join()
                worker.process.close()
            self._workers = []
            if self._exchange is not None:
                self._exchange.close()
                self._exchange = None

    @property
    def parallelism(self) -> int:
        """Number of processes."""
        return self._n_workers

    def broadcast(self, value: Any) -> Broadcast:
        """Write the value to a file that every worker maps."""
        return self._opened().put(value)

    def outcomes(self, task: Task, jobs: Iterable[Job], constants: Mapping[str, Broadcast]) -> Iterator[Outcome]:
        """Yield outcomes as workers answer, one job at a time each."""
        self._opened()
        call = next(self._calls)
        jobs = iter(jobs)
        try:
            work = dump_bytes((task, dict(constants)))
        except Exception as error:
            yield from (unportable(job.index, error) for job in jobs)
            return
        answers = self._answers[call] = deque()
        n_sent, more = 0, True
        waiting: tuple[Job, bytes] | None = None  # the next job, for a worker that is free
        try:
            while more or waiting or n_sent:
                unsent: list[Outcome] = []
                while not unsent and self._has_room():
                    # Not under the lock: whoever makes jobs may have to wait for other threads.
                    job = waiting[0] if waiting else next(jobs, None) if more else None
                    if job is None:
                        more = False
                        break
                    try:
                        waiting = waiting or (job, dump_bytes(job))
                    except Exception as error:
                        unsent.append(unportable(job.index, error))
                        break
                    sent = self._send(call, work, *waiting)
                    if sent is None:  # another thread was faster
                        break
                    waiting = None
                    if sent:
                        n_sent += 1
                    else:
                        unsent.append(Outcome(job.index, lost=True))
                if not answers and not unsent:
                    self._receive()
                yield from unsent
                while answers:
                    n_sent -= 1
                    yield answers.popleft()
        finally:
            self._answers.pop(call, None)  # answers still to come are of no interest any more

    # -- one worker ------------------------------------------------------------------------------------

    def _opened(self) -> Exchange:
        if self._exchange is None:
            raise self.not_open()
        return self._exchange

    def _start_worker(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        try:
            ours, theirs = context.Pipe()
            with theirs:
                process = context.Process(target=_serve, args=(theirs,), name="recscale-worker", daemon=True)
                try:
                    with without_main_module, interrupts_held():
                        process.start()
                except OSError:
                    ours.close()
                    raise
        except OSError as error:
            raise ExecutorUnavailable(
                f"worker process {len(self._workers) + 1} of {self._n_workers} cannot be started: {error}. Give a "
                "smaller n_workers, or look at this machine's limits of memory, processes and open files (ulimit -a)."
            ) from error
        return _Worker(process, ours)

    def _replace(self, worker: _Worker) -> None:
        worker.job = None
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()
        worker.process.close()
        if worker.blank is not None:
            self._opened().give_back(worker.blank.path)
        place = self._workers.index(worker)
        try:
            self._workers[place] = self._start_worker()
        except BaseException:
            del self._workers[place]
            raise

    def _has_room(self) -> bool:
        if not self._workers:
            self._opened()
            raise ExecutorUnavailable("all worker processes have ended, and no other could be started. Open it again.")
        return any(worker.job is None for worker in self._workers)

    def _send(self, call: int, work: bytes, job: Job, message: bytes) -> bool | None:
        """Give a job to a worker that waits for one, so that neither side blocks on a full pipe.

        Returns
        -------
        bool or None
            Whether it arrived; None if no worker waits.
        """
        with self._lock:
            worker = next((each for each in self._workers if each.job is None), None)
            if worker is None:
                return None
            worker.blank = self._opened().blank()
            try:
                worker.pipe.send((work if worker.call != call else None, message, worker.blank))
            except OSError:
                self._replace(worker)
                return False
            worker.call, worker.job, worker.thread = call, job, threading.get_ident()
            return True

    def _receive(self) -> None:
        """Wait a while for answers and deaths, of whichever call, unless nobody is at work."""
        self._opened()
        with self._lock:
            at_work = [worker for worker in self._workers if worker.job is not None]
            # Another thread takes its own, and sooner; nobody else those of a run that was given up.
            me = threading.get_ident()
            ours = [each for each in at_work if each.thread == me or each.call not in self._answers] or at_work
            waiting = {worker.pipe: worker for worker in ours}
        ended: list[Any] = []
        with suppress(OSError):  # another thread has closed one
            # Without the lock, for others to send jobs; not for ever, as one of them may take our answer.
            ended = wait(list(waiting), _TURN) if waiting else []
        with self._lock:
            self._opened()
            for worker in (waiting[pipe] for pipe in ended):
                if worker.job is not None and worker.pipe.poll():  # else another thread was faster
                    self._take(worker, worker.job)

    def _take(self, worker: _Worker, job: Job) -> None:
        """Give what a worker has sent to the call that it is for: in any case, as its thread may be another one."""
        answer = Outcome(job.index, lost=True)
        try:
            data = None
            with suppress(EOFError, OSError):  # the other end closes when the process dies
                data = worker.pipe.recv_bytes()
            if data is None:
                self._replace(worker)
            else:
                answer = self._answer_in(data, worker, job)
        finally:
            if worker.call in self._answers:
                self._answers[worker.call].append(answer)

    def _answer_in(self, data: bytes, worker: _Worker, job: Job) -> Outcome:
        blank, worker.job, worker.blank = worker.blank, None, None
        try:
            answer = cloudpickle.loads(data)
        except Exception as error:  # the result does not load here
            answer = unportable(job.index, error)
        # A worker that could not load the job does not know its number.
        return collected(replace(answer, index=job.index), blank, self._opened())


def _serve(pipe: Connection) -> None:
    """Answer jobs until the pipe ends: what a worker process runs."""
    task: Task | None = None
    constants: Mapping[str, Any] = {}
    while True:
        try:
            work, message, blank = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if work is not None:
                task = None  # the one before must not be run on jobs of this call
                task, constants = cloudpickle.loads(work)
            job = cloudpickle.loads(message)
            assert task is not None
            outcome = run_job(task, job, constants)
        except Exception as error:  # the task or its payload does not load here; the driver knows its number
            outcome = unportable(-1, error)
        _answer(pipe, outcome, blank)


def _answer(pipe: Connection, outcome: Outcome, blank: FileRecipe | None) -> None:
    try:
        data = dump_bytes(deposited(outcome, blank))
    except Exception as error:
        data = dump_bytes(unportable(outcome.index, error, "the result cannot be pickled"))
    try:
        pipe.send_bytes(data)
    except OSError:
        return  # the driver is gone; the next recv ends this process
