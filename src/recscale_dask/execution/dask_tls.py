"""Encrypted connections to a Dask scheduler, and finding out at once why there is none."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from distributed import Security
from distributed.comm.addressing import parse_address, parse_host_port

from recscale_dask.errors import ExecutorUnavailable, OptionError

_SECONDS = 5.0  # for a connection, and for the greeting on it
_GREETING = 8  # bytes that say how long the greeting is

_ADVICE = "Look at the address, or start one: `dask scheduler`, then `dask worker ADDRESS` on each machine."


def make_security(ca_file: str | None, cert: str | None, key: str | None) -> Security | None:
    """Return what these files are good for; None if there are none.

    Parameters
    ----------
    ca_file : str, optional
        Certificate of who signed those of scheduler and workers.
    cert, key : str, optional
        Our own certificate and its key, which may be in the same file.

    Raises
    ------
    OptionError
        If one is missing, or is no certificate or key.
    """
    if ca_file is None and cert is None and key is None:
        return None
    if ca_file is None or cert is None:
        missing = "tls_ca_file" if ca_file is None else "tls_cert"
        raise OptionError(
            f"{missing} is missing: a Dask scheduler with TLS shows a certificate, and wants to see one. Give "
            "tls_ca_file, tls_cert and tls_key (unless the key is in tls_cert)."
        )
    for option, path in (("tls_ca_file", ca_file), ("tls_cert", cert), ("tls_key", key)):
        if path is not None and not Path(path).is_file():
            raise OptionError(f"{option} is {path!r}, where there is no file. Give the path of a PEM file.")
    security = Security(
        tls_ca_file=ca_file,
        tls_client_cert=cert,
        tls_client_key=key,
        tls_scheduler_cert=cert,  # these two for a cluster of our own
        tls_scheduler_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        require_encryption=True,
    )
    try:
        security.get_connection_args("client")
    except (ssl.SSLError, OSError) as error:
        raise OptionError(
            f"the TLS files cannot be used ({error}): {ca_file}, {cert}{f', {key}' if key else ''}. Expected PEM "
            "files, and the key of that certificate."
        ) from error
    return security


def look_at_scheduler(address: str, security: Security | None, timeout: float) -> None:
    """Check that who listens at an address greets as a Dask scheduler does, and accepts our certificate.

    Dask's own Client would wait for ever for who says nothing, and tries a refused certificate again and again
    without saying why.

    Raises
    ------
    ExecutorUnavailable
        If not, saying which side refused what.
    """
    try:
        scheme, location = parse_address(address)
        if scheme not in ("tcp", "tls"):
            return
        place = parse_host_port(location)
        context = _context(address, security) if scheme == "tls" else None
        with socket.create_connection(place, timeout=min(timeout, _SECONDS)) as connection:
            if context is None:
                _expect_greeting(connection, address)
            else:
                _shake_hands(connection, context, address)
    except (OSError, ValueError) as error:
        raise nobody(address, error) from error


def nobody(address: str, error: Exception) -> ExecutorUnavailable:
    """Return the error of an address where nobody answers."""
    return ExecutorUnavailable(f"nobody answers at {address!r} ({error}). {_ADVICE}")


def _context(address: str, security: Security | None) -> ssl.SSLContext:
    # Without options, Dask's own configuration may name the files.
    context: ssl.SSLContext | None = (security or Security()).get_connection_args("client")["ssl_context"]
    if context is None:
        raise ExecutorUnavailable(
            f"the scheduler at {address!r} wants TLS, and no certificate is given. Give tls_ca_file, tls_cert and "
            "tls_key, or security=, or name them in Dask's configuration (distributed.comm.tls)."
        )
    return context


def _shake_hands(plain: socket.socket, context: ssl.SSLContext, address: str) -> None:
    try:
        connection = context.wrap_socket(plain)
    except ssl.SSLCertVerificationError as error:
        raise ExecutorUnavailable(
            f"the certificate that {address!r} shows is not one that we trust ({error.verify_message}). Give the "
            "tls_ca_file of who signed it; if it has run out, renew it."
        ) from error
    except (ssl.SSLError, ConnectionError, TimeoutError) as error:
        raise ExecutorUnavailable(
            f"what answers at {address!r} does not speak TLS as we do ({error}). Is it a tcp:// address?"
        ) from error
    with connection:
        try:
            _expect_greeting(connection, address)
        except (ssl.SSLError, ConnectionError) as error:
            # With TLS 1.3 the other side says only now what it thinks of our certificate.
            raise ExecutorUnavailable(
                f"the scheduler at {address!r} refuses our certificate ({error}). Give a tls_cert signed by the "
                "authority that the scheduler trusts, with its tls_key."
            ) from error


def _expect_greeting(connection: socket.socket, address: str) -> None:
    """Read the size of the greeting, some hundred bytes; text read as a number is far larger."""
    head = b""
    try:
        while len(head) < _GREETING and (more := connection.recv(_GREETING - len(head))):
            head += more
    except TimeoutError:
        pass  # it waits for us to speak
    if len(head) < _GREETING or not 0 < int.from_bytes(head, "little") < 1 << 20:
        hint = (
            "" if isinstance(connection, ssl.SSLSocket) else " If it is one with TLS, its address starts with tls://."
        )
        raise ExecutorUnavailable(f"what answers at {address!r} is no Dask scheduler.{hint} {_ADVICE}")
