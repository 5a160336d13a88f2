"""Write-ahead, in the process that enqueues: what it has just spooled is handed over at once, and watched."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from spoolq.drain import Drainer
from spoolq.errors import ConfigError, StoreError
from spoolq.service import Service
from spoolq.store.base import Spool
from spoolq.watch import Watcher

_LOOK = 0.005


class Forwarder:
    """A drainer and a watcher in the background of a process that accepts into its spool."""

    def __init__(self, spool: Spool, drainer: Drainer, watcher: Watcher) -> None:
        self._spool, self._drainer = spool, drainer
        self._behind = False
        self._starting = threading.Lock()
        self._services = (
            Service("spoolq-forwarder", self._turn),
            Service("spoolq-watcher", watcher.turn, quiet=True),
        )

    def wake(self) -> None:
        """There is something to hand over. While there was something before, or the primary is away, the drainer goes by its own
        time. Raises nothing: what was accepted is accepted."""
        if not all(service.running for service in self._services):
            self._start()
        if not self._behind and self._drainer.progress.error is None:
            self._services[0].wake()

    def _start(self) -> None:
        mine = False
        try:
            mine = self._starting.acquire(blocking=False)  # who is here already starts them
            if mine:
                with suppress(RuntimeError):  # no thread can be had now: the next call tries again
                    for service in self._services:
                        if not service.running:
                            service.start()
        finally:
            if mine:
                self._starting.release()

    def _turn(self) -> float:
        delay = self._drainer.turn()
        self._behind = self._spool.waiting(1) > 0
        return delay

    def stop(self, timeout: float) -> None:
        """End, and have handed over what was accepted, where that takes no longer than `timeout` seconds; the rest stays safe
        in the spool, for any other process of this host."""
        until = time.monotonic() + timeout
        with suppress(StoreError, ConfigError):
            while self._drainer.progress.error is None and time.monotonic() < until and self._spool.waiting(1):
                self._services[0].wake()
                time.sleep(_LOOK)
            self._drainer.stop()
            for service in self._services:
                service.stop(max(0.0, until - time.monotonic()))
            self._drainer.leave()
