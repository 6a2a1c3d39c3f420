"""What is installed here, whether it works, and how to mend what does not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

_PACKAGE = "recscale-dask"
_SPARK = "recscale-dask-spark"
_RAY = "recscale-dask-ray"
_OLDEST_JAVA = 17  # of Spark 4
_PATIENCE = 20  # seconds, for another program to tell its version
_ROOM = 1 << 30  # bytes free, below which arrays are not shared in memory: see execution/machine.py


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What was looked at.
    ok : bool
        Whether it is as it should be.
    found : str
        What is there.
    fix : str
        What to do about it; empty if `ok`.
    needed : bool
        Whether nothing works without it.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = False


def examine() -> list[Check]:
    """Return all checks; none of them raises or starts an engine. Plugins are imported, to see that they can be."""
    core = (check_python, check_packages, check_dask, check_blas, check_numba, check_room)
    extra = (check_remote, check_java, check_spark, check_ray, check_plugins)
    return [check for look in (*core, *extra) for check in _guarded(look, needed=look in core)]


def check_python() -> Iterator[Check]:
    """Look at Python's version."""
    found = f"{platform.python_version()} ({sys.executable})"
    yield _check("Python", sys.version_info >= (3, 11), found, "Install Python 3.11 or later", needed=True)


def check_packages() -> Iterator[Check]:
    """Look at the packages that recscale-dask requires."""
    yield Check(_PACKAGE, True, importlib.metadata.version(_PACKAGE), needed=True)
    yield from _requirements(_PACKAGE, needed=True)


def check_dask() -> Iterator[Check]:
    """Look whether Dask and its scheduler are of one version."""
    found = {name: importlib.metadata.version(name) for name in ("dask", "distributed")}
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    yield _check("Dask", len(set(found.values())) == 1, text, "They have to be equal: pip install -U dask distributed")


def check_remote() -> Iterator[Check]:
    """Look whether URLs of S3 can be reached from here."""
    if not _installed("s3fs"):
        yield Check("s3:// URLs", True, "not to be had, as s3fs is not installed: pip install 'recscale-dask[s3]'")
        return
    yield from _requirements("s3fs", needed=False, only="fsspec")


def check_blas() -> Iterator[Check]:
    """Look at the BLAS libraries of NumPy and SciPy, and how many threads they would use."""
    import scipy.linalg  # noqa: F401 -- loads SciPy's BLAS, and NumPy's
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    found = "; ".join(f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads" for pool in pools)
    fix = "Thread limits cannot be set. Install NumPy and SciPy from PyPI or conda-forge"
    yield _check("BLAS", bool(pools), found or "none that threadpoolctl knows", fix)


def numba_cache() -> Path:
    """Return the folder where compiled functions are kept; it may not be there yet."""
    from recscale_dask.linalg.topk import dot

    compiled: Any = dot
    return Path(compiled.stats.cache_path)


def check_numba() -> Iterator[Check]:
    """Look whether compiled functions can be kept for the next time."""
    name, fix = "Numba's cache", "Set NUMBA_CACHE_DIR to a folder that can be written"
    try:
        folder = numba_cache()
    except RuntimeError as error:  # no folder can be written: Numba then compiles nothing at all
        yield Check(name, False, str(error), fix, needed=True)
        return
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if asked and not folder.absolute().is_relative_to(Path(asked).absolute()):
        yield Check(name, False, f"{folder}, as {asked} (NUMBA_CACHE_DIR) cannot be written", fix)
        return
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    yield _check(name, os.access(existing, os.W_OK), str(folder), f"Every process will compile anew. {fix}")


def check_room() -> Iterator[Check]:
    """Look how much room there is in shared memory and for temporary files."""
    shared, temporary = Path("/dev/shm"), tempfile.gettempdir()
    fix = f"Arrays that processes share go to {temporary}. In a container, give it more: --shm-size=2g"
    if shared.is_dir():
        yield _room("shared memory", str(shared), fix)
    yield _room("temporary files", temporary, "Set TMPDIR to a folder with more room")


def check_java() -> Iterator[Check]:
    """Look for Java, which Spark needs."""
    if not _installed(_SPARK):
        yield Check("Java", True, f"not looked for, as {_SPARK} is not installed")
        return
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    fix = f"Install Java {_OLDEST_JAVA} (apt install openjdk-17-jre-headless) or set JAVA_HOME to one"
    if java is None or not Path(java).exists():
        yield Check("Java", False, f"none{f' at {java}' if java else ''}", fix)
        return
    # openjdk version "17.0.15" 2025-04-15; before it may be what it picked up of the environment
    told = _answer(java, "-version")
    version = re.search(r'^.*version "(?:1\.)?(\d+)[^"]*".*$', told, re.MULTILINE)
    found = f"{_line(version, told)} ({java})"
    yield _check("Java", version is not None and int(version[1]) >= _OLDEST_JAVA, found, fix)


def check_spark() -> Iterator[Check]:
    """Look at what Spark's plugin pins, and at the Python of Spark's workers."""
    if not _installed(_SPARK):
        return
    yield from _requirements(_SPARK, needed=False)
    python = os.environ.get("PYSPARK_PYTHON")
    if not python:
        yield Check("Python of Spark's workers", True, f"{sys.executable}, on this machine (PYSPARK_PYTHON is not set)")
    else:
        told = _answer(python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))")
        version = re.search(r"^\d+\.\d+$", told, re.MULTILINE)
        ours = "{}.{}".format(*sys.version_info)
        fix = f"Set PYSPARK_PYTHON to a Python {ours}, which the driver has"
        same = version is not None and version[0] == ours
        yield _check("Python of Spark's workers", same, f"{_line(version, told)} ({python})", fix)


