"""How the processes of a pool are started: as forks of one that has imported the application, or anew."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from spoolq import signals
from spoolq.errors import ConfigError, NoPlace
from spoolq.pool import BAD_CONFIGURATION, CANT_CREATE, Role
from spoolq.worker import Worker

log = logging.getLogger("spoolq.pool")

_LATER = set(signals.OBEYED) - {signal.SIGTERM, signals.NOW}
"""What would stop or kill an interpreter that still imports the application. The other two may: it holds nothing."""


class Seat(NamedTuple):
    """What a process of the pool is told at its start: its role and key, the pool's key, a descriptor that is at its end when the
    pool's own process has ended, and whether it begins paused."""

    role: Role
    key: str
    pool: str
    parent: int
    paused: bool = False


def encode(seat: Seat) -> str:
    """For a command line."""
    return json.dumps(seat)


def decode(text: str) -> Seat:
    """What `encode` made. Raises ValueError."""
    try:
        return Seat(*json.loads(text))
    except TypeError as error:
        raise ValueError(text) from error


def serve(build: Callable[[Seat], Worker], seat: Seat) -> int:
    """Be a process of the pool, until its end. Returns the exit code."""
    worker = build(seat)
    worker.install_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.OBEYED)
    if seat.paused:
        worker.pause()
    return worker.run()


@dataclass(frozen=True, slots=True)
class Fork:
    """Forks of this process. `write`: the end of the pipe that only this process may hold. `close`: what each does at its end."""

    build: Callable[[Seat], Worker]
    close: Callable[[], None]
    pool: str
    read: int
    write: int

    def __call__(self, role: Role, key: str, *, paused: bool) -> int:
        """As `pool.Start`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.OBEYED)  # one that came before the child obeys would be lost
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.OBEYED)
            raise
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.OBEYED)
            return pid
        code = 70
        try:
            os.close(self.write)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            code = serve(self.build, Seat(role, key, self.pool, self.read, paused))
            self.close()
        except ConfigError as error:
            log.critical("%s", error)
            code = CANT_CREATE if isinstance(error, NoPlace) else BAD_CONFIGURATION
        except BaseException:
            log.exception("a process of the pool ends by an error of our own")
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)  # what the first process has to do at its exit isn't ours


@dataclass(frozen=True, slots=True)
class Spawn:
    """New interpreters, which import the application again: nothing of this process is shared. `command` is what they run, before
    their seat."""

    command: Sequence[str]
    pool: str
    read: int

    def __call__(self, role: Role, key: str, *, paused: bool) -> int:
        """As `pool.Start`."""
        seat = encode(Seat(role, key, self.pool, self.read, paused))
        signal.pthread_sigmask(signal.SIG_BLOCK, _LATER)  # which it inherits, until it obeys
        try:
            process = subprocess.Popen([*self.command, seat], pass_fds=(self.read,))  # noqa: S603 (our own command line)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _LATER)
        process.returncode = 0  # the pool waits for it by its number
        return process.pid
