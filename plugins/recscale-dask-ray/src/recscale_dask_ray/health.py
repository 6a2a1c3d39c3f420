"""Whether Ray can run here; answers without importing it."""

from __future__ import annotations

import importlib.util


def check() -> str:
    """Return why Ray cannot run here, with the cure, or ``""``."""
    if importlib.util.find_spec("ray") is None:
        return "ray is missing. Run: pip install recscale-dask-ray"
    return ""
