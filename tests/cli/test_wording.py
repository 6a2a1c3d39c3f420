"""Errors of the library name arguments of Python; those of the command line name the options of the command."""

from typing import Any

import pytest
import typer.main

from recscale_dask.cli.main import app
from recscale_dask.cli.wording import Wording


def shown(said: str, command: str, **typed: Any) -> str:
    found: Any = typer.main.get_command(app)
    return Wording(found.commands[command], typed).of(said)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("got rank=64. Try rank=39 or less.", "got --rank 64. Try --rank 39 or less."),
        ("memory_limit is a number of bytes; got 'x'", "--memory-limit is a number of bytes; got 'x'"),
        ("delete it, or pass overwrite=True (--overwrite).", "delete it, or pass --overwrite."),
        ("Go on from it with resume=True (--resume), delete it", "Go on from it with --resume, delete it"),
        ("skip them, with unknown='skip' (--skip-unknown).", "skip them, with --skip-unknown."),
        ("no column is called 'usr' (user=); the", "no column is called 'usr' (--user); the"),
        ("choose one with value= (value=False for none).", "choose one with --value (--value False for none)."),
        ("SVDSolver(rank=3)", "SVDSolver(rank=3)"),
        ("n_workers=1 for executor 'threads'", "--option n_workers=1 for executor 'threads'"),
        ("basis_size=96 (more passes)", "--set basis_size=96 (more passes)"),
        ("or executor='threads'.", "or --executor threads."),
        ("tol=0.001 after 3 passes", "--tol 0.001 after 3 passes"),
        ("Look at train.rank=3 and my_rank=3", "Look at train.rank=3 and my_rank=3"),
        ("cannot write /data/rank=3/x: full", "cannot write /data/rank=3/x: full"),
        ("no user is called 'memory_limit'", "no user is called 'memory_limit'"),
        ("the key no_option=3 of a row", "the key no_option=3 of a row"),
    ],
)
def test_arguments_become_options(said: str, expected: str) -> None:
    assert shown(said, "fit", solver="svd") == expected


@pytest.mark.parametrize(
    ("said", "command", "typed", "expected"),
    [
        ("n_users must be at least 1", "advise", {}, "--test-users must be at least 1"),
        ("min_user_interactions must be at least 1", "ingest", {}, "--min-user-interactions must be at least 1"),
        ("min_user_interactions must be at least 1", "fit", {}, "min_user_interactions must be at least 1"),
        ("regularization=-1.0", "fit", {"solver": "als-implicit"}, "--set regularization=-1.0"),
        ("regularization=-1.0", "fit", {"solver": "svd"}, "regularization=-1.0"),
        ("weighting='bm26'", "tune", {"solvers": "svd,gf-cf"}, "--set weighting=bm26"),
        ("threads_per_worker=0", "recommend", {"executor": "dask"}, "--option threads_per_worker=0"),
        ("threads_per_worker=0", "similar", {}, "threads_per_worker=0"),
        ("rank=3", "fit", {"solver": "none", "executor": "none"}, "--rank 3"),
        ("alpha=3 and n_workers=2", "fit", {"solver": "none", "executor": "none"}, "alpha=3 and n_workers=2"),
    ],
)
def test_options_are_those_of_the_command_that_was_typed(
    said: str, command: str, typed: dict[str, Any], expected: str
) -> None:
    assert shown(said, command, **typed) == expected
