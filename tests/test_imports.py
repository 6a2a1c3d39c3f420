"""Importing the package is quick because it imports nothing heavy."""

import subprocess
import sys


def test_importing_the_package_imports_no_engine_and_no_array_library() -> None:
    code = "import sys, recscale_dask; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"distributed", "numba", "pyspark", "dask", "numpy", "scipy", "pyarrow", "sklearn"} & set(found)


def test_every_public_name_is_there() -> None:
    import recscale_dask

    assert all(getattr(recscale_dask, name) is not None for name in recscale_dask.__all__)
    assert set(recscale_dask.__all__) <= set(dir(recscale_dask))
