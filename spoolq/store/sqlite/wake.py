"""Waking the idle workers of a host: a FIFO beside the file, into which whoever makes a row ready writes a byte.

Nobody reads the byte to be woken: each waiter watches the FIFO edge-triggered (epoll(7), EPOLLET), so one byte wakes them all and
none can take another's. Each then looks whether its own queues have something. The next writer clears the FIFO before it
writes, so it never fills, and some kernels (Linux 5.5 to 5.13) tell of a write only when the FIFO was empty.
"""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from spoolq.store.sqlite import identity
from spoolq.store.sqlite.lock import give_to_owner

POLL = 0.05
"""Seconds between looks where there can be no FIFO or no epoll."""

_CHECK = 1.0
_CLOSING = 0.1  # seconds that `close` waits for one who rings


class Bell:
    """`ring` wakes every `Listener` of every process on the host. Missing a ring costs a delay, never a job."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._checked = float("-inf")
        self._idle: list[Listener] = []
        self._closed = False

    def ring(self) -> None:
        """Wake whoever waits. Raises nothing."""
        with self._lock:
            self._strike(self._current())
            if self._closed:  # meanwhile, by one who didn't wait for this
                self._free()

    def listener(self) -> Listener:
        """One for this waiter alone, to be given back."""
        with self._lock:
            self._current()  # for `close`, which opens nothing
            return self._idle.pop() if self._idle else Listener(self._path, self._clock)

    def give_back(self, listener: Listener) -> None:
        """The waiter is done."""
        with self._lock:
            if self._closed:
                listener.close()
            else:
                self._idle.append(listener)

    def close(self) -> None:
        """Ring for the last time and free the descriptors. It asks the disk for nothing, so it never hangs with it; what is held
        by one who rings, and hangs, that one frees."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSING):
            try:
                self._strike(self._fd)
                self._free()
            finally:
                self._lock.release()

    def _strike(self, fd: int | None) -> None:
        if fd is None:
            return
        with suppress(OSError):  # empty
            os.read(fd, 4096)
        with suppress(OSError):  # filled by somebody else: then it has just been rung
            os.write(fd, b".")

    def _free(self) -> None:
        fd, self._fd, self._checked = self._fd, None, float("-inf")
        if fd is not None:
            os.close(fd)
        while self._idle:
            self._idle.pop().close()

    def forget(self) -> None:
        """In a forked child: the parent's descriptors are shared, and events on them would be taken from the parent."""
        self._lock = threading.Lock()
        self._free()

    def _current(self) -> int | None:
        now = self._clock()
        if now - self._checked > _CHECK:
            self._checked = now
            if self._fd is not None and not _is_at(self._fd, self._path):
                os.close(self._fd)
                self._fd = None
            if self._fd is None:
                self._fd = _open(self._path)
        return self._fd


class Listener:
    """One waiter's view of the FIFO. A ring between two waits is noticed by the next one."""

    def __init__(self, path: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._fd: int | None = None
        self._epoll: select.epoll | None = None
        self._checked = float("-inf")

    def ready(self) -> None:
        """Have it open from here on: what is rung from now on is noticed. To be called before looking for work."""
        now = self._clock()
        if now - self._checked <= _CHECK:
            return
        self._checked = now
        if self._fd is not None and not _is_at(self._fd, self._path):
            self.close()
        if self._fd is None and hasattr(select, "epoll"):
            self._fd = _open(self._path)
            if self._fd is not None:
                self._epoll = select.epoll()
                self._epoll.register(self._fd, select.EPOLLIN | select.EPOLLET)

    def wait(self, timeout: float) -> None:
        """Until rung, or for `timeout` seconds."""
        if self._epoll is None:
            time.sleep(min(POLL, max(0.0, timeout)))
        else:
            self._epoll.poll(max(0.0, timeout))

    def close(self) -> None:
        """Free the descriptors."""
        epoll, self._epoll = self._epoll, None
        fd, self._fd = self._fd, None
        if epoll is not None:
            epoll.close()
        if fd is not None:
            os.close(fd)


def _open(path: str) -> int | None:
    """The FIFO, made if need be; None when there can be none."""
    try:
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        give_to_owner(fd, path.removesuffix("-wake"))
        return fd
    os.close(fd)
    return None


def _is_at(fd: int, path: str) -> bool:
    with suppress(OSError):
        return identity.at(path) == identity.of(fd)
    return False
