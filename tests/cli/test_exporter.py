"""`spoolq exporter`: a process that answers scrapes and probes, and ends when told."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq.metrics.table import METRICS
from tests.cli.conftest import Run, finish, listening, start
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

ROOT = Path(__file__).parents[2]


@contextmanager
def exporting(url: str, *args: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One on a free port, and where it answers."""
    with listening("exporter", "--url", url, *args) as (process, address):
        assert address.endswith("/metrics")
        yield process, address.removesuffix("/metrics")


def get(address: str, *, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(address, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers["Content-Type"]


def test_it_answers_scrapes_and_probes_and_ends_at_term(server: Server) -> None:
    fill(server.url, 3)
    with exporting(server.url) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        waits = 'spoolq_queue_jobs{queue="mail",state="ready",store="primary"} 3.0'
        eventually(lambda: waits in get(f"{address}/metrics")[1])  # on a busy host the first look may take longer than a scrape
        status, text, kind = get(f"{address}/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        for metric in METRICS:
            assert f"# TYPE {metric.name} {metric.kind}" in text
            assert f"# HELP {metric.name} " in text
        status, text, kind = get(f"{address}/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert (status, kind.split(";")[0], text[-6:]) == (200, "application/openmetrics-text", "# EOF\n")
        assert get(f"{address}/livez")[0] == 200
        # ready is also who sees Redis away, as it may be for a first look on a busy host
        eventually(lambda: (found := get(f"{address}/readyz"))[0] == 200 and json.loads(found[1])["state"] == "ok")
        assert get(f"{address}/readyz")[2] == "application/json"
        assert get(f"{address}/")[1] == "spoolq exporter: /metrics /livez /readyz\n"
        assert get(f"{address}/nowhere")[0] == 404
        assert get(f"{address}/metrics", method="POST")[0] == 405
        assert get(f"{address}/metrics", method="HEAD")[:2] == (200, "")
        process.send_signal(signal.SIGTERM)
        ended = finish(process)
        assert (ended.code, ended.out, ended.err) == (0, "", "")


def test_it_begins_and_answers_while_redis_is_gone() -> None:
    with exporting("redis://127.0.0.1:1/0") as (process, address):
        status, text, _ = get(f"{address}/metrics")
        assert (status, 'spoolq_store_up{store="primary"} 0.0' in text) == (200, True)
        # on a busy host the first look may take longer than a scrape
        eventually(lambda: 'spoolq_breaker_state{state="open"} 1.0' in get(f"{address}/metrics")[1])
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 0


def test_a_hangup_reopens_logs_and_it_goes_on(server: Server) -> None:
    with exporting(server.url) as (process, address):
        process.send_signal(signal.SIGHUP)
        assert get(f"{address}/livez")[0] == 200
        assert process.poll() is None


def test_systemd_is_told_that_it_answers_and_that_it_ends(server: Server, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60)
        process = start("exporter", "--port", 0, "--url", server.url, NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            assert listener.recv(1000).startswith(b"READY=1\nSTATUS=answers at 127.0.0.1:")
            process.send_signal(signal.SIGTERM)
            assert listener.recv(1000) == b"STOPPING=1"
            assert finish(process).code == 0
        finally:
            process.kill()
            process.communicate()


def test_an_address_that_is_taken_is_one_line(server: Server, spoolq: Run) -> None:
    with exporting(server.url) as (_, address):
        ran = spoolq("exporter", "--port", address.rpartition(":")[2])
        assert ran.code != 0
        assert ran.err.count("\n") == 1
        assert "name another with --port or --host" in ran.err


@pytest.mark.parametrize("how", ["text", "register", "exporter"])
def test_a_missing_package_is_one_line(how: str, tmp_path: Path) -> None:
    begin = {
        "text": "import spoolq.metrics; spoolq.metrics.text(q)",
        "register": "import spoolq.metrics; spoolq.metrics.register(None, q)",
        "exporter": "from spoolq.metrics.serving import application; application(q)",
    }[how]
    program = f"""
import sys
sys.modules["prometheus_client"] = None
from spoolq import SpoolQ, ConfigError
q = SpoolQ("sqlite:///{tmp_path}/jobs.db")
try:
    {begin}
except ConfigError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("metrics need: pip install 'spoolq[metrics]'")
    assert ran.stdout.count("\n") == 1
