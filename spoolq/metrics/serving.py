"""A small HTTP server of metrics and probes: what `spoolq exporter` runs."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from http.client import responses
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from spoolq import metrics
from spoolq.facts import gather
from spoolq.probes import Answer, Readiness, livez

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq.metrics")

_PATIENCE = 10.0  # seconds for who connects and asks nothing
_INDEX = b"spoolq exporter: /metrics /livez /readyz\n"


def application(q: SpoolQ) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The WSGI application: `/metrics`, `/livez`, `/readyz`. Only looks. Raises ConfigError where the package is missing."""
    metrics.registry(q)  # what is missing is said now, not at the first scrape
    readiness = Readiness(lambda: gather(q, connect=0.0))

    def answer(request: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        method, path = request["REQUEST_METHOD"], request.get("PATH_INFO", "")
        extra: list[tuple[str, str]] = []
        if method not in ("GET", "HEAD"):
            status, body, kind, extra = 405, b"GET is all there is\n", "text/plain", [("Allow", "GET, HEAD")]
        elif path == "/metrics":
            status, (body, kind) = 200, metrics.page(q, request.get("HTTP_ACCEPT", ""))
            extra = [("Vary", "Accept")]
        elif path in ("/livez", "/readyz"):
            status, body, kind = _probe(livez() if path == "/livez" else readiness.readyz())
        elif path == "/":
            status, body, kind = 200, _INDEX, "text/plain"
        else:
            status, body, kind = 404, b"not here: " + _INDEX, "text/plain"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"), *extra]
        start(f"{status} {responses[status]}", headers)
        return [b"" if method == "HEAD" else body]

    return answer


def _probe(answer: Answer) -> tuple[int, bytes, str]:
    return answer.status, json.dumps(answer.body).encode() + b"\n", "application/json"


class Server(ThreadingMixIn, WSGIServer):
    """Serves that application on `listener`, each request on a thread of its own."""

    daemon_threads = True  # a scrape that waits for a store doesn't hold up the end

    def __init__(self, listener: socket.socket, app: Any) -> None:
        super().__init__(listener.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.server_address = listener, listener.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()
        self.set_app(app)
        listener.listen(64)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="spoolq-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it answers; False when its thread has ended."""
        return self._thread.is_alive()

    def end(self, timeout: float) -> None:
        """Answer no more requests; those under way get up to `timeout` seconds."""
        self.shutdown()
        until = timeout
        for thread in threading.enumerate():
            if thread.name.startswith(_REQUEST):
                thread.join(until)
                until = 0.1
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"{_REQUEST}-{client_address[1]}",
            daemon=True,
        )
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request could not be answered", exc_info=True)  # who asked has hung up, mostly


_REQUEST = "spoolq-request"


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE
    server_version = "spoolq"

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s %s", self.address_string(), format % args)

    def address_string(self) -> str:
        return str(self.client_address[0])
