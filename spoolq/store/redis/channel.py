"""One connection to Redis, made and let in already, on which a request is written and its reply read under a deadline."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import time
from typing import Any

from spoolq.store.redis.resp import GarbageError, Reader

CHUNK = 65536
SLOWEST = 16 * 1024  # bytes a second: a reply that comes at less is given up, also by those who have time
STILL = 5.0  # seconds: and so is one that stops for as long, however much of it came before, and however fast
PLAIN = {b":1\r\n": 1, b":0\r\n": 0, b":-1\r\n": -1}  # what a put answers, without the reader's work


class StaleError(Exception):
    """The connection was no good any more before a byte of the request was handed over. Another may be tried."""


class Channel:
    """Not thread-safe: one request at a time. After any exception but `StaleError` look at `sent`, then close it.

    `sent` says whether bytes of the last request were handed to the socket. Deadlines are on the monotonic clock. While
    `patient`, a reply that has begun to arrive may take longer, if it comes no slower than `SLOWEST`, and doesn't stop.
    """

    __slots__ = ("__weakref__", "_deadline", "_poll", "_reader", "_tls", "patient", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.sent = self.patient = False
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._deadline = 0.0
        self._reader = Reader(self._receive)

    def exchange(self, request: bytes, deadline: float) -> Any:
        """Send one request and return its reply. Raises StaleError, TimeoutError, EOFError, OSError, GarbageError."""
        self.send(request, deadline)
        chunk = self._receive()
        reply = PLAIN.get(chunk)
        if reply is not None:
            return reply
        self._reader.feed(chunk)
        return self.last()

    def exchange_many(self, requests: bytes, deadline: float, replies: int) -> list[Any]:
        """Send several requests and return their replies. Raises as `exchange`."""
        self.send(requests, deadline)
        return [*(self.next() for _ in range(replies - 1)), self.last()]

    def send(self, request: bytes, deadline: float) -> None:
        """Hand the request to the socket, as fast as it takes it. Several requests may be joined."""
        self.sent = False
        self._deadline = deadline
        if self._poll.poll(0):
            self._look()
        rest: bytes | memoryview = request
        while True:
            wanted = select.POLLOUT | select.POLLIN
            try:
                done = self.sock.send(rest)
                self.sent = True
                if done == len(rest):
                    return
                rest = memoryview(rest)[done:]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.sent = self.sent or self._tls  # a part of a TLS record may have left
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except OSError as error:
                if not self.sent:
                    raise StaleError from error
                self._early()
                raise
            if self._wait(wanted) & select.POLLIN and not self._tls:
                self._early()

    def next(self) -> Any:
        """Read one reply more."""
        return self._reader.read()

    def last(self) -> Any:
        """Read the last reply that was asked for."""
        reply = self._reader.read()
        if self._reader.pending:
            raise GarbageError("more replies than requests")
        return reply

    def close(self) -> None:
        """Close it, at once."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def abandon(self) -> None:
        """In a forked child: give the descriptor back without a word to the server, which still talks to the parent."""
        with contextlib.suppress(OSError, ValueError):
            os.close(self.sock.detach())

    def _early(self) -> None:
        """The server speaks before it has heard the whole request: that is a refusal of the protocol, and it closes."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            chunk = self.sock.recv(CHUNK)
            if not chunk:
                raise EOFError("the server closed the connection while the request was sent")
            self._reader.feed(chunk)
            reply = self._reader.read()
            if isinstance(reply, Exception):
                raise reply
            raise GarbageError("a reply before the request was sent")

    def _look(self) -> None:
        """Something can be read although nothing was asked: mostly the end, from a server that went away."""
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise StaleError from error
        raise StaleError("the server closed the connection")

    def _receive(self) -> bytes:
        while True:
            if not (self._tls and self.sock.pending()):  # type: ignore[attr-defined]
                self._wait(select.POLLIN)
            try:
                chunk = self.sock.recv(CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT)
                continue
            if not chunk:
                raise EOFError("the server closed the connection before it answered")
            if self.patient:
                earned = min(self._deadline + len(chunk) / SLOWEST, time.monotonic() + STILL)
                self._deadline = max(self._deadline, earned)
            return chunk

    def _wait(self, wanted: int) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        if wanted != select.POLLIN:
            self._poll.modify(self.sock.fileno(), wanted)
        try:
            ready = self._poll.poll(left * 1000)
        finally:
            if wanted != select.POLLIN:
                self._poll.modify(self.sock.fileno(), select.POLLIN)
        if not ready:
            raise TimeoutError("no answer in time")
        return ready[0][1]
