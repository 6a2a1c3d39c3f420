"""What a fit would take, whether that is there, and what would fit if it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from recscale_dask.api.job_plan import free_disk
from recscale_dask.api.staged_plan import PROCESS_BYTES, WORKER_BYTES, StagedPlan
from recscale_dask.errors import MemoryLimitError, OutputError
from recscale_dask.execution.contract import Capabilities, Executor
from recscale_dask.execution.machine import cpu_count
from recscale_dask.execution.memory import byte_count, byte_text, usable_memory
from recscale_dask.solvers.base import Problem, Solver
from recscale_dask.solvers.forecast import Forecast, Workers
from recscale_dask.solvers.rates import NOMINAL, Rates

# Python with what a fit imports, without the kernels that workers in other processes of this machine have.
_DRIVER_BYTES = 180 << 20
_CERTAIN = 0.75  # of the forecast, which a fit takes if the forecast is as far off as it may be
_OWN_WORKERS = ("threads", "processes", "dask")  # executors whose option n_workers says how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(StagedPlan):
    """What a fit would take; made by `recscale_dask.plan`, printed as a table.

    Attributes
    ----------
    stages, n_workers, workers_here, process_bytes, worker_process_bytes, memory_limit
        See `recscale_dask.api.staged_plan.StagedPlan`.
    solver : str
    rank : int
        0 of solvers that have no use for one.
    n_users, n_items, n_stored, n_blocks : int
        Of the matrix.
    stored : bool
        Whether the matrix is read from a store in each pass, instead of being in memory.
    executor, executor_reason : str
        Where it would run, and why there.
    method : mapping
        How the solver goes about it; for an SVD the fields of `recscale_dask.solvers.svd_plan.SVDPlan`.
    model_bytes, temporary_bytes, checkpoint_bytes : int
        On disk: the saved model, files shared with workers while it is fitted (in memory where there is room), and
        the state of the fit if it is kept.
    advice : tuple of str
        What would fit, if this does not; each was forecast too.
    """

    solver: str
    rank: int
    n_users: int
    n_items: int
    n_stored: int
    n_blocks: int
    stored: bool
    executor: str
    method: Mapping[str, Any]
    model_bytes: int
    temporary_bytes: int
    checkpoint_bytes: int
    advice: tuple[str, ...] = ()
    executor_reason: str = ""

    @property
    def verdict(self) -> str:
        """One sentence on whether it fits, and one on what would."""
        needs = f"{self.solver}{self._rank(' of rank')} needs about {byte_text(self.most_bytes)} of memory"
        if self.fits:
            return f"{needs}, and {byte_text(self.memory_limit)} are there."
        largest = max(self.stages, key=self.stage_bytes)
        return (
            f"{needs} (most of it in its stage {largest.name!r}), and {byte_text(self.memory_limit)} are there. "
            f"What would fit: {'; or '.join(self.advice)}. See recscale_dask.plan (`recscale plan`) for what takes how "
            "much."
        )

    def _rank(self, before: str) -> str:
        return f"{before} {self.rank}" if self.rank else ""

    @property
    def passes(self) -> int:
        """How often all blocks are read, the first look at them and that of the saved model included."""
        return sum(stage.passes for stage in self.stages)

    @property
    def bytes_read(self) -> int:
        """From the store, in all."""
        return sum(stage.read_bytes for stage in self.stages)

    @property
    def bytes_moved(self) -> int:
        """Between driver and workers, in all."""
        return sum(stage.moved_bytes for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return {
            "solver": self.solver,
            "rank": self.rank,
            "n_users": self.n_users,
            "n_items": self.n_items,
            "n_interactions": self.n_stored,
            "blocks": self.n_blocks,
            "stored": self.stored,
            "executor": self.executor,
            "executor_reason": self.executor_reason,
            "workers": self.n_workers,
            "method": dict(self.method),
            "passes": self.passes,
            "seconds": round(self.seconds, 3),
            "bytes_read": self.bytes_read,
            "bytes_moved": self.bytes_moved,
            "peak_bytes": self.peak_bytes,
            "peak_driver_bytes": self.peak_driver_bytes,
            "peak_worker_bytes": self.peak_worker_bytes,
            "model_bytes": self.model_bytes,
            "temporary_bytes": self.temporary_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "memory_limit": self.memory_limit,
            "fits": self.fits,
            "advice": list(self.advice),
            "stages": [
                {
                    "name": stage.name,
                    "passes": stage.passes,
                    "seconds": round(stage.seconds, 3),
                    "bytes_read": stage.read_bytes,
                    "bytes_read_per_pass": stage.read_bytes // max(1, stage.passes),
                    "bytes_moved": stage.moved_bytes,
                    "bytes_moved_per_pass": stage.moved_bytes // max(1, stage.passes),
                    "peak_bytes": self.stage_bytes(stage),
                    "driver": dict(stage.driver),
                    "worker": dict(stage.worker),
                }
                for stage in self.stages
            ],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        where = "in a store" if self.stored else "in memory"
        yield (
            f"{self.solver}{self._rank(', rank')}, of {self.n_users:,} users x {self.n_items:,} items with "
            f"{self.n_stored:,} values {where}, {self.n_blocks} blocks; {self.executor}, {self.n_workers} workers"
            + (f" ({self.executor_reason})" if self.executor_reason else "")
        )
        if self.method:
            yield ", ".join(f"{name} {value}" for name, value in self.method.items() if name != "seconds")
        yield f"{'stage':<14}{'passes':>7}{'seconds':>9}{'read':>12}{'moved':>12}{'driver':>12}{'each worker':>13}"
        for stage in self.stages:
            sizes = (stage.read_bytes, stage.moved_bytes, stage.driver_bytes)
            cells = "".join(f"{byte_text(size):>12}" for size in sizes)
            yield f"{stage.name:<14}{stage.passes:>7}{stage.seconds:>9.1f}{cells}{byte_text(stage.worker_bytes):>13}"
        sizes = (self.bytes_read, self.bytes_moved, self.peak_driver_bytes)
        cells = "".join(f"{byte_text(size):>12}" for size in sizes)
        yield (
            f"{'in all, peak':<14}{self.passes:>7}{self.seconds:>9.1f}{cells}{byte_text(self.peak_worker_bytes):>13}"
        )
        fits = "fits" if self.fits else "does not fit"
        yield (
            f"peak on this machine {byte_text(self.peak_bytes)}, of {byte_text(self.memory_limit)}: {fits}; "
            f"on disk {byte_text(self.model_bytes)} of the model, {byte_text(self.temporary_bytes)} shared with "
            f"workers, {byte_text(self.checkpoint_bytes)} of checkpoints"
        )
        for each in self.advice:
            yield f"would fit: {each}"


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans of one problem and of its variants, against one limit.

    Attributes
    ----------
    name : str
        Of the solver.
    solver : Solver
        With its options.
    problem : Problem
    workers : Workers
    memory_limit : int or None
        Bytes; None is what this machine has.
    rates : Rates
        Of the machine.
    """

    name: str
    solver: Solver
    problem: Problem
    workers: Workers
    memory_limit: int | None = None
    rates: Rates = NOMINAL

    @classmethod
    def of(cls, name: str, solver: Solver, problem: Problem, executor: Executor, memory_limit: Any) -> Planner:
        """Return the planner of a fit on an open executor.

        Raises
        ------
        OptionError
            If the limit is no number of bytes.
        """
        limit = None if memory_limit is None else byte_count(memory_limit)
        return cls(name, solver, problem, Workers.of(executor), limit)

    @classmethod
    def on_threads(cls, name: str, solver: Solver, problem: Problem, memory_limit: Any) -> Planner:
        """Return the planner of a fit on the threads of this process, as `of` does of an executor that is open."""
        limit = None if memory_limit is None else byte_count(memory_limit)
        threads = Workers(name="threads", parallelism=cpu_count(), capabilities=Capabilities())
        return cls(name, solver, problem, threads, limit)

    def plan(self) -> Plan:
        """Return the plan, with advice if it does not fit."""
        plan = self.bare()
        return plan if plan.fits else self._with_advice(plan)

    def refuse(self, checkpoint: str | os.PathLike[str] | None = None) -> None:
        """Raise a MemoryLimitError if the fit does not fit, or an OutputError if the disk is too small for checkpoints.

        Within a limit that was given the forecast has to be; within the memory of this machine three quarters of it,
        as the forecast may be off by a quarter.
        """
        plan = self.bare()
        if checkpoint is not None and plan.checkpoint_bytes > (free := free_disk(checkpoint)):
            raise OutputError(
                f"checkpoints of this fit take about {byte_text(plan.checkpoint_bytes)} on the disk, and "
                f"{byte_text(free)} are free at {os.fspath(checkpoint)}. Make room, name a folder on another disk, or "
                "choose a lower rank or a smaller basis_size."
            )
        share = _CERTAIN if self.memory_limit is None else 1.0
        if not plan.fits and plan.most_bytes * share > plan.memory_limit:
            raise MemoryLimitError(self._with_advice(plan).verdict)

    def bare(self) -> Plan:
        """Return the plan without advice."""
        problem, workers = self.problem, self.workers
        forecast: Forecast = self.solver.forecast(problem, workers, self.rates)
        n_users, n_items = problem.matrix.shape
        return Plan(
            solver=self.name,
            rank=problem.rank if self.solver.uses_rank else 0,
            n_users=n_users,
            n_items=n_items,
            n_stored=problem.matrix.nnz,
            n_blocks=problem.matrix.n_blocks,
            stored=problem.matrix.is_stored,
            executor=workers.name,
            n_workers=workers.parallelism,
            workers_here=workers.here,
            method=forecast.method,
            stages=forecast.stages,
            process_bytes=_DRIVER_BYTES if workers.capabilities.isolated else PROCESS_BYTES,
            worker_process_bytes=WORKER_BYTES if workers.capabilities.isolated else 0,
            model_bytes=forecast.model_bytes,
            temporary_bytes=forecast.temporary_bytes,
            checkpoint_bytes=forecast.checkpoint_bytes,
            memory_limit=usable_memory() if self.memory_limit is None else self.memory_limit,
        )

    # -- what would fit -----------------------------------------------------------------------------------

    def _with_advice(self, plan: Plan) -> Plan:
        return replace(plan, advice=tuple(self._advice(plan)))

    def _advice(self, plan: Plan) -> Iterator[str]:
        """Yield changes that fit, each by itself; the least ones first."""
        fixed = replace(self, memory_limit=plan.memory_limit)
        for text, solver in self.solver.lighter(self.problem):
            if replace(fixed, solver=solver).bare().fits:
                yield text
                break
        for rank in range(self.problem.rank - 1 if self.solver.uses_rank else 0, 0, -1):
            if replace(fixed, problem=replace(self.problem, rank=rank)).bare().fits:
                yield f"rank={rank}"
                break
        yield from fixed._other_workers()
        if not plan.stored and fixed._from_store().fits:
            yield "the matrix in a store: matrix.save(PATH), then UserItemMatrix.open(PATH), or `recscale ingest`"
        yield f"{-(-plan.most_bytes >> 20)}MiB of memory"

    def _other_workers(self) -> Iterator[str]:
        """Yield the most workers that fit, and threads in the place of processes."""
        workers = self.workers
        if workers.here and workers.name in _OWN_WORKERS:
            for count in range(workers.parallelism - 1, 0, -1):
                if replace(self, workers=replace(workers, parallelism=count)).bare().fits:
                    yield f"n_workers={count} for executor {workers.name!r}"
                    break
        if workers.capabilities.isolated and workers.here:
            threads = Workers(name="threads", parallelism=workers.parallelism, capabilities=Capabilities())
            if replace(self, workers=threads).bare().fits:
                yield "executor='threads'"

    def _from_store(self) -> Plan:
        matrix = replace(self.problem.matrix, store="store")
        return replace(self, problem=replace(self.problem, matrix=matrix)).bare()
