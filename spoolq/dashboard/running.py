"""The dashboard's web server as a service: its loop tells systemd that it goes round, and opens log files anew at HUP."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from spoolq import logfiles
from spoolq.notifying import Notifier

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE = 3  # seconds for streams that are open when it ends


class Running(uvicorn.Server):
    """Serves until TERM or INT. `where`: its address, for a line of status."""

    def __init__(self, settings: uvicorn.Config, notifier: Notifier, where: str) -> None:
        super().__init__(settings)
        self._notifier, self._where, self._reopen = notifier, where, False

    def obey_hup(self) -> None:
        """Only from the main thread. The handler only notes it: it may have come while the log's lock was held."""
        signal.signal(signal.SIGHUP, lambda number, frame: setattr(self, "_reopen", True))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Told to end by a signal it ends with 0, as other commands do; uvicorn's own raises the signal once more."""
        numbers = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, and it is ready."""
        await super().startup(sockets)
        self._notifier.ready(f"answers at {self._where}")

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's, ten times a second."""
        self._notifier.beat()
        if self._reopen:
            self._reopen = False
            logfiles.reopen()
            self._notifier.reloaded()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        self._notifier.stopping()
        await super().shutdown(sockets)


def run(app: ASGIApp, listener: socket.socket, notifier: Notifier, where: str) -> None:
    """Answer at that socket until TERM, INT or QUIT, and end within `GRACE` seconds. In the main thread."""
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # addresses hold filters, and those may hold what nobody is to read
        server_header=False,
        proxy_headers=False,  # who asks is who connects: headers are anybody's to write
        timeout_graceful_shutdown=GRACE,
        lifespan="off",
        ws="none",
    )
    server = Running(settings, notifier, where)
    server.obey_hup()
    with listener:
        server.run(sockets=[listener])
