"""Messages of the library, which name arguments of Python, in the words of the command line."""

from __future__ import annotations

import re

_EXECUTOR_OPTIONS = ("n_workers", "threads_per_worker", "address", "master", "shared_files", "timeout")
_SOLVER_OPTIONS = ("maxiter", "block_size", "basis_size", "center")
_OPTIONS = (
    "allow", "checkpoint", "deny", "duplicates", "executor", "format", "item", "item_scaling", "k", "memory_limit",
    "metrics", "min_item_interactions", "min_score", "min_user_interactions", "overwrite", "rank", "resume", "seed",
    "since", "solver", "threshold", "time", "tol", "until", "user", "user_scaling", "users", "value", "warm_start",
    "weighting",
)  # fmt: skip
_FLAGS = ("overwrite", "resume")
_VALUE = r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;:()]*[^\s,;:.()])?"
_BOTH = re.compile(r"\b\w+=\w* \((--[\w-]+)\)")  # overwrite=True (--overwrite)
_GIVEN = re.compile(rf"(?<![\w.(/-])(?P<name>{'|'.join((*_OPTIONS, *_EXECUTOR_OPTIONS, *_SOLVER_OPTIONS))})={_VALUE}")
_NAMED = re.compile(rf"(?<![\w=.'(/-])(?P<name>{'|'.join(name for name in _OPTIONS if '_' in name)})(?![\w='.(/])")


def in_options(message: str) -> str:
    """Return a message with ``--memory-limit 2GiB`` in the place of ``memory_limit='2GiB'``.

    Options of executors and solvers become ``--option n_workers=2`` and ``--set block_size=8``.
    """
    message = _BOTH.sub(r"\1", message)
    message = _GIVEN.sub(_option, message)
    return _NAMED.sub(lambda found: _flag(found["name"]), message)


def _option(found: re.Match[str]) -> str:
    name, value = found["name"], (found["value"] or "").strip("'\"")
    if name in _EXECUTOR_OPTIONS or name in _SOLVER_OPTIONS:
        return f"--{'set' if name in _SOLVER_OPTIONS else 'option'} {name}={value}"
    return _flag(name) if name in _FLAGS or not value else f"{_flag(name)} {value}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
