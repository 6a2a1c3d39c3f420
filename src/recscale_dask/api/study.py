"""A study of Optuna, kept in a file if asked for: what to try next, and what was found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from recscale_dask.differences import differences
from recscale_dask.errors import CheckpointError, OptionError, OutputError, PackageMissing
from recscale_dask.evaluation.tuning import Trial
from recscale_dask.outputs import on_a_disk
from recscale_dask.solvers.space import Choice, Space, Whole

_NAME = "recscale"


class Study:
    """Trials so far, and suggestions for the next one.

    The suggestion for a trial follows from the seed and from the trials before it alone, so that a study that was
    stopped goes on as if it had not been.

    Parameters
    ----------
    spaces : mapping of str to Space
        Solvers, and what to try of each.
    defaults : mapping of str to mapping
        Of each solver the options that are tried first.
    fixed : mapping
        Options that all trials have.
    smaller_is_better : bool
    seed : int
    storage : path, optional
        A file, in the format of Optuna's journal; made if it is not there.
    identity : mapping
        What is tuned, and how: plain values. Those of a study in the file have to be the same.

    Raises
    ------
    PackageMissing
        If Optuna is not installed.
    CheckpointError
        If the file is of another study, or of none.
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        defaults: Mapping[str, Mapping[str, Any]],
        *,
        fixed: Mapping[str, Any],
        smaller_is_better: bool,
        seed: int,
        storage: str | os.PathLike[str] | None,
        identity: Mapping[str, Any],
    ) -> None:
        try:
            import optuna
        except ImportError as error:
            raise PackageMissing("tuning needs Optuna: pip install 'recscale-dask[tune]'") from error
        self._optuna = optuna
        self._spaces, self._defaults, self._fixed, self._seed = spaces, defaults, fixed, seed
        direction = "minimize" if smaller_is_better else "maximize"
        with _quiet(optuna):
            try:
                kept = None if storage is None else optuna.storages.JournalStorage(_journal(optuna, storage))
                self._study = optuna.create_study(
                    study_name=_NAME, storage=kept, direction=direction, load_if_exists=True
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(f"{storage} holds no study of Optuna: {error}. Name another file.") from error
            except OSError as error:
                raise OutputError(f"cannot keep the study in {storage}: {error.strerror or error}") from error
        self._begin(dict(identity), storage)

    def _begin(self, identity: dict[str, Any], storage: Any) -> None:
        identity = json.loads(json.dumps(identity))
        found = self._study.user_attrs.get("identity")
        if found is None:
            self._study.set_user_attr("identity", identity)
        elif found != identity:
            raise CheckpointError(
                f"{storage} is a study of something else: {differences(found, identity)}. Go on with the "
                "same data and options, or name another file."
            )
        for trial in self._in_state("RUNNING"):  # of a process that was stopped
            self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)

    def _in_state(self, name: str) -> list[Any]:
        found: list[Any] = self._study.get_trials(deepcopy=False, states=(self._optuna.trial.TrialState[name],))
        return found

    @property
    def trials(self) -> list[Trial]:
        """Those that ended, failed ones too, in their order."""
        told = [
            each.user_attrs["trial"] for each in self._study.get_trials(deepcopy=False) if "trial" in each.user_attrs
        ]
        return [Trial(**fields, number=number) for number, fields in enumerate(told)]

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return a trial to be told of, and its options."""
        number = len(self.trials)
        # Of its own for each trial, so that it does not matter how many were made by this process.
        seed = int(np.random.default_rng([self._seed, number]).integers(2**31))
        with _quiet(self._optuna):
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            if number < len(self._spaces) and not self._in_state("WAITING"):  # else of a process that was stopped here
                solver = list(self._spaces)[number]
                first = {f"{solver}:{name}": value for name, value in self._defaults[solver].items()}
                self._study.enqueue_trial({"solver": solver, **first})
            asked = self._study.ask()
            solver = asked.suggest_categorical("solver", list(self._spaces))
            chosen: dict[str, Any] = {}
            for name, values in self._spaces[solver].items():
                if values.applies({**self._fixed, **chosen}):
                    chosen[name] = _suggested(asked, f"{solver}:{name}", values)
        return asked, {"solver": solver, **chosen}

    def tell(self, asked: Any, trial: Trial, value: float | None) -> None:
        """Keep what a trial found; None is a failure."""
        fields = {"options": trial.options, "metrics": trial.metrics, "seconds": trial.seconds}
        asked.set_user_attr("trial", {**fields, "error": trial.error, "converged": trial.converged})
        state = self._optuna.trial.TrialState.FAIL if value is None else None
        with _quiet(self._optuna):
            self._study.tell(asked, value, state=state)


def _suggested(asked: Any, name: str, values: Any) -> Any:
    if isinstance(values, Choice):
        return asked.suggest_categorical(name, list(values.values))
    if isinstance(values, Whole):
        return asked.suggest_int(name, values.low, values.high, log=values.log)
    return asked.suggest_float(name, values.low, values.high, log=values.log)


def _journal(optuna: Any, storage: str | os.PathLike[str]) -> Any:
    path = on_a_disk(storage, "a study")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"cannot keep the study in {path}: there is no folder {path.absolute().parent}. Create it.")
    return optuna.storages.journal.JournalFileBackend(str(path))


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from logging what is told here already."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def capped(space: Space, most: Mapping[str, int]) -> Space:
    """Return a space whose whole numbers end where a matrix does, such as the rank."""
    return {
        name: Whole(min(values.low, most[name]), min(values.high, most[name]), values.log, when=values.when)
        if name in most and isinstance(values, Whole)
        else values
        for name, values in space.items()
    }


def plain_space(space: Space) -> dict[str, str]:
    """Return a space as text that tells it from others."""
    return {name: repr(values) for name, values in space.items()}


def names_of(solvers: str | Sequence[str]) -> list[str]:
    """Return names of solvers, each once.

    Raises
    ------
    OptionError
        If several are in one text.
    """
    if isinstance(solvers, str) and "," in solvers:
        raise OptionError(f"several solvers are a list, such as {solvers.split(',')}; got {solvers!r}")
    return [solvers] if isinstance(solvers, str) else list(dict.fromkeys(solvers))
