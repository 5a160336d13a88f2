"""A bucket of which nothing is known but its URL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from spoolq.failurelog.bucket import BucketError, ObstoreBucket
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


def test_a_password_in_the_address_of_the_endpoint_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://user:hidden@127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = ObstoreBucket(target("s3://bucket/app"))
    with pytest.raises(BucketError, match="can't be reached") as reading:
        bucket.get("key")
    [writing] = bucket.put([("key", b"x")])
    assert "hidden" not in f"{reading.value} {writing}"
    assert "127.0.0.1:1" in str(writing)
