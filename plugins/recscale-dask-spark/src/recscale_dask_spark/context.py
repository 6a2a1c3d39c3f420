"""Getting hold of a Spark context, and giving back all that one of our own took."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway

from recscale_dask.errors import ExecutorUnavailable
from recscale_dask_spark.health import check

_SECONDS = 5.0  # for a connection to a master, and for Java to end
_QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_LONGEST_SOCKET_FOLDER = 60  # of the 104 bytes (macOS) of a socket's path, Spark's name takes 43


def start_context(
    master: str | None, app_name: str, config: Mapping[str, str], folder: Path, undo: ExitStack
) -> SparkContext:
    """Return a new context, quiet, and on this machine alone without web pages.

    Parameters
    ----------
    master : str, optional
        As Spark wants it; by default what ``spark-submit`` was told, and else all cores of this machine.
    app_name : str
        How Spark's pages call it, unless ``spark-submit`` was told a name.
    config : mapping
        More settings; they win over ours.
    folder : Path
        For what Spark writes; the caller deletes it.
    undo : ExitStack
        Gets what ends the context, and Java if it was started here.

    Raises
    ------
    ExecutorUnavailable
        If Java is missing, nobody answers at the master, or the context does not start.
    """
    submitted = is_submitted()
    reason = "" if submitted else check()
    if reason:
        raise ExecutorUnavailable(f"executor 'spark': {reason}")
    told = _told_to_submit() if submitted else {}
    master = master or told.get("spark.master", "local[*]")
    _reach(master)
    settings = {**_settings(master, app_name, folder), **told, "spark.master": master, **config}
    log = folder / "java.log"
    try:
        with _as_it_was():
            conf = SparkConf(loadDefaults=False)
            for key, value in settings.items():
                conf.set(key, value)
            if SparkContext._gateway is None:
                undo.callback(end_gateway)
                # Java says a dozen lines at every start; they are kept for the case that it fails.
                with open(log, "wb") as file:
                    gateway = launch_gateway(conf, {"stdout": file, "stderr": file})
                context = SparkContext(conf=conf, gateway=gateway)
            else:
                context = SparkContext(conf=conf)
                if is_local(master):
                    # Workers inherit the environment of Java, which is of when the caller started it.
                    context.environment = {**os.environ, **context.environment}
    except Exception as error:
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        said = next((line for line in lines if "Exception" in line), "nothing about it")
        raise ExecutorUnavailable(
            f"Spark does not start with master {master!r}: {type(error).__name__}: {str(error)[:500]}. "
            f"Look at the master and the config. Java said: {said}"
        ) from error
    undo.callback(_stop, context)
    # Spark's setting for this is read by spark-submit only; a context takes it from the environment.
    context.pythonExec = settings["spark.pyspark.python"]
    return context


def is_submitted() -> bool:
    """Return whether ``spark-submit`` started this program: there is a Java process with settings then."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _told_to_submit() -> dict[str, str]:
    """Return the settings that ``spark-submit`` was given, in its arguments or files."""
    with _as_it_was():
        SparkContext._ensure_initialized()
        return dict(SparkConf(loadDefaults=True).getAll())


def _settings(master: str, app_name: str, folder: Path) -> dict[str, str]:
    """Return what we set of our own accord."""
    settings = {
        "spark.app.name": app_name,
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        # Results of a few batches are all there is at a time, and blocks bound them.
        "spark.driver.maxResultSize": "0",
        "spark.driver.memory": "2g",
        "spark.local.dir": str(folder),
        # Java deletes its temporary folders only if it is not killed; there, we do.
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={folder}",
        "spark.pyspark.python": os.environ.get("PYSPARK_PYTHON", sys.executable),
    }
    if is_local(master):
        settings |= {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            # Java only passes bytes on here: a compiler that pays off later costs half of the time to open.
            "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={folder} {_QUICK_JAVA}",
        }
        if len(os.fsencode(folder)) < _LONGEST_SOCKET_FOLDER:
            # Between Java and a Python worker, TCP waits twice for a delayed acknowledgement, of 40 ms each.
            settings["spark.python.unix.domain.socket.enabled"] = "true"
    return settings


def is_local(master: str) -> bool:
    """Return whether a master runs everything on this machine."""
    return master.startswith("local")


def _reach(master: str) -> None:
    """Find out at once what takes Spark a minute: whether any of the masters listens."""
    if not re.match(r"local(\[|$|-cluster\[)|spark://|k8s://|yarn$", master):
        raise ExecutorUnavailable(
            f"{master!r} is no Spark master; expected one such as 'local[2]', 'spark://10.0.0.1:7077', "
            "'k8s://https://10.0.0.1:443' or 'yarn'."
        )
    places = re.findall(r"(?:spark://|,)([^,:/]+):(\d+)", master) if master.startswith("spark://") else []
    reasons = []
    for host, port in places:
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS).close()
        except OSError as error:
            reasons.append(f"{host}:{port}: {error}")
        else:
            return
    if reasons:
        raise ExecutorUnavailable(
            f"nobody answers at {master!r} ({'; '.join(reasons)}). Look at the address, or start one: "
            "sbin/start-master.sh, then sbin/start-worker.sh ADDRESS on each machine."
        )


@contextmanager
def _as_it_was() -> Iterator[None]:
    """Undo what pyspark does to the process when a context starts.

    It sets two variables in the environment, puts a folder on the module path and takes over Ctrl-C,
    which for us closes the iterator of outcomes and so cancels the jobs.
    """
    environment, path = dict(os.environ), list(sys.path)
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        sys.path[:] = path
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _stop(context: SparkContext) -> None:
    with suppress(Exception):
        context.stop()
    context.stop()  # finishes what the first could not if Java is dead


def end_gateway() -> None:
    """End the Java process of this one, unless ``spark-submit`` started it."""
    gateway: Any = SparkContext._gateway
    if gateway is None:
        return
    process: subprocess.Popen[bytes] | None = gateway.proc
    if process is None:  # a program started by spark-submit: Java started us
        return
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(Exception):  # Java may be dead
        gateway.shutdown()
    assert process.stdin is not None
    process.stdin.close()  # Java ends when this pipe does
    try:
        process.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
