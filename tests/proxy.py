"""A TCP proxy that cuts, holds back and spoils what passes, to make the outcomes that a client can't tell apart.

    with Proxy(server.port) as proxy:
        rule = proxy.rule(b"EVALSHA", "cut_reply")     # fires on the next request that contains these bytes, once
        ...
        assert rule.fired == 1

A rule looks at each chunk from client to server, so handshakes pass. What the server got, by action:

    cut_before    nothing of the request; then RST          not executed
    cut_inside    its first 10 bytes; then RST              not executed
    cut_reply     all; its reply is dropped; then RST       executed
    fin_reply     the same, with FIN                        executed
    part_reply    all; 2 bytes of the reply; then RST       executed
    swallow       all; never a reply, open for ever         executed, the client times out
    late          all; the reply `delay` seconds late       executed, the client may have timed out
    late_request  all, `delay` seconds late or when told,   executed after the client gave up
                  also when the client has gone
    dribble       all; the reply byte by byte, `delay`      executed
                  seconds before each
    garbage       all; `HTTP/1.1 400` for a reply           executed
    wrong_type    all; `+OK` for a reply                    executed
    forbidden     nothing; `HTTP/1.1 403` for a reply       not executed

For the whole proxy: `refuse()` (connection refused, open ones reset), `reset_all()`, `behave("reset")` (accept, then RST),
`behave("silent")` (accept and never read), and `heal()`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import Literal, get_args

from tests.servers import held_port

Action = Literal[
    "cut_before",
    "cut_inside",
    "cut_reply",
    "fin_reply",
    "part_reply",
    "swallow",
    "late",
    "late_request",
    "dribble",
    "garbage",
    "wrong_type",
    "forbidden",
]
_CHUNK = 1 << 20
_SPOILT = {"garbage": b"HTTP/1.1 400 Bad Request\r\n\r\n", "wrong_type": b"+OK\r\n"}
_FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Cut(Exception):
    """This connection ends now, by RST or FIN."""


class Rule:
    """What to do with a request that contains `needle`, `times` times. `fired` counts; `wait` waits for the next firing."""

    def __init__(self, needle: bytes, action: Action, times: int, delay: float) -> None:
        if action not in get_args(Action):
            raise ValueError(f"no such action: {action}")
        self.needle, self.action, self.left, self.delay = needle, action, times, delay
        self.fired = 0
        self.released = threading.Event()
        self.answered = threading.Event()
        self._changed = threading.Condition()

    def claims(self, chunk: bytes) -> bool:
        """Whether it fires on this chunk; counted if so."""
        with self._changed:
            if not self.left or self.needle not in chunk:
                return False
            self.left -= 1
            self.fired += 1
            self._changed.notify_all()
            return True

    def release(self, within: float = 30.0) -> None:
        """Let a late request go now, and wait until the server has answered it."""
        self.released.set()
        if not self.answered.wait(within):
            raise AssertionError("the server did not answer the late request")

    def wait(self, fired: int = 1, within: float = 60.0) -> None:
        """Until it has fired so often."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.fired >= fired, within):
                raise AssertionError(f"{self.action} on {self.needle!r} fired {self.fired} times, not {fired}")


class Proxy:
    """Listens on a free port of 127.0.0.1 and makes one connection to `upstream` (a port of 127.0.0.1) for each client."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.accepted = 0
        self._rules: list[Rule] = []
        self._mode = "pass"
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._held = held_port()  # also while it refuses, nobody else comes to listen there
        self.port = self._held.getsockname()[1]
        self._listen()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def rule(self, needle: bytes, action: Action, times: int = 1, delay: float = 0.6) -> Rule:
        """Add a rule. The first rule that fits a chunk fires; `times` -1 is for ever."""
        rule = Rule(needle, action, times, delay)
        with self._lock:
            self._rules.append(rule)
        return rule

    def refuse(self) -> None:
        """Nobody listens any more; open connections are reset."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()
        self.reset_all()

    @property
    def idle(self) -> bool:
        """Whether no connection is open: what was reset is closed by its own thread, soon after."""
        with self._lock:
            return not self._open

    def behave(self, mode: Literal["pass", "reset", "silent"]) -> None:
        """What becomes of every connection from now on."""
        self._mode = mode

    def reset_all(self) -> None:
        """RST to every open connection."""
        with self._lock:
            for link in self._open:
                _arm_reset(link)
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closes it

    def heal(self) -> None:
        """No rules, no mode, listening again on the same port."""
        with self._lock:
            self._rules.clear()
        self._mode = "pass"
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            for rule in self._rules:
                rule.released.set()
        self.refuse()
        self._held.close()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._spawn(self._accept, self._listener)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            with self._lock:
                late = self._listener is not listener  # `refuse` came in between: it has reset the others
                if not late:
                    self._open.add(client)
            if late:
                _arm_reset(client)
                client.close()
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        server = None
        try:
            if self._mode == "reset":
                raise Cut
            server = socket.create_connection(("127.0.0.1", self.upstream), 5)
            server.settimeout(None)
            for link in (client, server):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pump(client, server)
        except (Cut, OSError):
            _arm_reset(client)
        finally:
            with self._lock:
                self._open.discard(client)
            client.close()
            if server is not None:
                server.close()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        while not self._closing.is_set():
            if self._mode == "silent":
                self._closing.wait(0.02)
                continue
            ready, _, _ = select.select([client, server], [], [], 0.05)
            if self._mode == "silent":
                continue
            if server in ready:
                reply = server.recv(_CHUNK)
                if not reply:
                    return
                client.sendall(reply)
            if client in ready:
                request = client.recv(_CHUNK)
                if not request:
                    return
                rule = self._matching(request)
                if rule is None:
                    server.sendall(request)
                elif self._spoil(rule, request, client, server):
                    return

    def _matching(self, request: bytes) -> Rule | None:
        with self._lock:
            return next((rule for rule in self._rules if rule.claims(request)), None)

    def _spoil(self, rule: Rule, request: bytes, client: socket.socket, server: socket.socket) -> bool:
        """Do what the rule says. True: the connection ends with FIN."""
        if rule.action == "cut_before":
            raise Cut
        if rule.action == "forbidden":
            client.sendall(_FORBIDDEN)
            return True
        if rule.action == "cut_inside":
            server.sendall(request[:10])
            raise Cut
        if rule.action == "late_request":
            rule.released.wait(rule.delay)
        server.sendall(request)
        reply = server.recv(_CHUNK)  # so that the server has surely executed it
        rule.answered.set()
        match rule.action:
            case "cut_reply":
                raise Cut
            case "fin_reply":
                return True
            case "part_reply":
                client.sendall(reply[:2])
                raise Cut
            case "swallow":
                self._swallow(client)
                return True
            case "late":
                self._closing.wait(rule.delay)
                client.sendall(reply)
            case "dribble":
                for byte in reply:
                    self._closing.wait(rule.delay)
                    client.sendall(bytes([byte]))
            case "late_request":
                client.sendall(reply)
            case _:
                client.sendall(_SPOILT[rule.action])
        return False

    def _swallow(self, client: socket.socket) -> None:
        while not self._closing.is_set():
            if select.select([client], [], [], 0.05)[0] and not client.recv(_CHUNK):
                return


def _arm_reset(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