def check_ray() -> Iterator[Check]:
    """Look at what Ray's plugin pins."""
    if _installed(_RAY):
        yield from _requirements(_RAY, needed=False)


def check_plugins() -> Iterator[Check]:
    """Look at executors, and at plugins that do not load."""
    from recscale_dask.api.plugins import examine, list_broken, list_executors, list_remarks

    examine()
    for each in list_executors():
        needed = each.package == _PACKAGE
        found = each.summary if each.available else each.reason
        yield _check(f"executor {each.name}", each.available, found, f"See the documentation of {each.package}", needed)
    for plugin in list_broken():
        yield Check(f"plugin {plugin.name}", False, plugin.reason, f"Upgrade or uninstall {plugin.bringer}")
    for plugin in list_remarks():
        fix = f"Tell the authors of {plugin.bringer}"
        yield Check(f"plugin {plugin.name}", False, f"works, but {plugin.reason}", fix)


def measure() -> Iterator[Check]:
    """Yield what each executor that works here does in about two seconds, as a check; opens all of them.

    One whose products are not, bit for bit, those of `serial` is not as it should be; one that opens with options only
    is passed over.
    """
    from recscale_dask.api.measuring import measure_executors
    from recscale_dask.api.plugins import list_executors

    expected = ""
    for found in measure_executors([each.name for each in list_executors() if each.available]):
        expected = expected or found.sha256
        same = not found.sha256 or found.sha256 == expected
        text = str(found) if same else f"{found}; its product differs from that of the executors before it"
        fix = "Look at what it says" if found.problem else "Report this to the authors of that executor"
        yield _check(f"speed of {found.executor}", same and not found.problem, text, fix)


def _guarded(look: Callable[[], Iterator[Check]], *, needed: bool) -> Iterator[Check]:
    """Yield the checks of a function; one that raises is a finding too."""
    try:
        yield from look()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        name, fix = look.__name__.removeprefix("check_"), f"Install again: pip install -U {_PACKAGE}"
        yield Check(name, False, found, fix, needed)


def _answer(*command: str) -> str:
    """Return what a program says, on stderr and stdout; or why it cannot be run."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {_PATIENCE} s"
    except OSError as error:
        return f"it does not run: {error.strerror}"
    return ran.stderr + ran.stdout


def _line(match: re.Match[str] | None, told: str) -> str:
    """Return the line that was looked for, or else the first one."""
    if match is not None:
        return match[0]
    return next(iter(told.splitlines()), "no answer")


def _check(name: str, ok: bool, found: str, fix: str, needed: bool = False) -> Check:
    return Check(name, ok, found, "" if ok else fix, needed)


def _installed(package: str) -> bool:
    return next(iter(importlib.metadata.distributions(name=package)), None) is not None


def _requirements(package: str, *, needed: bool, only: str = "") -> Iterator[Check]:
    """Yield a check of each requirement of an installed package, without its extras; or of one of them."""
    for text in importlib.metadata.requires(package) or ():
        wanted = Requirement(text)
        applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if not applies or (only and wanted.name != only):
            continue
        name = wanted.name if needed else f"{wanted.name}, for {package}"
        fix = f"{package} needs {wanted.name}{wanted.specifier}: pip install '{wanted.name}{wanted.specifier}'"
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, False, "not installed", fix, needed)
            continue
        yield _check(name, wanted.specifier.contains(found, prereleases=True), found, fix, needed)


def _room(name: str, folder: str, fix: str) -> Check:
    free = shutil.disk_usage(folder).free
    return _check(name, free > _ROOM, f"{free / 2**30:.1f} GiB free in {folder}", fix)
