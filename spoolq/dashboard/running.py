"""The dashboard's web server as a service: its loop tells systemd that it goes round, and opens log files anew at HUP."""

from __future__ import annotations

import signal
import socket

import uvicorn

from spoolq import logfiles
from spoolq.notifying import Notifier


class Running(uvicorn.Server):
    """Serves until TERM or INT. `where`: its address, for a line of status."""

    def __init__(self, settings: uvicorn.Config, notifier: Notifier, where: str) -> None:
        super().__init__(settings)
        self._notifier, self._where, self._reopen = notifier, where, False

    def obey_hup(self) -> None:
        """Only from the main thread. The handler only notes it: it may have come while the log's lock was held."""
        signal.signal(signal.SIGHUP, lambda number, frame: setattr(self, "_reopen", True))

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
