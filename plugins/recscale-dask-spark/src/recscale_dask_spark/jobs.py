"""Jobs as the partitions of a Spark job, and their outcomes back."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cloudpickle
import numpy as np
import pyspark
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import RDD, SparkContext

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.contract import Broadcast, Job, Outcome, unportable
from recscale_dask.execution.deposit import collected, deposited
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.packing import pack, unpack
from recscale_dask.execution.portable import FoldTask, dump_bytes, run_job
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.tree import fold_tree
from recscale_dask.types import Task
from recscale_dask_spark.collector import keep_imports_from_collector


class SparkBroadcast(Broadcast):
    """A constant as a broadcast variable: sent once to each machine, read once by each Python worker."""

    def __init__(self, context: SparkContext, value: Any) -> None:
        # Spark uses plain pickle, which cannot send classes of the caller's script.
        boxed = value if isinstance(value, np.ndarray) else _Boxed(dump_bytes(value))
        self.variable: pyspark.Broadcast[Any] | None = context.broadcast(boxed)

    def load(self) -> Any:
        """Return the value on the driver; on workers a `LocalBroadcast` takes the place of this handle."""
        return None if self.variable is None else self.variable.value

    def release(self) -> None:
        """Free the value here and on the workers."""
        variable, self.variable = self.variable, None
        if variable is not None:
            with suppress(Py4JError, OSError):  # the session may have been stopped before us
                variable.destroy()


class _Boxed:
    """Bytes that load as the value they were made from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __reduce__(self) -> Any:
        return cloudpickle.loads, (self._data,)


@dataclass(frozen=True, slots=True)
class Packed:
    """One job with its task and constants; numbers say which broadcast variables of the batch they need."""

    index: int
    work: bytes
    job: bytes
    constants: list[int]
    held: list[int]


class Batch:
    """Jobs that become the partitions of one Spark job."""

    def __init__(self) -> None:
        self.taken = 0
        self.jobs: list[Packed] = []
        self.variables: list[Any] = []
        self._places: dict[int, int] = {}  # of variables, by their identity
        self._first = self._n_blocks = 0

    def add(self, job: Job, task: Task, constants: Mapping[str, Broadcast]) -> None:
        """Pack a job."""
        self.taken += 1
        work, shared = pack((task, dict(constants)), SparkBroadcast)
        data, own = pack(job, SparkBroadcast)
        n_blocks = len(job.payload) if isinstance(task, FoldTask) else 1
        if not self.jobs:
            self._first = job.index * n_blocks
        self._n_blocks += n_blocks
        self.jobs.append(Packed(job.index, work, data, self._numbers(shared), self._numbers(own)))

    @property
    def title(self) -> str:
        """Which blocks these are, for Spark's pages."""
        return f"{self._n_blocks} block{'s' if self._n_blocks > 1 else ''} from {self._first}"

    def _numbers(self, handles: list[SparkBroadcast]) -> list[int]:
        for handle in handles:
            if id(handle.variable) not in self._places:
                self._places[id(handle.variable)] = len(self.variables)
                self.variables.append(handle.variable)
        return [self._places[id(handle.variable)] for handle in handles]


