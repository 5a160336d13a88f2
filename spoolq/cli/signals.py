"""What a signal asks of `spoolq drain`. A handler only notes it; the loop does it, where locks and files may be touched."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from spoolq import logfiles, stacks
from spoolq.mailbox import Mailbox
from spoolq.notifying import SILENT, Notifier

if TYPE_CHECKING:
    from spoolq.cli.orphans import Orphans
    from spoolq.drain import Drainer

log = logging.getLogger("spoolq.drain")
asked_for = logging.getLogger("spoolq.status")
asked_for.setLevel("INFO")  # said whatever the command's own level: somebody wants to know


_TELLS = 5.0  # seconds between two words to systemd


class Signals:
    """TERM, INT and QUIT stop after the batch; TSTP and USR2 pause, CONT resumes; HUP reopens log files; TTIN says the stacks of
    all threads and a line of `status`. `notifier` is told of each step, and now and then that line."""

    def __init__(self, drainer: Drainer | Orphans, status: Callable[[], str], notifier: Notifier = SILENT) -> None:
        self._drainer, self._status, self._notifier = drainer, status, notifier
        self._tell_at = float("-inf")
        self.stopping = self.paused = False
        self._woken = Mailbox[bool]()
        self._reopen = self._say = False

    def stop(self, *_: object) -> None:
        """Finish the batch and end."""
        self.stopping = True
        self._drainer.stop()
        self._woken.put(True)

    def pause(self, *_: object) -> None:
        """Move nothing until `resume`."""
        self.paused = True
        self._drainer.hold()
        self._woken.put(True)

    def resume(self, *_: object) -> None:
        """Go on."""
        self.paused = False
        self._drainer.hold(False)
        self._woken.put(True)

    def reopen(self, *_: object) -> None:
        """Write to log files under their names again, soon."""
        self._reopen = True
        self._woken.put(True)

    def say(self, *_: object) -> None:
        """Say how far it has come, soon."""
        self._say = True
        self._woken.put(True)

    def wait(self, seconds: float) -> None:
        """Sleep until a signal says otherwise."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._woken.take(min(left, self._notifier.pause)):
            self.heed()
        self.heed()

    def heed(self) -> None:
        """Do what HUP and TTIN asked for. Between two steps: not in a handler, which may hold the log's own lock."""
        self._notifier.beat()
        if self._notifier.listens and time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + _TELLS
            self._notifier.status(f"{self._status()}{', paused by a signal' if self.paused else ''}")
        if self._reopen:
            self._reopen = False
            count = logfiles.reopen()
            log.info("SIGHUP: %s", f"{count} log file(s) reopened" if count else "no log file to reopen, it goes on")
            self._notifier.reloaded()
        if self._say:
            self._say = False
            asked_for.info("drain: %s%s", self._status(), ", paused by a signal" if self.paused else "")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the signals inside; the old handlers come back at the end."""
        handlers = {
            **dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), self.stop),
            **dict.fromkeys((signal.SIGTSTP, signal.SIGUSR2), self.pause),
            signal.SIGCONT: self.resume,
            signal.SIGHUP: self.reopen,
            signal.SIGTTIN: self.say,
        }
        old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        stacks.listen(signal.SIGTTIN)
        try:
            yield
        finally:
            stacks.end()
            for number, handler in old.items():
                signal.signal(number, handler)
