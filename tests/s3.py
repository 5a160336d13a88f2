"""An S3 server over real HTTP, in this process, on a free port of 127.0.0.1: stopped, and started again with what it held."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest

from tests.servers import held_port

BUCKET = "failures"


class S3:
    """moto's server. What it holds lives in this process, so it outlives a stop."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._held = held_port()  # also while it is stopped, nobody else comes to listen there
        self.port = self._held.getsockname()[1]
        self._make = lambda: ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server: Any = None
        self.start()

    def start(self) -> None:
        """Listen, unless it does."""
        if self._server is not None:
            return
        self._server = self._make()
        self._server.start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.stop()
            self._server._server.server_close()  # moto leaves it listening
            self._server = None

    def clear(self, *, make: bool = True) -> None:
        """Empty, with the one bucket, or without any."""
        backend = self._backend()
        backend.reset()
        if make:
            backend.create_bucket(BUCKET, "us-east-1")

    def objects(self) -> dict[str, bytes]:
        """What is in the bucket, by key."""
        backend = self._backend()
        while True:
            with contextlib.suppress(RuntimeError):  # a key came while they were gone through: the server is another thread
                found = backend.list_objects(backend.get_bucket(BUCKET), None, None, None, None)[0]
                return {key.name: key.value for key in found}

    def environment(self, port: int | None = None) -> dict[str, str]:
        """By which a client finds it, also through a proxy's port."""
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hunter2",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
        }

    def use(self, patch: pytest.MonkeyPatch, port: int | None = None) -> None:
        """Let clients of this process find it."""
        for name, value in self.environment(port).items():
            patch.setenv(name, value)

    def close(self) -> None:
        """End."""
        with contextlib.suppress(Exception):
            self.stop()
        self._held.close()

    @staticmethod
    def _backend() -> Any:
        from moto.s3.models import s3_backends

        return s3_backends["123456789012"]["aws"]
