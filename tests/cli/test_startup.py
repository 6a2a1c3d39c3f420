"""`recscale --help` is quick because it imports nothing heavy."""

import resource
import subprocess
import sys

HEAVY = {"distributed", "numba", "pyspark", "dask", "numpy", "scipy", "pyarrow", "pandas"}
HELP = """
import sys
from recscale_dask.cli.main import app
app(["--help"], standalone_mode=False)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_help_imports_no_engine_and_no_array_library_in_half_a_second() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "recommend" in found
    assert not HEAVY & set(found.splitlines()[-1].split())
    # Of the processor, not of the clock, as others may be at work on the machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_the_console_command_is_installed() -> None:
    command = [sys.executable, "-c", "from recscale_dask.cli.main import run; run()", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("recscale ")