class Call:
    """The Spark jobs of one task.

    Parameters
    ----------
    context : SparkContext
    numbered : callable
        Gives an RDD of as many numbers as there are jobs.
    title : str
        How Spark's pages call it.
    exchange : Exchange or None
        Where large results are left, if workers and driver share files.
    """

    def __init__(
        self, context: SparkContext, numbered: Callable[[int], RDD[int]], title: str, exchange: Exchange | None
    ) -> None:
        self._context, self._numbered, self._title, self._exchange = context, numbered, title, exchange
        self.closed = threading.Event()
        self.group = f"recscale-{uuid.uuid4().hex}"

    def run(self, batch: Batch) -> list[Outcome]:
        """Return the outcomes of a batch; called on a thread of its own."""
        if self.closed.is_set():
            return []
        blanks = [None if self._exchange is None else self._exchange.blank() for _ in batch.jobs]
        try:
            told = self._served(batch, blanks).collect()
        except (Py4JNetworkError, OSError) as error:
            raise gone(error) from error
        except Exception as error:
            outcomes = [_failed(job.index, error) for job in batch.jobs]
        else:
            outcomes = [_arrived(batch.jobs[place].index, data) for place, data in told]
        return [collected(outcome, blank, self._exchange) for outcome, blank in zip(outcomes, blanks, strict=True)]

    def fold(self, batch: Batch, work: bytes) -> Outcome:
        """Return the combined outcome of a batch; called on a thread of its own.

        Parameters
        ----------
        batch : Batch
            All jobs of the sum.
        work : bytes
            The pickled function that combines two results.
        """
        n_left = len(batch.jobs)
        try:
            sums = self._served(batch, [None] * n_left)
            # One round for a few; else two, of about as many groups as each group has members. An aligned run of 2**j
            # is a node of the tree.
            fan = max(4, 1 << -(-(n_left - 1).bit_length() // 2))
            while n_left > 1:
                n_left = -(-n_left // fan)
                grouped = sums.map(partial(_with_group, fan=fan)).groupByKey(n_left)
                sums = grouped.map(partial(_combined, work=work))
            [(_, data)] = sums.collect()
            return _arrived(0, data)
        except (Py4JNetworkError, OSError) as error:
            raise gone(error) from error
        except Exception as error:
            return _failed(0, error)

    def _served(self, batch: Batch, blanks: list[FileRecipe | None]) -> RDD[tuple[int, bytes]]:
        # Properties of this thread, in Java as well.
        self._context.setJobGroup(self.group, f"{self._title}, {batch.title}")
        serve = partial(_serve, jobs=batch.jobs, variables=batch.variables, blanks=blanks)
        return self._numbered(len(batch.jobs)).mapPartitions(serve)


def reason_of(error: Exception) -> str:
    """Return what was raised in Spark, out of pages of it."""
    text = str(error)
    raised = re.findall(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception): .*)$", text, re.MULTILINE)
    return raised[-1] if raised else text[:300]


def _failed(index: int, error: Exception) -> Outcome:
    """Return the outcome of a Spark job that failed; errors of tasks do not come this way."""
    text = str(error)
    if "spark.driver.maxResultSize" in text:
        reason = "its results, with those of other blocks, exceed spark.driver.maxResultSize; raise that"
        return Outcome(index, error=reason, traceback=text, portable=False)
    if ("PythonException" in text or "thrown from the Python worker" in text) and "exited unexpectedly" not in text:
        # The worker's Python is there but cannot load our function: another version, or no recscale_dask.
        reason = f"a Spark worker cannot run it ({reason_of(error)})"
        return Outcome(index, error=reason, traceback=text, portable=False)
    return Outcome(index, error=reason_of(error), traceback=text, lost=True)


def gone(error: Exception) -> ExecutorUnavailable:
    """Return the error of a Spark that does not answer any more."""
    return ExecutorUnavailable(
        f"Spark has stopped ({type(error).__name__}: {str(error)[:300]}). Look at its log, and run again."
    )


def _arrived(index: int, data: bytes) -> Outcome:
    """Return a pickled outcome; one that says so if it does not load."""
    try:
        outcome: Outcome = cloudpickle.loads(data)
    except Exception as error:
        return unportable(index, error)
    return outcome


# -- on the workers ----------------------------------------------------------------------------------------


def _serve(
    places: Iterator[int], *, jobs: list[Packed], variables: list[Any], blanks: list[FileRecipe | None]
) -> Iterator[tuple[int, bytes]]:
    """Yield the place and the pickled outcome of each job that a partition names."""
    # To the end: Spark gives up a Python worker that leaves input unread, and the next job pays for a
    # new one.
    for place in places:
        yield place, _run(jobs[place], variables, blanks[place])
    keep_imports_from_collector()


def _run(packed: Packed, variables: list[Any], blank: FileRecipe | None) -> bytes:
    try:
        task, constants = unpack(packed.work, [variables[place].value for place in packed.constants])
        job = unpack(packed.job, [variables[place].value for place in packed.held])
        outcome = run_job(task, job, constants)
    except Exception as error:
        outcome = unportable(packed.index, error)
    return _travelling(outcome, blank)


def _travelling(outcome: Outcome, blank: FileRecipe | None = None) -> bytes:
    try:
        return dump_bytes(deposited(outcome, blank))
    except Exception as error:
        return dump_bytes(unportable(outcome.index, error, "the result cannot be pickled"))


def _with_group(sum_: tuple[int, bytes], fan: int) -> tuple[int, tuple[int, bytes]]:
    return sum_[0] // fan, sum_


def _combined(group: tuple[int, Iterable[tuple[int, bytes]]], work: bytes) -> tuple[int, bytes]:
    """Combine the outcomes of a group in the order of their places; the first error is that of the whole."""
    place, members = group
    outcomes = [_arrived(*member) for member in sorted(members, key=lambda member: member[0])]
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if failed:
        return place, dump_bytes(failed[0])
    combine = cloudpickle.loads(work)
    total = run_job(lambda values: fold_tree(iter(values), combine), Job(0, [each.value for each in outcomes]), {})
    return place, _travelling(replace(total, seconds=total.seconds + sum(each.seconds for each in outcomes)))
