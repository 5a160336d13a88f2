"""A page costs the same however much waits: what it has a server do, and what it reads of a file, is counted at a million jobs.

The doctor's page shows a round that is made on a thread of its own.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from spoolq import SpoolQ
from spoolq.dashboard import sampler
from spoolq.dashboard.views import VIEWS
from spoolq.store.sqlite import driver
from spoolq.units import MANY
from tests.servers import NOWHERE, Server
from tests.steps import Steps
from tests.unit.dashboard.hands import browser, words

MILLION = 1_000_000
PAGES = [view.path for view in VIEWS if view.name != "doctor"] + ["/queue?name=mail"]
COMMANDS = 300
"""Of a page, the looks of the one who looks for all pages included."""
BYTES = 4 << 20
STEPS = 10_000
"""Thousands of steps of SQLite's machine: a look counts up to 100,000 of each kind, twice."""


@pytest.fixture(autouse=True)
def one_look_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for its look, and no other is made meanwhile, however slow the machine: each is counted to its page."""
    monkeypatch.setattr(sampler.Sampler.__init__, "__kwdefaults__", {"every": 3600.0, "wait": 60.0, "clock": time.monotonic})
    monkeypatch.setattr(sampler, "FRESH", 3600.0)
    monkeypatch.setattr(sampler, "WATCHED", 3600.0)


def payload(n: int) -> bytes:
    return json.dumps({"class": "send_mail", "args": [f"user{n}@example.com"], "id": f"job-{n}"}).encode()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counted = Steps(1000)
    counted.watch(monkeypatch)
    return counted


def fill(path: Path, jobs: int, scheduled: int, doubtful: int, failures: int) -> None:
    """Write rows as producers would have: by hand, since that many enqueues take minutes."""
    connection = driver.connect(str(path), 30.0)
    first = (connection.execute("SELECT ifnull(max(abs(seq)), 0) FROM jobs").fetchone()[0] or 0) + 1
    wide = 2305843009213693952

    def rows(count: int, state: str, doubt: int) -> Iterator[tuple[Any, ...]]:
        nonlocal first
        for n in range(first, first + count):
            body = payload(n)
            run_at = 4_000_000_000_000_000 if state == "s" else 0
            crc = zlib.crc32(body, zlib.crc32(f"job-{n}\0mail\0".encode()))
            yield (n, f"job-{n}", "mail", body, crc, state, run_at, 0, doubt, doubt, 0, 0, 0, wide, wide, 1_700_000_000_000_000)
        first += count

    connection.execute("BEGIN")
    for count, state, doubt in ((jobs, "r", 0), (scheduled, "s", 0), (doubtful, "r", 1)):
        connection.executemany(
            "INSERT INTO jobs (seq, id, queue, payload, crc, state, run_at, keep, doubt, was, not_after, watch, front, worker,"
            " token, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows(count, state, doubt),
        )
    entry = json.dumps({"payload": json.loads(payload(1)), "exception": "ValueError", "error": "no", "queue": "mail"}).encode()
    connection.executemany(
        "INSERT INTO failures (id, failed_at, entry) VALUES (?, ?, ?)",
        ((f"job-{n}", 1_700_000_000_000_000 + n, entry) for n in range(failures)),
    )
    connection.execute("COMMIT")
    connection.close()


def costs(client: TestClient, steps: Steps) -> dict[str, int]:
    found = {}
    for path in PAGES:
        client.app.state.desk.cached.forget()  # type: ignore[attr-defined]
        client.app.state.desk.sampler.forget()  # type: ignore[attr-defined]
        found[path] = steps.taken(lambda path=path: client.get(path))  # type: ignore[misc]
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["queue", "spool"])
def test_a_page_reads_no_more_of_a_file_with_a_million_rows(tmp_path: Path, steps: Steps, kind: str) -> None:
    path = tmp_path / "jobs.db"
    limits = {"spool_min_free": 0, "spool_max_bytes": "8GiB"}
    queue = SpoolQ(f"sqlite:///{path}", **limits) if kind == "queue" else SpoolQ(NOWHERE, spool=path, **limits)
    with queue as q:
        (q.spool or q.primary).ready(5.0)
        doubtful = 0 if kind == "queue" else MANY + 50_000
        fill(path, MANY + 50_000, MANY + 50_000, doubtful, MANY + 50_000)
        client = browser(q)
        assert all(client.get(path).status_code in (200, 404) for path in PAGES)
        few = costs(client, steps)
        fill(path, MILLION, 100_000, 0, 200_000)
        many = costs(client, steps)
        shown = words(client.get("/").text)
    assert "100,000+" in shown
    assert max(many.values()) < STEPS, many
    for page in PAGES:
        assert many[page] <= few[page] * 1.5 + 200, (page, few[page], many[page])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_page_asks_a_server_no_more_for_a_million_jobs(server: Server, tmp_path: Path) -> None:
    with SpoolQ(server.url, spool=tmp_path / "spool.db", deadline=20.0) as q, server.client(socket_timeout=60.0) as control:

        def fill_redis(jobs: int) -> None:
            for key, body in (("resque:queue:mail", payload(1)), ("resque:failed", b"{}")):
                script = "for i = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], ARGV[2]) end"
                for start in range(0, jobs, 50_000):
                    control.eval(script, 1, key, min(50_000, jobs - start), body)
            control.sadd("resque:queues", "mail")

        def costs(path: str) -> tuple[int, int]:
            client.app.state.desk.cached.forget()  # type: ignore[attr-defined]
            client.app.state.desk.sampler.forget()  # type: ignore[attr-defined]
            before = control.info("stats")
            assert client.get(path).status_code in (200, 404), path
            after = control.info("stats")
            return tuple(after[name] - before[name] for name in ("total_commands_processed", "total_net_output_bytes"))  # type: ignore[return-value]

        client = browser(q)
        fill_redis(1000)
        few = {path: costs(path) for path in PAGES}
        fill_redis(MILLION)
        many = {path: costs(path) for path in PAGES}
        shown = words(client.get("/").text)
    assert "100,000+" in shown
    for page in PAGES:
        commands, sent = many[page]
        assert commands < max(COMMANDS, 2 * few[page][0]), (page, few[page], many[page])
        assert sent < BYTES, (page, few[page], many[page])
