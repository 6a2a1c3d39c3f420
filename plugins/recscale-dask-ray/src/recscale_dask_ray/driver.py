"""What the process that is connected to Ray does for the executor: puts values, runs jobs, waits for outcomes.

It is a process of its own because Ray ends the one that is connected to it whenever the node below it dies.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    RayError,
    RaySystemError,
    RayTaskError,
    TaskUnschedulableError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask.execution.contract import Outcome, unportable
from recscale_dask.execution.deposit import deposited
from recscale_dask.execution.shared_file import FileRecipe
from recscale_dask.execution.versions import Versions, versions
from recscale_dask_ray import recall, worker
from recscale_dask_ray.shipment import Shipment

_FIRST_TASK = 60.0  # seconds for a first worker to start


@dataclass(slots=True)
class _Run:
    """A task with its constants, and what of it is under way, by reference."""

    title: str
    work: Any
    constants: tuple[Any, ...]
    running: dict[Any, Shipment] = field(default_factory=dict)


class Driver:
    """Does what the executor asks for, one request at a time.

    Parameters
    ----------
    shared_files : bool
        Whether workers see the driver's files.
    undo : ExitStack
        Gets what is to be done before the connection ends.
    """

    def __init__(self, shared_files: bool, undo: ExitStack) -> None:
        # Ray's own retries would run again what the core counts.
        options = {"num_cpus": 1, "max_retries": 0}
        self._run, self._combine = ray.remote(**options)(worker.run), ray.remote(**options)(worker.combine)
        self._versions = ray.remote(**options)(versions)
        self._shared_files = shared_files
        self._values: dict[str, Any] = {}
        self._runs: dict[str, _Run] = {}
        self._name = uuid.uuid4().hex
        undo.callback(recall.forget, self._name)

    def check(self) -> dict[str, Versions]:
        """Look whether a worker starts, and return the versions that each node's workers have."""
        try:
            found = ray.get(self._versions.remote(), timeout=_FIRST_TASK)
        except GetTimeoutError as error:
            raise ExecutorUnavailable(
                f"no worker of Ray took a first task within {_FIRST_TASK:g} s. Are there free CPUs? See `ray status`."
            ) from error
        except RayError as error:
            raise _cannot_run("a worker of Ray", error) from error
        ids = {
            f"{node['NodeManagerAddress']}, node {node['NodeID'][:8]},": node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        }
        if len(ids) == 1:
            return dict.fromkeys(ids, found)
        refs = {self._ask(node): name for name, node in ids.items()}
        answered, _ = ray.wait(list(refs), num_returns=len(refs), timeout=_FIRST_TASK)
        told = {}
        for ref in answered:
            try:
                told[refs[ref]] = ray.get(ref)
            except (NodeDiedError, TaskUnschedulableError):
                continue  # it left
            except RayError as error:
                raise _cannot_run(f"the Ray worker at {refs[ref]}", error) from error
        return told

    def _ask(self, node: str) -> Any:
        """Ask a node for versions; it takes no CPU, so that one that is busy answers too."""
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        return self._versions.options(num_cpus=0, scheduling_strategy=there).remote()

    def cpus(self) -> int:
        """Return the CPUs of all nodes, as Ray counts them; at least 1."""
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    # -- values ------------------------------------------------------------------------------------------

    def put(self, key: str, file: FileRecipe) -> None:
        """Put the value of a file into Ray's object store."""
        self._values[key] = ray.put(file.load())

    def free(self, key: str) -> None:
        """Let go of a value: Ray frees what nobody refers to."""
        self._values.pop(key, None)

    # -- runs --------------------------------------------------------------------------------------------

    def begin(self, call: str, title: str, work: bytes, keys: tuple[str, ...]) -> None:
        """Take the task of a run, with its constants."""
        self._runs[call] = _Run(title, ray.put(work), tuple(self._values[key] for key in keys))

    def submit(self, call: str, shipments: list[Shipment]) -> None:
        """Give jobs of a run to Ray."""
        run = self._runs[call]
        for each in shipments:
            held = (*run.constants, *(self._values[key] for key in each.keys))
            blank = each.blank if self._shared_files else None
            task = self._run.options(name=run.title)
            ref = task.remote(self._mark(call), each.index, len(run.constants), run.work, each.data, blank, *held)
            run.running[ref] = each

    def add_up(self, call: str, work: bytes, blank: FileRecipe | None) -> None:
        """Have what is under way added up on the workers, neighbours in pairs level by level, to one outcome: 0."""
        run = self._runs[call]
        level = list(run.running)
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            odd = level[-1:] if len(level) % 2 else []
            level = [self._combine.remote(work, left, right) for left, right in pairs] + odd
        run.running = {level[0]: Shipment(0, blank=blank)}

    def wait(self, call: str, patience: float) -> list[Outcome]:
        """Return the outcomes that are there, after a while maybe none."""
        running = self._runs[call].running
        ended, _ = ray.wait(list(running), num_returns=1, timeout=patience)
        if ended:  # all that are ready by now
            ended, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
        return [self._outcome(ref, running.pop(ref)) for ref in ended]

    def end(self, call: str) -> None:
        """Forget a run, and call back what of it is under way."""
        run = self._runs.pop(call, None)
        if run is not None and run.running:
            recall.give_up(self._mark(call))

    def _mark(self, call: str) -> str:
        return f"{self._name}-{call}"

    def _outcome(self, ref: Any, shipment: Shipment) -> Outcome:
        """Return the outcome of a task that ended, a large value in the blank."""
        index = shipment.index
        try:
            return deposited(ray.get(ref), shipment.blank)  # which leaves what the worker deposited as it is
        except RayTaskError as error:  # not of our task, which answers with an outcome: of Ray around it
            return Outcome(index, error=_text(error.cause), traceback=str(error), portable=False)
        except RayError as error:
            if isinstance(error, RaySystemError) and error.traceback_str:  # so Ray says that the result does not load
                reason = f"{type(error.client_exc).__name__}: {error.client_exc}"
                return Outcome(index, error=reason, traceback=error.traceback_str, portable=False)
            return Outcome(index, error=f"a Ray worker died, or an object was lost ({_text(error)})", lost=True)
        except ConnectionError:
            raise
        except Exception as error:  # the result does not load here
            return unportable(index, error)


def _cannot_run(who: str, error: BaseException) -> ExecutorUnavailable:
    return ExecutorUnavailable(
        f"{who} cannot run recscale_dask: {_text(error)}. Install recscale-dask-ray on every node."
    )


def _text(error: BaseException) -> str:
    """Return the beginning of an error."""
    return f"{type(error).__name__}: {str(error)[:300]}"
