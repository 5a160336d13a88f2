"""What systemd is told of a service, by datagrams to its socket (sd_notify(3)): that it is ready, how it is, that it ends, and,
for its watchdog, that its main loop goes round.

Who beats is the main loop itself: one that is stuck, on a disk that hangs or in C code that holds the interpreter, beats no more
and is started anew; one whose jobs take hours, or whose Redis is away, goes round all the while.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

_LONGEST = 200  # characters of a status


class Notifier:
    """Tells the socket at `address` (a leading `@` for one without a file). Neither waits nor raises: a service goes on when
    nobody listens. `watchdog`: within how many seconds a beat is expected, None where there is no watchdog.

    Safe to share between threads; a fork inherits it, and systemd hears the main process alone.
    """

    def __init__(self, address: str, watchdog: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._every = None if watchdog is None else watchdog / 3
        self._clock, self._beaten, self._said = clock, float("-inf"), ""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)

    @property
    def listens(self) -> bool:
        """Whether somebody asked to be told: no status need be found out for nobody."""
        return self._socket is not None

    def ready(self, status: str = "") -> None:
        """It does what it is there for, from now on."""
        self._send("READY=1", *self._status(status))

    def status(self, text: str) -> None:
        """How it is, in one line, as `systemctl status` shows it. The same text again is not sent."""
        if said := self._status(text):
            self._send(*said)

    def reloaded(self) -> None:
        """It was told to reload, and has."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._send("READY=1")

    def stopping(self) -> None:
        """It is about to end. From here systemd's TimeoutStopSec runs."""
        self._send("STOPPING=1")

    def beat(self) -> None:
        """The main loop has gone round. Sent three times within the watchdog's span, however often it is called."""
        if self._every is None or (now := self._clock()) - self._beaten < self._every:
            return
        self._beaten = now
        self._send("WATCHDOG=1")

    @property
    def pause(self) -> float:
        """Seconds for which a main loop may sleep between two beats."""
        return 3600.0 if self._every is None else self._every

    def _status(self, text: str) -> tuple[str, ...]:
        line = " ".join(text.split())[:_LONGEST]
        if not line or line == self._said:
            return ()
        self._said = line
        return (f"STATUS={line}",)

    def _send(self, *lines: str) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(errors="replace"), self._address)


SILENT = Notifier("")
"""For who was not started by systemd."""
