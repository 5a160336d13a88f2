"""A round through all checks: a clean set-up finds nothing, nothing is changed, nothing hangs, nothing secret is said."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.doctor import CHECKS, Check, check
from spoolq.doctor.case import warning
from spoolq.doctor.look import Look
from spoolq.errors import SpoolqError
from spoolq.store.base import WorkerInfo
from tests.proxy import Proxy
from tests.servers import NOWHERE, Server
from tests.unit.doctor.conftest import Make
from tests.unit.doctor.hands import spool_of
from tests.unit.doctor.test_spool import fill


def look(q: SpoolQ, **options: Any) -> Look:
    """The test's directory may be on any kind of disk."""
    return Look(q, **{"known": {"disk": ""}, "limit": 30.0, **options})


def bad(found: list[Any]) -> list[tuple[str, str]]:
    return [(one.name, one.what) for one in found if one.level in ("problem", "warning")]


def everything(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.iterdir()) if one.is_file() and not one.name.endswith("-shm")}


def clean(q: SpoolQ) -> SpoolQ:
    @q.task(queue="mail")
    def send(to: str) -> None: ...

    fill(q, 1)
    spool_of(q).ready(2.0)
    spool_of(q).attend()
    q.primary.register(WorkerInfo("w", "host", 1, ("mail",), lease=600.0))
    send.enqueue("a")
    return q


def test_a_clean_set_up_finds_nothing(start_server: Any, make: Make) -> None:
    q = clean(make(start_server(appendonly=True, appendfsync="always").url))
    q.tasks.add(q.tasks.get("send"))
    found = check(q, look=look(q))
    assert bad(found) == []
    assert {one.name for one in found if one.level == "unknown"} == set()
    assert {one.name for one in found} == {one.name for one in CHECKS}
    assert bad(check(q, deep=True, look=look(q, deep=True))) == []


def test_nothing_is_changed_in_redis_or_the_spool(fresh_server: Server, make: Make, tmp_path: Path) -> None:
    q = make(fresh_server.url)
    fresh_server.kill()
    fill(q, 3)
    fresh_server.start()
    q.close()
    with fresh_server.client() as control:
        check(make(fresh_server.url))
        before, keys = q.spool, sorted(control.keys("*"))
        assert before is not None
        held = {row.message.id for row in _rows(before)}
        check(make(fresh_server.url))
        assert sorted(control.keys("*")) == keys == []
        assert {row.message.id for row in _rows(before)} == held
        assert len(held) == 3


def _rows(spool: Any) -> list[Any]:
    drainer = WorkerInfo("d", "host", 1, (), kind="drainer")
    rows = list(spool.take(drainer, 10, 1 << 20, spool.now() + 5))
    spool.give_back(rows, applied="no")
    spool.unregister(drainer)
    return rows


def test_where_there_is_no_file_none_is_made(make: Make, tmp_path: Path) -> None:
    q = make(NOWHERE, spool=tmp_path / "state" / "spool.db")
    (tmp_path / "state").mkdir()
    assert [name for name, _ in bad(check(q, look=look(q)))] == ["redis"]
    assert list((tmp_path / "state").iterdir()) == []


def test_a_server_that_hangs_holds_nothing_up(fresh_server: Server, make: Make) -> None:
    q = make(fresh_server.url)
    fill(q, 1)
    q.primary.ready(5.0)
    fresh_server.stop()
    try:
        began = time.monotonic()
        found = check(q, look=look(q, limit=6.0))
        assert time.monotonic() - began < 40
    finally:
        fresh_server.cont()
    levels = {one.name: one.level for one in found}
    assert levels["redis"] == "warning"
    assert levels["eviction"] == levels["queues"] == "unknown"
    assert levels["place"] == levels["structure"] == "ok"


@pytest.mark.parametrize(
    ("needle", "unknown", "well"),
    [
        (b"INFO", {"eviction", "saving", "version"}, {"place"}),
        (b"SSCAN", {"queues", "strangers"}, {"redis", "saving"}),
        (b"TIME", {"latency"}, {"place", "schema"}),
    ],
    ids=["info", "sscan", "time"],
)
def test_a_server_that_hangs_in_the_middle_of_it(needle: bytes, unknown: set[str], well: set[str], make: Make) -> None:
    with Server() as server, Proxy(server.port) as proxy:
        q = make(proxy.url)
        fill(q, 1)
        proxy.rule(needle, "swallow", times=-1)
        began = time.monotonic()
        levels = {one.name: one.level for one in check(q, look=look(q, limit=3.0))}
        assert time.monotonic() - began < 60
    assert {name for name in unknown if levels[name] == "unknown"} == unknown
    assert {name for name in well if levels[name] == "ok"} == well


