"""Matrix-factorization recommenders at any scale: certified sparse SVD on Dask blocks, on any executor.

Names are loaded on first use, so that importing the package stays fast.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recscale_dask.api.advising import advise_rank
    from recscale_dask.api.executors import open_executor
    from recscale_dask.api.factor_model import FactorModel, load_model
    from recscale_dask.api.fitting import factorize, plan, svds
    from recscale_dask.api.ingesting import ingest, plan_ingest
    from recscale_dask.api.judging import compare, evaluate
    from recscale_dask.api.plugins import list_executors, list_metrics, list_solvers
    from recscale_dask.api.reading import read_interactions
    from recscale_dask.api.reporting import report
    from recscale_dask.api.truncated_svd import TruncatedSVD
    from recscale_dask.api.tuning import tune
    from recscale_dask.data.interactions import Interactions
    from recscale_dask.data.matrix import UserItemMatrix
    from recscale_dask.errors import (
        DoubtfulDataWarning,
        NotConvergedWarning,
        RecscaleError,
        SeenTestWarning,
        UnknownIdWarning,
        VersionsDifferWarning,
    )
    from recscale_dask.evaluation.split import split

__version__ = "0.1.0"

_HOMES = {
    "DoubtfulDataWarning": "errors",
    "FactorModel": "api.factor_model",
    "Interactions": "data.interactions",
    "NotConvergedWarning": "errors",
    "RecscaleError": "errors",
    "SeenTestWarning": "errors",
    "TruncatedSVD": "api.truncated_svd",
    "UnknownIdWarning": "errors",
    "VersionsDifferWarning": "errors",
    "UserItemMatrix": "data.matrix",
    "advise_rank": "api.advising",
    "compare": "api.judging",
    "evaluate": "api.judging",
    "factorize": "api.fitting",
    "ingest": "api.ingesting",
    "list_executors": "api.plugins",
    "list_metrics": "api.plugins",
    "list_solvers": "api.plugins",
    "load_model": "api.factor_model",
    "open_executor": "api.executors",
    "plan": "api.fitting",
    "plan_ingest": "api.ingesting",
    "read_interactions": "api.reading",
    "report": "api.reporting",
    "split": "evaluation.split",
    "svds": "api.fitting",
    "tune": "api.tuning",
}

__all__ = [
    "DoubtfulDataWarning",
    "FactorModel",
    "Interactions",
    "NotConvergedWarning",
    "RecscaleError",
    "SeenTestWarning",
    "TruncatedSVD",
    "UnknownIdWarning",
    "UserItemMatrix",
    "VersionsDifferWarning",
    "advise_rank",
    "compare",
    "evaluate",
    "factorize",
    "ingest",
    "list_executors",
    "list_metrics",
    "list_solvers",
    "load_model",
    "open_executor",
    "plan",
    "plan_ingest",
    "read_interactions",
    "report",
    "split",
    "svds",
    "tune",
]
if find_spec("sklearn") is None:  # `import *` takes what works; asking for it by name says what to install
    __all__.remove("TruncatedSVD")


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
