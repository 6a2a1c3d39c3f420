"""A server on loopback that speaks S3, with a bucket, for data and models that are on no disk of ours."""

import logging
from collections.abc import Iterator

import fsspec
import pytest

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Address of the server; the environment, which workers inherit, says that it is S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield address
    server.stop()


@pytest.fixture(scope="session")
def bucket(server: str) -> str:
    """URL of a bucket."""
    fsspec.filesystem("s3").mkdir("bucket")
    return "s3://bucket"
