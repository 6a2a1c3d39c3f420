"""Errors of the library name arguments of Python; those of the command line name its options."""

import pytest

from recscale_dask.cli.wording import in_options


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("got rank=64. Try rank=39 or less.", "got --rank 64. Try --rank 39 or less."),
        ("memory_limit is a number of bytes; got 'x'", "--memory-limit is a number of bytes; got 'x'"),
        ("delete it, or pass overwrite=True (--overwrite).", "delete it, or pass --overwrite."),
        ("Go on from it with resume=True (--resume), delete it", "Go on from it with --resume, delete it"),
        ("n_workers=1 for executor 'threads'", "--option n_workers=1 for executor 'threads'"),
        ("basis_size=96 (more passes)", "--set basis_size=96 (more passes)"),
        ("or executor='threads'.", "or --executor threads."),
        ("tol=0.001 after 3 passes", "--tol 0.001 after 3 passes"),
        ("min_user_interactions must be at least 1; got 0.", "--min-user-interactions must be at least 1; got 0."),
        ("Look at train.rank=3 and my_rank=3", "Look at train.rank=3 and my_rank=3"),
        ("cannot write /data/rank=3/x: full", "cannot write /data/rank=3/x: full"),
        ("no user is called 'memory_limit'", "no user is called 'memory_limit'"),
    ],
)
def test_arguments_become_options(said: str, shown: str) -> None:
    assert in_options(said) == shown
