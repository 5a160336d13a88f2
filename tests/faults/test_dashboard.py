"""The dashboard of a real process through real outages: a Redis that is killed, one that hears and doesn't answer, one that is
full; the spool shown, drained from the page, and the stream."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from tests.faults.app import queued
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

ROOT = Path(__file__).parents[2]
PATIENCE = 15.0
"""Seconds within which a page of a busy machine is there; without a bound in the dashboard it would never be."""

LATE = "did not answer in time"

STARVED = 1.0
"""Seconds for which the threads of a dashboard have waited for a core when the three that a page has may not be enough."""


class Shown:
    """A dashboard as a process, and what it answers."""

    def __init__(self, url: str, folder: Path) -> None:
        self.spool = folder / "spool.db"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spoolq", "dashboard", "--port", "0", "--url", url, "--spool", str(self.spool)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder), "SPOOLQ_SPOOL_MIN_FREE": "0"},
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        self.address = found[0].rstrip("/")

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.address + path, data=data, headers={"Origin": self.address})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def document(self, path: str) -> Any:
        return json.loads(self.page(path))

    def page(self, path: str, form: dict[str, str] | None = None) -> str:
        """What stands there, asked for again while it says that the stores were too late: nothing is wrong with that on a busy
        machine."""

        def shown() -> str:
            status, text = self.ask(path, form)
            if status == 503 and LATE in text:
                return ""
            assert status == 200, text
            return text

        return eventually(shown, what=f"{path} in time")

    def rows(self) -> int | None:
        """How many wait in the spool. None by a look that began before there was one, or that its disk didn't answer in time."""
        info = self.document("/spool.json")["spool"]["info"]
        return None if info is None else int(info["rows"])

    def drain(self) -> None:
        """Until the spool is empty. It is asked for again where one ended early: Redis was not heard in time."""

        def empty() -> bool:
            if self.rows() == 0:
                return True
            self.page("/spool/drain", {})
            return False

        eventually(empty, what="an empty spool")

    def state(self) -> str:
        state: str = self.document("/overview.json")["state"]
        return state


@pytest.fixture
def shown(durable: Server, tmp_path: Path) -> Iterator[Shown]:
    one = Shown(durable.url, tmp_path)
    yield one
    one.process.kill()
    one.process.communicate()


Launch = Callable[[int, str], None]


@pytest.fixture
def launch(durable: Server, shown: Shown) -> Iterator[Launch]:
    """Enqueue so many jobs from a web server that lives on; they go that way."""
    with SpoolQ(durable.url, spool=shown.spool, spool_min_free=0, deadline=5.0, disk_limit=20.0) as q:
        q.primary.ready(20.0)  # loads the driver and connects: the machine may be busy
        job = q.remote("send_mail", "mail")

        def enqueue(count: int, route: str) -> None:
            for n in range(count):
                assert job.enqueue(n).route == route

        yield enqueue


def test_an_outage_is_seen_from_its_begin_to_the_empty_spool(durable: Server, shown: Shown, launch: Launch) -> None:
    launch(2, "primary")
    eventually(lambda: shown.document("/overview.json")["numbers"]["queued"] == 2)
    durable.kill()
    launch(3, "spool")

    eventually(lambda: shown.state() == "degraded")
    # a look between the death and the first row, when there was no spool yet, knows of nothing that is lost, and no more
    eventually(lambda: "Nothing is lost on this host." in shown.page("/"))
    eventually(lambda: shown.rows() == 3)
    eventually(lambda: shown.document("/spool.json")["draining"]["state"] == "nobody")  # also once Redis is back
    assert "jobs go to the spool" in shown.page("/spool")
    [outage] = eventually(lambda: shown.document("/outages.json")["outages"], what="the outage in the journal")
    assert (outage["open"], outage["spooled"]) == (True, 3)

    durable.start()
    eventually(lambda: shown.document("/spool.json")["draining"]["state"] == "nobody")
    page = shown.page("/spool")
    assert "No drainer running" in page
    assert f"spoolq drain --spool {shown.spool}" in page
    shown.drain()
    eventually(lambda: shown.document("/overview.json")["numbers"]["queued"] == 5)
    eventually(lambda: not shown.document("/outages.json")["outages"][0]["open"])
    kinds = [event["kind"] for event in shown.document("/events.json")["events"]]
    assert "action" in kinds


