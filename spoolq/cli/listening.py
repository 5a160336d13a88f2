"""The address that a command listens on."""

from __future__ import annotations

import socket

from spoolq.cli.faults import Fault


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to it, which doesn't listen yet; port 0: any free one. Raises Fault where it can't be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise Fault(
            f"can't listen on {host}, port {port}: {error.strerror or error}; name another with --port or --host"
        ) from error
    return listener


def shown(listener: socket.socket) -> str:
    """Its address and port, as they stand in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
