"""Tuning: `tune` tries options of solvers on a held-out part of the training data, and returns the best."""

from __future__ import annotations

import inspect
import operator
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from recscale_dask.api.executors import ExecutorLike
from recscale_dask.api.fitting import as_matrix, duplicates_of, factorize
from recscale_dask.api.judging import doubt_of_values, evaluate, parsed_metrics
from recscale_dask.api.plugins import plugin_manager
from recscale_dask.api.session import session_of_parts
from recscale_dask.api.study import Study, capped, names_of, plain_space
from recscale_dask.api.validation import HeldOut, held_out, some_users
from recscale_dask.checks import plain, whole_number
from recscale_dask.data.weighting import summarize
from recscale_dask.errors import (
    DoubtfulDataWarning,
    ExecutorUnavailable,
    NotConvergedWarning,
    OptionError,
    RecscaleError,
    TaskNotPortable,
    WorkerLost,
)
from recscale_dask.evaluation.held_out import check_users
from recscale_dask.evaluation.metric import MetricRequest
from recscale_dask.evaluation.tuning import Trial, Tuning
from recscale_dask.execution.contract import Executor
from recscale_dask.execution.events import Observer
from recscale_dask.execution.run import fold_blocks
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorRequest
from recscale_dask.model import sha256_of
from recscale_dask.solvers.base import Solver
from recscale_dask.solvers.space import Choice, Real, Space, Whole
from recscale_dask.types import Aggregation

_NOT_OF_A_TRIAL = (WorkerLost, ExecutorUnavailable, TaskNotPortable)  # the next one would fail too
_ARGUMENTS = ("rank", "weighting", "user_scaling", "item_scaling", "tol")


