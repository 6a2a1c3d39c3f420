"""Large results as files in a folder that workers and driver share: what travels is a receipt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from recscale_dask.execution.contract import Outcome, unportable
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.sealed import Sealed
from recscale_dask.execution.shared_file import FileRecipe

WORTH_MAPPING = 1 << 20
"""Bytes from which on a mapped file costs less than the way through an engine."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Says where a value is."""

    file: FileRecipe


def deposited(outcome: Outcome, blank: FileRecipe | None) -> Outcome:
    """Return the outcome with a receipt in the place of a large value, which goes into the blank if there is one."""
    if blank is None or outcome.value is None:
        return outcome
    if Sealed.of(outcome.value).nbytes < WORTH_MAPPING:
        return outcome
    try:
        file = blank.write(outcome.value)
    except OSError:
        return outcome  # a full disk: the value goes the other way
    return outcome if file is None else replace(outcome, value=Receipt(file))


def collected(outcome: Outcome, blank: FileRecipe | None = None, exchange: Exchange | None = None) -> Outcome:
    """Return the outcome with the value that `deposited` left in a file.

    It is lost if that is gone, and not portable if it does not load here.
    The exchange gets the blank back: as soon as the value is used no more, or at once if it is not in it.
    """
    give_back = None if exchange is None or blank is None else partial(exchange.give_back, blank.path)
    if isinstance(outcome.value, Receipt):
        try:
            return replace(outcome, value=outcome.value.file.load(give_back))
        except FileNotFoundError as error:
            outcome = Outcome(outcome.index, error=f"a result was lost ({error})", lost=True)
        except Exception as error:  # it does not load here; its file goes back with what was mapped of it
            return unportable(outcome.index, error)
    if give_back is not None:
        give_back()
    return outcome