PAGES = ("/", "/spool", "/outages", "/events", "/queues", "/failures", "/workers", "/scheduled", "/retries", "/cron")


@pytest.mark.parametrize("how", ["deaf", "full", "killed"])
def test_no_page_waits_for_a_redis_that_doesnt_answer(durable: Server, shown: Shown, launch: Launch, how: str) -> None:
    launch(1, "primary")
    eventually(lambda: shown.document("/overview.json")["numbers"]["queued"] == 1)
    faults: dict[str, Callable[[], object]] = {"deaf": durable.stop, "killed": durable.kill, "full": lambda: None}
    if how == "full":
        with durable.client() as control:
            control.config_set("maxmemory-policy", "noeviction")
            control.config_set("maxmemory", "1")
    faults[how]()
    try:
        launch(2, "spool")
        eventually(lambda: shown.state() == "degraded")
        took = []
        for path in PAGES:
            began = time.monotonic()
            status, page = shown.ask(path)
            took.append((round(time.monotonic() - began, 2), path))
            assert status in (200, 503), (path, page)
        assert sum(seconds for seconds, _ in took) < PATIENCE * 2, took
        eventually(lambda: shown.rows() == 2)
        assert shown.ask("/livez")[0] == 200
        assert eventually(lambda: json.loads(shown.ask("/readyz")[1])["state"] == "degraded")
    finally:
        if how == "deaf":
            durable.cont()


def test_many_pages_at_once_are_all_answered_while_redis_is_deaf(durable: Server, shown: Shown, launch: Launch) -> None:
    import threading

    launch(1, "primary")
    durable.stop()
    try:
        launch(1, "spool")
        answers: list[tuple[int, str]] = []
        threads = [threading.Thread(target=lambda: answers.append(shown.ask("/"))) for _ in range(40)]
        before = sum(queued(shown.process.pid).values())
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * PATIENCE)
        starved = sum(queued(shown.process.pid).values()) - before
        late = [page for status, page in answers if status != 200]
        assert len(answers) == 40
        assert all(LATE in page for page in late), late
        assert not late or starved > STARVED, f"{len(late)} of 40 late, and the dashboard waited {starved:.3f} s for a core"
    finally:
        durable.cont()


def test_the_stream_tells_of_an_outage_and_of_its_end(durable: Server, shown: Shown, launch: Launch) -> None:
    launch(1, "primary")
    with urllib.request.urlopen(f"{shown.address}/live?every=2", timeout=60) as stream:

        def until(state: str, sentence: str = "") -> None:
            for line in stream:
                if line.startswith(b"data: "):
                    found: dict[str, str] = json.loads(line[6:])
                    if found["state"] == state and sentence in found["sentence"]:
                        return
            raise AssertionError("the stream ended")

        until("ok")
        durable.kill()
        launch(1, "spool")
        until("degraded", "safe in the spool")  # not the first, by a look between the death and the first row
        durable.start()
        shown.drain()
        until("ok")


def test_an_export_of_a_page_can_be_imported(durable: Server, shown: Shown, launch: Launch, tmp_path: Path) -> None:
    durable.kill()
    launch(5, "spool")
    eventually(lambda: shown.rows() == 5)
    assert "Download 5 jobs with their arguments?" in shown.page("/spool/export", {})
    text = shown.page("/spool/export", {"confirmed": "yes"})
    (tmp_path / "export.jsonl").write_text(text)
    assert json.loads(text.splitlines()[-1])["kind"] == "end"
    other = [sys.executable, "-m", "spoolq", "spool", "import", str(tmp_path / "export.jsonl"), "--json"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "SPOOLQ_SPOOL_MIN_FREE": "0"}
    ran = subprocess.run(
        [*other, "--url", durable.url, "--spool", str(tmp_path / "other.db")], env=env, capture_output=True, text=True, timeout=60
    )
    assert json.loads(ran.stdout)["added"] == 5, ran.stderr
    assert eventually(shown.rows, what="a look at the spool") == 5
