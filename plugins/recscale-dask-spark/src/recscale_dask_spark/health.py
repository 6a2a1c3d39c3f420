"""Whether Spark can run here; answers without importing pyspark or starting Java."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from pathlib import Path

OLDEST_JAVA = 17
"""What Spark 4 needs."""

_CURE = (
    f"Install Java {OLDEST_JAVA} or newer (apt install openjdk-17-jre-headless, brew install openjdk@17, "
    "conda install -c conda-forge openjdk=17), or point JAVA_HOME at it."
)


def check() -> str:
    """Return why Spark cannot run here, with the cure, or ``""``."""
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is missing. Run: pip install recscale-dask-spark"
    java = _java()
    if java is None:
        return f"Java is missing: no `java` on PATH, and JAVA_HOME is not set. {_CURE}"
    if not os.access(java, os.X_OK):
        return f"JAVA_HOME is {os.environ['JAVA_HOME']!r}, where there is no bin/java. {_CURE}"
    version = _version(java)
    if version is not None and version < OLDEST_JAVA:
        return f"Java {version} at {java} is too old for Spark. {_CURE}"
    return ""


def _java() -> Path | None:
    """Return the `java` that Spark's scripts would start: JAVA_HOME comes first."""
    home = os.environ.get("JAVA_HOME")
    if home:
        return Path(home, "bin", "java")
    found = shutil.which("java")
    return None if found is None else Path(found)


def _version(java: Path) -> int | None:
    """Return the major version that a Java installation says of itself in its `release` file."""
    try:
        release = (java.resolve().parent.parent / "release").read_text()
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', release, re.MULTILINE)
    return None if match is None else int(match[1])
