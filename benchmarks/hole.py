"""A way to the server that can become a black hole."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress


class Hole:
    """Listens on `port` of 127.0.0.1 and hands on what comes, both ways, to the server at `to`. After `open()` what comes is
    swallowed, nothing is answered, and whoever connects waits for ever: the network with a cable pulled out."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port: int = self._listener.getsockname()[1]
        self._swallows, self._deaf, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._waiting: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def open(self) -> None:
        """From now on."""
        self._swallows.set()
        self._deaf.wait()
        for _ in range(8):  # the queue of those who connect is filled: the kernel answers no more of them
            one = socket.socket()
            one.settimeout(0.2)
            self._waiting.append(one)
            with suppress(TimeoutError):
                one.connect(("127.0.0.1", self.port))
                continue
            break

    def close(self) -> None:
        """Everything is cut."""
        self._ended.set()
        self._thread.join()
        for one in (self._listener, *self._pairs, *self._waiting):
            one.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ, self._accept)
            listens = True
            while not self._ended.is_set():
                if listens and self._swallows.is_set():
                    ready.unregister(self._listener)
                    self._deaf.set()
                    listens = False
                for key, _ in ready.select(0.05):
                    key.data(ready, key.fileobj)

    def _accept(self, ready: selectors.BaseSelector, listener: socket.socket) -> None:
        near, far = listener.accept()[0], socket.create_connection(("127.0.0.1", self._to))
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs[one] = other
            ready.register(one, selectors.EVENT_READ, self._hand_on)

    def _hand_on(self, ready: selectors.BaseSelector, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
            if not self._swallows.is_set() and data:
                self._pairs[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            ready.unregister(one)
            if not self._swallows.is_set():
                with suppress(OSError):
                    self._pairs[one].shutdown(socket.SHUT_WR)
