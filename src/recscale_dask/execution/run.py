"""Run a pure task on every block: keep the results in block order, or add them up.

Order, completeness, retries, progress and the wording of errors are here, once, for all executors.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from recscale_dask.errors import BlockFailed, IncompleteRun, TaskNotPortable, WorkerLost
from recscale_dask.execution.contract import Broadcast, Capabilities, Executor, Job, Outcome
from recscale_dask.execution.events import BlockDone, Observer, RunFinished, RunStarted, ignore
from recscale_dask.execution.portable import CombinePartials, FoldTask, Partial, add
from recscale_dask.tree import fold_tree
from recscale_dask.types import Combine, Task

RETRIES = 2
"""How often a job is tried again after an error, and a run after lost workers without progress."""


def map_blocks(
    executor: Executor,
    task: Task,
    payloads: Iterable[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    label: str = "map",
    total: int | None = None,
    retries: int = RETRIES,
    observer: Observer = ignore,
) -> Generator[Any, None, None]:
    """Yield ``task(payload, **constants)`` for each payload, in the order of the payloads.

    Parameters
    ----------
    executor : Executor
        An open executor.
    task : callable
        A pure function.
    payloads : iterable
        Blocks or their recipes; taken one at a time, as the executor has room. Results that are ready
        before an earlier one are held until that is.
    constants : mapping, optional
        Big values that every job needs, broadcast here and released at the end; a `Broadcast` is
        used as it is and stays the caller's.
    label : str
        Names the run in events and errors.
    total : int, optional
        How many payloads there are, for progress, if they have no length.
    retries : int
        How often a failed job is run again, and lost ones in a row without any other done: as long as others are, they
        are run again without a limit.
    observer : callable
        Gets the events of the run.

    Raises
    ------
    BlockFailed, TaskNotPortable, WorkerLost, IncompleteRun
    """
    if total is None and isinstance(payloads, Sized):
        total = len(payloads)
    jobs = (Job(index, payload) for index, payload in enumerate(payloads))
    with _run(executor, label, total, observer) as done, _broadcast(executor, constants, label) as sent:
        waiting: dict[int, Any] = {}
        following = 0
        with closing(_answers(executor, task, jobs, sent, label, retries)) as outcomes:
            for outcome in outcomes:
                done(outcome.index, outcome.seconds)
                waiting[outcome.index] = outcome.value
                while following in waiting:
                    yield waiting.pop(following)
                    following += 1


def fold_blocks(
    executor: Executor,
    task: Task,
    payloads: Iterable[Any],
    constants: Mapping[str, Any] | None = None,
    *,
    combine: Combine = add,
    label: str = "fold",
    retries: int = RETRIES,
    observer: Observer = ignore,
) -> Any:
    """Return the sum of ``task(payload, **constants)`` over all payloads, in a tree fixed by their number.

    The same bits on every executor with any number of workers: a job is a run of ``2**j`` neighbouring
    blocks, which is one node of the tree whatever ``j`` is. Parameters and errors are those of
    `map_blocks`; `combine` must be pure but for writing into its first argument.
    """
    blocks = tuple(payloads)
    if not blocks:
        raise ValueError(f"{label}: there are no blocks to add up")
    size = group_size(executor.capabilities, executor.parallelism, len(blocks))
    jobs = [Job(i, blocks[i * size : (i + 1) * size]) for i in range(-(-len(blocks) // size))]
    fold_task, fold_combine = FoldTask(task, combine), CombinePartials(combine)

    def name(group: int) -> str:
        first, last = group * size, min((group + 1) * size, len(blocks)) - 1
        return f"block {first}" if first == last else f"one of blocks {first} to {last}"

    with _run(executor, label, len(blocks), observer) as done, _broadcast(executor, constants, label) as sent:

        def partials(outcomes: Iterable[Outcome]) -> Iterator[Partial]:
            for outcome in outcomes:
                first = outcome.index * size
                for index in range(first, min(first + size, len(blocks))):
                    done(index, outcome.seconds)
                yield outcome.value

        if executor.capabilities.folds:
            total: Partial = _fold_on_workers(executor, fold_task, fold_combine, jobs, sent, label, retries, name, size)
            for index in range(len(blocks)):
                done(index, 0.0)
        else:
            with closing(_answers(executor, fold_task, iter(jobs), sent, label, retries, name, size)) as answers:
                total = fold_tree(partials(_in_order(answers)), fold_combine)
        if total.count != len(blocks):
            raise IncompleteRun(
                f"{label}: executor {executor.name!r} added up {total.count} of {len(blocks)} blocks. "
                "Report this to its authors: the conformance kit finds such a fault."
            )
    return total.value


def group_size(capabilities: Capabilities, parallelism: int, n_blocks: int) -> int:
    """Return how many blocks of a fold make one job.

    The largest power of two that still gives every worker a group, and two at least; 1 in this process.
    """
    size = 1
    if capabilities.isolated:
        while n_blocks // (2 * size) >= max(2, parallelism):
            size *= 2
    return size


@contextmanager
def _run(executor: Executor, label: str, total: int | None, observer: Observer) -> Iterator[Any]:
    """Tell the observer of the start, of each block once, and of the end."""
    executor.check_process()
    start, count = time.perf_counter(), 0

    def done(index: int, seconds: float) -> None:
        nonlocal count
        count += 1
        observer(BlockDone(label=label, index=index, seconds=seconds))

    observer(RunStarted(label=label, executor=executor.name, n_blocks=total))
    failure: str | None = None
    try:
        yield done
    except GeneratorExit:
        failure = "the caller stopped early"
        raise
    except BaseException as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        seconds = time.perf_counter() - start
        observer(RunFinished(label=label, n_blocks=count, seconds=seconds, error=failure))


@contextmanager
def _broadcast(executor: Executor, constants: Mapping[str, Any] | None, label: str) -> Iterator[dict[str, Broadcast]]:
    """Broadcast what is not yet, and release that at the end."""
    with ExitStack() as stack:
        sent = {}
        for name, value in (constants or {}).items():
            if not isinstance(value, Broadcast):
                try:
                    value = executor.broadcast(value)
                except (TypeError, AttributeError, pickle.PicklingError) as error:  # what pickling raises
                    raise TaskNotPortable(
                        f"{label}: constant {name!r} cannot be sent to the workers of executor "
                        f"{executor.name!r}: {type(error).__name__}: {error}. Use data that pickles, or "
                        "executor='threads'."
                    ) from error
                stack.callback(value.release)
            sent[name] = value
        yield sent


def _in_order(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    waiting: dict[int, Outcome] = {}
    following = 0
    for outcome in outcomes:
        waiting[outcome.index] = outcome
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def _answers(
    executor: Executor,
    task: Task,
    jobs: Iterator[Job],
    constants: Mapping[str, Broadcast],
    label: str,
    retries: int,
    name: Callable[[int], str] = "block {}".format,
    size: int = 1,
) -> Generator[Outcome, None, None]:
    """Yield one good outcome per job, in any order; run again what failed or was lost.

    For errors, `name` tells which blocks a job is, and `size` how many.
    """
    pending: dict[int, Job] = {}
    failures: dict[int, int] = {}
    again: list[Job] = []
    exhausted = False
    fruitless = 0

    def feed() -> Iterator[Job]:
        nonlocal exhausted
        while again:
            yield again.pop(0)
        for job in jobs:
            pending[job.index] = job
            yield job
        exhausted = True

    while not exhausted or pending:
        lost: WorkerLost | None = None
        answered = 0
        failed: set[int] = set()
        again[:] = list(pending.values())
        executor.label = label
        outcomes = executor.outcomes(task, feed(), constants)
        try:
            for outcome in outcomes:
                job = pending.get(outcome.index)
                if job is None:
                    raise IncompleteRun(
                        f"{label}: executor {executor.name!r} answered twice for {name(outcome.index)}, "
                        "or for one that it was not asked. Report this to its authors."
                    )
                if outcome.lost:
                    why = f": {outcome.error}" if outcome.error else ""
                    lost = WorkerLost(f"the worker that ran {name(outcome.index)} died{why}")
                elif outcome.error is not None:
                    failed.add(outcome.index)
                    failures[outcome.index] = failures.get(outcome.index, 0) + 1
                    if not outcome.portable or failures[outcome.index] > retries:
                        raise _failure(outcome, label, executor, failures[outcome.index], name, size)
                else:
                    del pending[outcome.index]
                    answered += 1
                    yield outcome
        except WorkerLost as error:
            lost = error
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
        silent = sorted(pending.keys() - failed)
        if lost is None and (silent or not exhausted):
            what = f"no answer for {name(silent[0])} ({len(silent)} missing)" if silent else "up before the last block"
            raise IncompleteRun(f"{label}: executor {executor.name!r} gave {what}. Report this to its authors.")
        if lost is not None:
            fruitless = 0 if answered else fruitless + 1
            if fruitless > retries:
                raise WorkerLost(
                    f"{label}: workers of executor {executor.name!r} died {fruitless} times in a row with no "
                    f"block done ({lost}). Look at the workers' memory limits and logs; then try fewer "
                    "workers, a lower rank, or executor='threads'."
                ) from lost


def _fold_on_workers(
    executor: Executor,
    task: Task,
    combine: Combine,
    jobs: list[Job],
    constants: Mapping[str, Broadcast],
    label: str,
    retries: int,
    name: Callable[[int], str],
    size: int,
) -> Any:
    """Return ``executor.fold``, tried again from the start after an error or a lost worker."""
    executor.label = label
    for attempt in range(1, retries + 2):
        try:
            outcome = executor.fold(task, combine, jobs, constants)
        except WorkerLost as error:
            outcome = Outcome(0, error=str(error), lost=True)
        if outcome.error is None and not outcome.lost:
            return outcome.value
        if attempt > retries or not outcome.portable:
            if outcome.lost:
                raise WorkerLost(
                    f"{label}: workers of executor {executor.name!r} died {attempt} times "
                    f"({outcome.error or 'no reason known'}). Look at the workers' memory limits and logs; "
                    "then try fewer workers, a lower rank, or executor='threads'."
                )
            raise _failure(outcome, label, executor, attempt, name, size)
    raise AssertionError("unreachable")


def _failure(
    outcome: Outcome, label: str, executor: Executor, attempts: int, name: Callable[[int], str], size: int
) -> Exception:
    if not outcome.portable:
        return TaskNotPortable(
            f"{label}: {name(outcome.index)} cannot be sent to the workers of executor {executor.name!r}: "
            f"{outcome.error}. Use functions and data that pickle, or executor='threads'."
        )
    return BlockFailed(
        f"{label}: {name(outcome.index)} failed {attempts} times on executor {executor.name!r}: "
        f"{outcome.error}. Look at `remote_traceback`, or run it again with executor='serial' to debug it "
        "here.",
        index=outcome.index * size,
        remote_traceback=outcome.traceback,
    )