PUTS = """
import sys
from spoolq.app import SpoolQ
q = SpoolQ(sys.argv[1], spool=sys.argv[2], spool_min_free=0)
launch = q.remote("send", "mail")
for number in range(300):
    launch.enqueue(number)
    if number % 20 == 0:
        q.close()  # as the last one, at times: SQLite then takes the -wal away
q.close()
"""


def test_rounds_beside_producers_of_this_and_another_process_harm_nothing(make: Make) -> None:
    q = make(NOWHERE)
    path, own = str(q.settings.spool_path), 0
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", PUTS, q.settings.url, path], stderr=subprocess.DEVNULL, env=environment
    ) as process:
        while process.poll() is None or own < 50:
            fill(q, 1)
            own += 1
            assert {one.name for one in check(q, only={"spool"}) if one.level == "problem"} <= {"filesystem"}
            if own % 5 == 0:
                q.close()
    assert process.returncode == 0
    assert spool_of(q).info().rows == own + 300
    assert spool_of(q).upkeep.check(whole=True) == []


def test_thousands_of_queues_and_workers_are_looked_at_in_time(make: Make) -> None:
    with Server() as server, server.client() as control:
        pipe = control.pipeline()
        for number in range(5000):
            pipe.sadd("resque:queues", f"q{number}")
            pipe.rpush(f"resque:queue:q{number}", "{}")
            pipe.sadd("resque:workers", f"h{number}:1:q{number},p{number}*")
        pipe.execute()
        found = check(make(server.url), only={"work"}, look=look(make(server.url)))
    assert {one.name: one.level for one in found}["queues"] == "warning"  # only so many of the workers are looked at
    assert max(len(one.what) for one in found) < 500


def test_what_hangs_is_left_behind_and_asked_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    asked: list[str] = []
    go_on = threading.Event()

    def hang(path: object) -> bool:
        asked.append(str(path))
        go_on.wait(60)
        return False

    monkeypatch.setattr("spoolq.doctor.look.there", hang)
    q = make(NOWHERE)
    try:
        found = check(q, look=look(q, limit=0.3))
    finally:
        go_on.set()
    levels = {one.name: one.level for one in found}
    assert levels["place"] == levels["schema"] == levels["quarantine"] == "unknown"
    assert levels["settings"] == "ok"
    assert len(asked) == 1


def test_a_check_that_fails_does_not_stop_the_others(make: Make, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(look: Look) -> list[Any]:
        raise ZeroDivisionError("redis://:secret@host")

    case = Check("broken", "host", "that", "why", broken)
    [found] = case.examine(Look(make(NOWHERE)))
    assert (found.name, found.level, found.what) == ("broken", "unknown", "an error of spoolq's own: ZeroDivisionError")
    assert "a look at broken failed" in caplog.text

    def refused(look: Look) -> list[Any]:
        raise SpoolqError("words")

    [found] = Check("c", "host", "that", "why", refused).examine(Look(make(NOWHERE)))
    assert (found.level, found.what) == ("unknown", "words")


def test_the_worst_comes_first_and_one_name_chooses(make: Make) -> None:
    q = make(NOWHERE, lease=1)
    order = ["problem", "warning", "unknown", "note", "ok"]
    levels = [one.level for one in check(q)]
    assert levels == sorted(levels, key=order.index)
    assert {one.name for one in check(q, only={"lease", "work"})} == {
        "lease",
        *(one.name for one in CHECKS if one.subject == "work"),
    }
    case = Check("one", "host", "that", "why", lambda look: [warning("what", "do")])
    assert case.examine(Look(q))[0].name == "one"


def test_no_password_and_no_argument_of_a_job_is_said(fresh_server: Server, make: Make) -> None:
    with fresh_server.client() as control:
        control.config_set("requirepass", "hunter2")
        right = make(fresh_server.url.replace("://", "://:hunter2@"))
        right.remote("lost", "mail").enqueue("4111111111111111")

        @right.task(queue="mail")
        def send() -> None: ...

        wrong = make(fresh_server.url.replace("://", "://:hunter3@"))
        texts = [f"{one.what} {one.remedy}" for q in (right, wrong) for one in check(q)]
        control.config_set("requirepass", "")
    assert any("lost in mail" in text for text in texts)
    for secret in ("hunter2", "hunter3", "4111111111111111"):
        assert not [text for text in texts if secret in text]