def tune(
    data: Any,
    test: Any = None,
    *,
    solver: str | Sequence[str] = "svd",
    trials: int = 30,
    metrics: Sequence[str] = ("ndcg@20", "recall@20"),
    space: Mapping[str, Space] | None = None,
    fixed: Mapping[str, Any] | None = None,
    n_users: int | None = 10_000,
    how: str = "random",
    fraction: float = 0.1,
    storage: str | os.PathLike[str] | None = None,
    seed: int = 0,
    refit: bool = True,
    memory_limit: int | str | None = None,
    executor: ExecutorLike | None = None,
    progress: bool | Observer | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Tuning:
    """Return the options of solvers that do best on held-out data, and a model fitted with them.

    Trials are suggested by Optuna's tree-structured Parzen estimator (Bergstra et al., 2011; Akiba et al., 2019), the
    defaults of each solver first. They are run one after another, each on the whole executor, and follow from the data
    and the seed. A trial that fails is recorded with its error, and the next one is run.

    Parameters
    ----------
    data : Interactions, or what `factorize` takes
        Without `test`, a part is held out; it is split in memory.
    test : Interactions, or anything that `read_interactions` takes, optional
        Held-out rows. Choose by a part of the training data, not by the rows that are to judge the final model.
    solver : str or sequence of str
        Of `list_solvers`; of several, which one is chosen too.
    trials : int
        How many in all, those in `storage` among them.
    metrics : sequence of str
        The first one decides.
    space : mapping of str to mapping, optional
        What to try of a solver, by its name, instead of what the solver says (its ``space``): names of options
        to `recscale_dask.solvers.space.Whole`, ``Real`` or ``Choice``.
    fixed : mapping of str to object, optional
        Arguments of `factorize` that all trials have; they are not tried.
    n_users : int, optional
        Most test users to judge by, drawn with the seed; None is all of them.
    how : {"random", "temporal", "leave-one-out", "per-user-random", "per-user-temporal"}
        How to hold out: see `split`.
    fraction : float
        How much; not of ``leave-one-out``.
    storage : path, optional
        A file that keeps the study. Called again with the same arguments it goes on from there, to the same trials as
        if it had not been stopped. It is a journal of Optuna, whose tools can read it.
    seed : int
        Of the split, of the trials and of each fit.
    refit : bool
        Fit the best options to all of the data.
    memory_limit, executor, progress
        See `factorize`.
    on_trial : callable, optional
        Gets each `Trial` when it has ended.

    Returns
    -------
    Tuning
        With the best `options`, all `trials`, and the `model`.

    Raises
    ------
    PackageMissing
        If Optuna is not installed.
    CheckpointError
        If `storage` holds a study of other data or options.
    OptionError, DataError, UnknownNameError
        If an argument cannot work, or every trial failed: the error of the first.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise OptionError("there are no metrics to tune by; name some, the one that decides first")
    whole_number(trials, "trials")
    if n_users is not None:
        whole_number(n_users, "n_users")
    judges = parsed_metrics(names)
    constant = plain({"seed": seed, **(fixed or {})})
    solvers = {name: plugin_manager().resolve("solvers", name) for name in names_of(solver)}
    if not solvers:
        raise OptionError("there are no solvers to tune; name one")
    # One matrix is for all of them: what they do not agree on is as it is by default.
    ways = {duplicates_of(name) for name in solvers}
    duplicates: Aggregation = ways.pop() if len(ways) == 1 else "sum"
    known = held_out(data, test, how=how, fraction=fraction, seed=seed, duplicates=duplicates)
    known = replace(known, matrix=known.matrix.ready(), test=some_users(known.test, n_users, seed))
    check_users(known.matrix.users, known.test)
    if strangers := sorted((space or {}).keys() - solvers.keys()):
        raise OptionError(
            f"space names {', '.join(map(repr, strangers))}, and the solvers that are tuned are {', '.join(solvers)}"
        )
    for name, target in solvers.items():
        _check_fixed(name, target, constant)
    spaces = {name: _space(target, (space or {}).get(name), constant, known) for name, target in solvers.items()}
    study = Study(
        spaces,
        {name: _defaults(target, spaces[name], constant) for name, target in solvers.items()},
        fixed=constant,
        smaller_is_better=(smaller := judges[0].smaller_is_better),
        seed=seed,
        storage=storage,
        identity={
            "data": _fingerprint(known),
            "metrics": names,
            "spaces": {name: plain_space(each) for name, each in spaces.items()},
            "fixed": constant,
        },
    )
    matrix = known.matrix
    request = ExecutorRequest(
        purpose="fit", n_users=matrix.shape[0], n_items=matrix.shape[1], n_stored=matrix.nnz, rank=64
    )
    with session_of_parts(executor, request, progress) as opened:
        runner = _Runner(known, names, constant, memory_limit, opened, progress, judges)
        while (number := len(study.trials)) < trials:
            asked, options = study.ask()
            same = next((each for each in study.trials if each.options == options), None)
            # A solver with nothing to try, such as popularity, is suggested as often as others.
            trial = runner.run(number, options) if same is None else replace(same, number=number, seconds={"fit": 0.0})
            study.tell(asked, trial, None if trial.error else trial.metrics[names[0]])
            if on_trial is not None:
                on_trial(trial)
        ended = study.trials[:trials]
        if all(trial.error for trial in ended):
            raise OptionError(f"all {len(ended)} trials failed, the first one so: {ended[0].error}")
        found = Tuning(
            trials=tuple(ended), metric=names[0], smaller_is_better=smaller, fixed=constant, n_users=known.test.n_users
        )
        if refit:
            everything = known.matrix if test is not None else as_matrix(data, duplicates)
            limits: dict[str, Any] = {"memory_limit": memory_limit, "executor": opened, "progress": progress}
            found = replace(found, model=factorize(everything, **found.options, **limits))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Runner:
    """What all trials of a study share."""

    known: HeldOut
    metrics: list[str]
    fixed: Mapping[str, Any]
    memory_limit: int | str | None
    executor: Executor
    progress: bool | Observer | None
    judges: Sequence[MetricRequest]
    told: list[str] = field(default_factory=list)

    def run(self, number: int, options: dict[str, Any]) -> Trial:
        """Fit and judge; an error of the solver is a trial that failed."""
        start = time.perf_counter()
        where: dict[str, Any] = {"executor": self.executor, "progress": self.progress}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotConvergedWarning)
                warnings.simplefilter("ignore", DoubtfulDataWarning)  # told once, below
                arguments = {**self.fixed, **options}
                model = factorize(self.known.matrix, **arguments, **where, memory_limit=self.memory_limit)
                fitted = time.perf_counter()
                found = evaluate(model, self.known.test, metrics=self.metrics, **where)
        except _NOT_OF_A_TRIAL:
            raise
        except Exception as error:
            kind = "" if isinstance(error, RecscaleError) else f"{type(error).__name__}: "
            seconds = {"fit": time.perf_counter() - start}
            return Trial(number=number, options=options, metrics={}, seconds=seconds, error=f"{kind}{error}")
        if not self.told and (doubt := doubt_of_values(model, self.judges)) is not None:
            self.told.append(doubt)
            warnings.warn(doubt, DoubtfulDataWarning, stacklevel=3)
        seconds = {"fit": fitted - start, "evaluate": time.perf_counter() - fitted}
        converged = model.certificate is None or model.certificate.converged
        return Trial(number=number, options=options, metrics=found.metrics, seconds=seconds, converged=converged)


def _check_fixed(name: str, target: type[Solver], fixed: Mapping[str, Any]) -> None:
    """Raise an OptionError for what a fit does not take, before the first trial."""
    own = {each.name for each in fields(target)}  # type: ignore[arg-type]
    unknown = sorted(fixed.keys() - {*own, *_ARGUMENTS, "seed"})
    if unknown:
        raise OptionError(
            f"solver {name!r} has no option {', '.join(unknown)} to fix; there are: "
            f"{', '.join(sorted({*own, *_ARGUMENTS}))}"
        )


def _space(target: type[Solver], asked: Space | None, fixed: Mapping[str, Any], known: HeldOut) -> Space:
    """Return what is tried of a solver: what it says, or what was asked for, without what is fixed."""
    space = target.space if asked is None else asked
    if wrong := [name for name, values in space.items() if not isinstance(values, Whole | Real | Choice)]:
        raise OptionError(
            f"what to try of {wrong[0]} is a Whole, Real or Choice of recscale_dask.solvers.space, such as "
            f"Choice((2, 4)); got {space[wrong[0]]!r}"
        )
    own = {each.name for each in fields(target)}  # type: ignore[arg-type]
    if unknown := sorted(space.keys() - {*own, *_ARGUMENTS}):
        raise OptionError(
            f"{target.__name__} has no option {', '.join(unknown)} to try; there are: "
            f"{', '.join(sorted({*own, *_ARGUMENTS}))}"
        )
    free = {name: values for name, values in space.items() if name not in fixed}
    return capped(free, {"rank": max(1, min(known.matrix.shape) - 1)})


def _defaults(target: type[Solver], space: Space, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of what is tried of a solver, as near as its space has them."""
    own = target()
    arguments = inspect.signature(factorize).parameters
    defaults: dict[str, Any] = {}
    for name, values in space.items():
        if not values.applies({**fixed, **defaults}):
            continue
        value = getattr(own, name) if hasattr(own, name) else arguments[name].default
        if isinstance(values, Whole) and value is not None:
            value = min(max(value, values.low), values.high)
        if _contains(values, value):
            defaults[name] = value
    return defaults


def _contains(values: Any, value: Any) -> bool:
    if hasattr(values, "values"):
        return value in values.values
    return isinstance(value, int | float) and not isinstance(value, bool) and values.low <= value <= values.high


def _fingerprint(known: HeldOut) -> str:
    """Return a hash of both sets: that a study is of the same data."""
    with SerialExecutor() as here:
        train = fold_blocks(
            here, summarize, known.matrix.sources, combine=operator.add, label="fingerprint"
        ).digest.hex()
    test = known.test.sorted()
    columns = [each for each in (test.user_codes, test.item_codes, test.values) if each is not None]
    parts = [train, sha256_of(*columns), test.users.fingerprint(), test.items.fingerprint()]
    return " ".join(part[:16] for part in parts)
