"""A bucket of which nothing is known but its URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from spoolq.errors import ConfigError
from spoolq.failurelog.bucket import ObstoreBucket
from spoolq.failurelog.target import target


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """It answers every PUT with the status and the code that the key is made of."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, _, code = self.path.rpartition("/")[2].partition("-")
            body = f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        ("412-PreconditionFailed", True),
        ("409-BlobAlreadyExists", True),
        ("409-ConditionalRequestConflict", False),
        ("409-ContainerBeingDeleted", False),
        ("400-EntityTooLarge", False),
    ],
)
def test_an_object_counts_as_written_where_it_is_there(
    server: HTTPServer, monkeypatch: pytest.MonkeyPatch, answer: str, there: bool
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    [fault] = ObstoreBucket(target("s3://bucket/app")).put([(answer, b"x")])
    assert (fault is None) == there


@pytest.mark.parametrize(
    "address",
    ["minio:9000", "http://user:hidden@127.0.0.1:1", "http://[hidden", "http://host/?token=hidden", "ftp://hidden", " "],
)
def test_an_endpoint_that_is_no_address_is_refused_and_not_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL: expected http://host:port") as refused:
        ObstoreBucket(target("s3://bucket/app"))
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("address", ["https://s3.example.com", "http://127.0.0.1:9000/", "http://[::1]:9000/path", ""])
def test_an_endpoint_may_be_an_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    assert ObstoreBucket(target("s3://bucket/app")).url == "s3://bucket/app"
