"""A temporary folder for the tests' own, and Java processes that live for seconds."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _private_temporary_folder() -> Iterator[None]:
    """Keep what Spark writes apart from what the tests of other processes look for in /tmp."""
    before, folder = tempfile.tempdir, Path(tempfile.mkdtemp(prefix="rs-"))  # short: Spark makes sockets in it
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    # A compiler that pays off later is left out.
    os.environ["JDK_JAVA_OPTIONS"] = f"-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir={folder}"
    yield
    tempfile.tempdir = before
    del os.environ["TMPDIR"], os.environ["JDK_JAVA_OPTIONS"]
    shutil.rmtree(folder, ignore_errors=True)
