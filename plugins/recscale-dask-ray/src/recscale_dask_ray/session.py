"""Getting hold of Ray in the process that drives it, and what to say if that fails."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recscale_dask.errors import ExecutorUnavailable

_SECONDS = 5.0  # for a connection to a cluster
_CLIENT = "ray://"
_MODE = "RAY_AUTH_MODE"
_TOKEN = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or ~/.ray/auth_token."
_JOINING = (
    "Look at the address, or start one: `ray start --head`, then `ray start --address=ADDRESS` on each machine. "
    f"If it asks for a token, {_TOKEN}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Which Ray to use.

    Attributes
    ----------
    address : str or None
        Of a cluster that there is; None: one of our own.
    runtime_env : dict or None
        For workers of a cluster.
    token : bool
        Show the user's token to a cluster.
    n_workers : int
        Of a Ray of our own.
    object_store_bytes : int
        Of a Ray of our own.
    folder : str
        For the sockets and logs of a Ray of our own.
    """

    address: str | None = None
    runtime_env: dict[str, Any] | None = None
    token: bool = False
    n_workers: int = 1
    object_store_bytes: int = 0
    folder: str = ""


class TokenAsked(ExecutorUnavailable):
    """The cluster asks for a token that it was not shown."""


def enter(place: Place, undo: ExitStack) -> None:
    """Connect this process to the Ray at a place, or start one; `undo` gets what ends that.

    Raises
    ------
    ExecutorUnavailable
        If nobody answers there, or it does not start; `TokenAsked` if it asks for one.
    """
    _authenticate(place)
    if place.address is None:
        where, advice = "Ray does not start here", "Look at memory, shared memory and process limits."
        options: dict[str, Any] = {
            "address": "local",
            "num_cpus": place.n_workers,
            "object_store_memory": place.object_store_bytes,
            "include_dashboard": False,
            "_temp_dir": place.folder,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        _knock(place.address)
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # one a second, to connect
        where, advice = f"there is no Ray cluster at {place.address!r}", _JOINING
        options = {"address": place.address, "runtime_env": place.runtime_env}
    import ray  # after that: it reads the environment

    undo.callback(ray.shutdown)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:
        found = f"{type(error).__name__}: {str(error)[:500]}"
        if "AuthToken" in f"{error} {error.__cause__}":
            raise TokenAsked(f"the Ray cluster at {place.address!r} asks for a token: {_TOKEN}") from error
        raise ExecutorUnavailable(f"{where}: {found}. {advice}") from error


def _knock(address: str) -> None:
    """Raise an error soon if nobody is at an address: Ray would try for half a minute."""
    if address.startswith(_CLIENT) and importlib.util.find_spec("grpc") is None:
        raise ExecutorUnavailable(
            f"{address!r} is for Ray Client, which needs grpcio. Run: pip install 'recscale-dask-ray[client]'"
        )
    host, port = _host_and_port(address)
    if port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        raise ExecutorUnavailable(f"nobody answers at {address!r} ({error}). {_JOINING}") from error


def _host_and_port(address: str) -> tuple[str, int | None]:
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    return host, int(port) if host and port.isdecimal() else None


# -- tokens ------------------------------------------------------------------------------------------


def _authenticate(place: Place) -> None:
    """Say how we show who we are, if the environment does not: a Ray of our own gets a token that nobody else has."""
    if _MODE in os.environ:
        return
    if place.address is None:
        os.environ.update({_MODE: "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    elif place.token:
        os.environ[_MODE] = "token"


def tries(place: Place) -> list[Place]:
    """Return the place as often as it is worth to try, without and with the user's token.

    `ray start` has a cluster ask for it if there is one, and `ray.init` shows it to ``"auto"`` only. We show it to
    addresses of this machine. Not at once: who shows one also asks for one, and nodes without cannot reach us.
    Nodes do not call a Ray Client, whose proxy does not tell what it asks for.
    """
    if place.address is None or _MODE in os.environ:
        return [place]
    if not (_is_here(_host_and_port(place.address)[0]) and _has_token()):
        return [place]
    shown = replace(place, token=True)
    return [shown] if place.address.startswith(_CLIENT) else [place, shown]


def _is_here(host: str) -> bool:
    """Return whether a host is this machine: nobody can listen at the address of another."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host.strip("[]"), 0))
    except OSError:
        return False
    return bool(host)


def _has_token() -> bool:
    paths = [os.environ.get("RAY_AUTH_TOKEN_PATH"), Path.home() / ".ray" / "auth_token"]
    return "RAY_AUTH_TOKEN" in os.environ or any(path is not None and Path(path).is_file() for path in paths)
