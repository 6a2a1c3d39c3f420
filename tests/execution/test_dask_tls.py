"""A Dask cluster with TLS lets in who shows the right certificate, and tells others at once what is wrong."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Security

import recscale_dask as rs
from recscale_dask.errors import ExecutorUnavailable, OptionError
from recscale_dask.execution.dask import DaskExecutor
from recscale_dask.execution.run import map_blocks

SCRIPT = Path(__file__).parents[2] / "docs" / "deploy" / "dask" / "make_certificates.sh"

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None and not os.environ.get("CI"), reason="there is no openssl to make certificates"
)


def certificates(folder: Path) -> dict[str, str]:
    """Return the options for certificates that the script of the guide makes."""
    subprocess.run(["sh", str(SCRIPT), str(folder)], check=True, capture_output=True)
    names = {"tls_ca_file": "ca.pem", "tls_cert": "cert.pem", "tls_key": "key.pem"}
    return {option: str(folder / name) for option, name in names.items()}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificates(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificates(tmp_path_factory.mktemp("theirs"))


@pytest.fixture(scope="module")
def address(dask_processes: Any, ours: dict[str, str]) -> Iterator[str]:
    options = [part for name, path in ours.items() for part in ("--" + name.replace("_", "-"), path)]
    processes = dask_processes("tls", tuple(options))
    processes.add_worker("--no-nanny")
    security = Security(
        tls_ca_file=ours["tls_ca_file"],
        tls_client_cert=ours["tls_cert"],
        tls_client_key=ours["tls_key"],
        require_encryption=True,
    )
    processes.client(1, security).close()
    yield processes.address
    processes.close()


def refusal(address: str, **options: Any) -> str:
    """Return the sentence of the refusal, which has to come quickly."""
    start = time.monotonic()
    with pytest.raises(ExecutorUnavailable) as caught, DaskExecutor(address, **options):
        pass
    assert time.monotonic() - start < 8
    return str(caught.value)


@pytest.mark.parametrize("shared_files", [None, False])
def test_work_is_done_behind_the_right_certificate(address: str, ours: dict[str, str], shared_files: bool) -> None:
    with rs.open_executor("dask", address=address, shared_files=shared_files, **ours) as executor:
        assert list(map_blocks(executor, np.sqrt, [0.0, 1.0, 4.0], {})) == [0, 1, 2]


def test_own_cluster_can_be_encrypted(ours: dict[str, str]) -> None:
    with DaskExecutor(n_workers=1, **ours) as executor:
        assert executor.client.scheduler.address.startswith("tls://")
        assert list(map_blocks(executor, np.sqrt, [0.0, 1.0, 4.0], {})) == [0, 1, 2]


def test_our_certificate_of_another_authority_is_refused(
    address: str, ours: dict[str, str], theirs: dict[str, str]
) -> None:
    said = refusal(address, **{**theirs, "tls_ca_file": ours["tls_ca_file"]})
    assert "refuses our certificate" in said
    assert "tls_cert signed by the authority" in said


def test_scheduler_of_another_authority_is_not_trusted(address: str, theirs: dict[str, str]) -> None:
    said = refusal(address, **theirs)
    assert "is not one that we trust" in said
    assert "tls_ca_file" in said


def test_address_without_tls_says_which_it_may_be(address: str) -> None:
    assert "its address starts with tls://" in refusal(address.replace("tls://", "tcp://"), timeout=1)


def test_tls_without_certificates_says_what_to_give(address: str) -> None:
    assert "wants TLS, and no certificate is given" in refusal(address)


def test_tls_to_a_scheduler_without_it_says_so(scheduler: str, ours: dict[str, str]) -> None:
    assert "tcp:// address?" in refusal(scheduler.replace("tcp://", "tls://"), **ours)


def test_missing_and_wrong_files_are_refused_before_any_connection(ours: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="tls_cert is missing"):
        DaskExecutor("tls://127.0.0.1:8786", tls_ca_file=ours["tls_ca_file"])
    with pytest.raises(OptionError, match=r"tls_key is .*, where there is no file"):
        DaskExecutor("tls://127.0.0.1:8786", **{**ours, "tls_key": str(tmp_path / "nowhere.pem")})
    with pytest.raises(OptionError, match="cannot be used"):
        DaskExecutor("tls://127.0.0.1:8786", **{**ours, "tls_key": ours["tls_ca_file"]})
    with pytest.raises(OptionError, match="starts with tls://"):
        DaskExecutor("tcp://127.0.0.1:8786", **ours)
    with pytest.raises(OptionError, match="not both"):
        DaskExecutor("tls://127.0.0.1:8786", security=Security(), **ours)
