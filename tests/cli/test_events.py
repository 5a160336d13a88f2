"""`spoolq events`, `spoolq outages`, and that what operators do is written down."""

from __future__ import annotations

import json
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.events import record
from spoolq.store.events import KINDS, Away, Event
from tests.cli.conftest import Run, finish, start
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

URL = "sqlite:///jobs.db"
LONG = "word " * 40 + "x" * 100


def fits(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_where_there_is_no_spool_there_is_no_journal_and_none_is_made(run: Run, nowhere: str, tmp_path: Path) -> None:
    for command in ("events", "outages"):
        said = run(command, "--url", nowhere)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("spoolq: no spool at ")
    assert run("events", "--url", URL).code == 1
    assert not list(tmp_path.rglob("*.db"))


def test_an_outage_is_in_both(run: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = run("events", "--url", nowhere)
    assert (said.code, said.err) == (0, "")
    assert " breaker_opened   Redis at redis://127.0.0.1:" in said.out
    [event] = run("events", "--url", nowhere, "--json").lines
    assert (event["schema"], event["kind"], event["detail"]["cause"]) == (1, "breaker_opened", "refused")
    assert event["at"].endswith("Z")
    said = run("outages", "--url", nowhere)
    header, row = said.out.splitlines()
    assert header.split() == ["AGO", "LASTED", "CAUSE", "SPOOLED", "PEAK", "DRAINED", "TWICE"]
    assert row.split()[-5:] == ["refused", "3", "3", "lasts", "0"]
    [outage] = run("outages", "--url", nowhere, "--json").json["outages"]
    assert (outage["open"], outage["ended_at"], outage["spooled"], outage["peak"]) == (True, None, 3, 3)


def test_no_cause_of_an_outage_is_cut(run: Run, nowhere: str) -> None:
    with SpoolQ(nowhere) as q:
        assert q.spool is not None
        q.spool.events.away(Away(0.0, "connect_timeout"))
    said = run("outages", "--url", nowhere)
    assert " connect_timeout " in said.out
    assert fits(said.out)


def test_long_texts_fit_and_steer_nobodys_terminal(run: Run) -> None:
    with SpoolQ(URL) as q:
        for kind in KINDS:
            assert record(q.journal, kind, f"{LONG}\x1b[31m")
    said = run("events", "--url", URL)
    assert fits(said.out)
    assert "\x1b" not in said.out
    assert len(run("events", "--url", URL, "--json").lines) == len(KINDS)


def test_by_kind_age_and_number(run: Run) -> None:
    with SpoolQ(URL) as q:
        for n in range(60):
            record(q.journal, "action" if n % 2 else "worker_died", f"event {n}")
    assert len(run("events", "--url", URL, "--json").lines) == 50
    found = run("events", "--url", URL, "--json", "--kind", "action", "--limit", 3).lines
    assert [event["text"] for event in found] == ["event 55", "event 57", "event 59"]
    assert len(run("events", "--url", URL, "--json", "--since", "1h", "--limit", 100).lines) == 60
    assert run("events", "--url", URL, "--since", "0").out == ""
    assert run("events", "--url", URL, "--kind", "gossip").code == 2
    assert run("events", "--url", URL, "--since", "yesterday").code == 2


def test_followed_it_goes_on_also_over_a_spool_that_was_set_aside(nowhere: str, tmp_path: Path) -> None:
    with SpoolQ(nowhere) as q:
        assert q.spool is not None
        record(q.journal, "action", "not made yet")
        path = q.settings.spool_path
        record(q.journal, "action", "before")
        process = start("events", "--follow", "--json", "--url", nowhere, PYTHONUNBUFFERED="1")
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["text"] == "not made yet"
            assert json.loads(process.stdout.readline())["text"] == "before"
            record(q.journal, "action", "while it looks")
            assert json.loads(process.stdout.readline())["text"] == "while it looks"
        except BaseException:
            process.kill()
            raise
    aside = tmp_path / "aside"
    aside.mkdir()
    for part in path.parent.glob(f"{path.name}*"):
        shutil.move(part, aside)
    with SpoolQ(nowhere) as q:
        record(q.journal, "action", "in the new one")
        try:
            assert json.loads(process.stdout.readline())["text"] == "in the new one"
        except BaseException:
            process.kill()
            raise
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert (ended.code, ended.out, "Traceback" in ended.err) == (0, "", False)


def test_what_comes_between_two_looks_is_followed_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with SpoolQ(URL) as q:
        log, looks = q.primary.events, count()
        page, after = log.page, log.after

        def looked(*values: Any, **options: Any) -> list[Event]:
            found = page(*values, **options)
            log.record("action", f"after look {next(looks)}")
            return found

        def then(*values: Any, **options: Any) -> list[Event]:
            if (n := next(looks)) > 5:
                raise KeyboardInterrupt
            log.record("action", f"after look {n}")
            return after(*values, **options)

        log.record("action", "before")
        monkeypatch.setattr(log, "page", looked)
        monkeypatch.setattr(log, "after", then)
        monkeypatch.setattr("spoolq.cli.events._log", lambda *_: log)
        monkeypatch.setattr("spoolq.cli.events._EVERY", 0.0)
        told = [event["text"] for event in run("events", "--follow", "--json", "--url", URL).lines]
    assert told == ["before", *(f"after look {n}" for n in range(6))]


def test_followed_it_waits_for_a_spool_and_ends_well_while_it_waits(nowhere: str) -> None:
    waiting = start("events", "--follow", "--json", "--url", nowhere, PYTHONUNBUFFERED="1")
    other = start("events", "--follow", "--url", nowhere, PYTHONUNBUFFERED="1")
    try:
        for process in (waiting, other):
            assert process.stderr is not None
            assert "it is waited for" in process.stderr.readline()
        other.send_signal(signal.SIGINT)
        ended = finish(other)
        assert (ended.code, ended.out, ended.err) == (0, "", "")
        fill(nowhere, 1)
        assert waiting.stdout is not None
        assert json.loads(waiting.stdout.readline())["kind"] == "breaker_opened"
        waiting.send_signal(signal.SIGINT)
        assert finish(waiting).code == 0
    finally:
        waiting.kill()
        other.kill()


def actions(run: Run, url: str) -> list[str]:
    return [event["detail"]["what"] for event in run("events", "--url", url, "--kind", "action", "--json").lines]


def test_what_an_operator_does_is_written_down_with_who(run: Run) -> None:
    [id, *_] = fill(URL, 3)
    for command in (
        ("queues", "pause", "mail"),
        ("queues", "resume", "mail"),
        ("jobs", "cancel", id),
        ("queues", "purge", "mail", "--yes"),
    ):
        assert run(*command, "--url", URL).code == 0
    assert run("queues", "list", "--url", URL).code == 0
    assert run("queues", "pause", "--url", URL).code == 2
    assert run("queues", "purge", "mail", "--url", URL, input="n\n").code != 0
    assert actions(run, URL) == ["queues pause mail", "queues resume mail", f"jobs cancel {id}", "queues purge mail"]
    event = run("events", "--url", URL, "--kind", "action", "--json").lines[0]
    assert event["detail"]["who"]
    assert event["text"] == f"{event['detail']['who']}: queues pause mail"


def test_also_while_redis_is_away_and_without_where_it_is(run: Run, nowhere: str) -> None:
    fill(nowhere, 1)
    url = nowhere.replace("redis://", "redis://:s3cret@")
    said = run("queues", "pause", "mail", "--url", url, "--spool", _spool(nowhere))
    assert said.code == 69
    [event] = run("events", "--url", nowhere, "--kind", "action", "--json").lines
    assert event["detail"]["what"] == "queues pause mail"
    assert "refused" in event["detail"]["fault"]
    assert "s3cret" not in json.dumps(event)


def test_an_action_makes_no_spool(run: Run, server: Server, tmp_path: Path) -> None:
    fill(server.url, 1)
    assert run("queues", "pause", "mail", "--url", server.url).code == 0
    assert not list(tmp_path.rglob("*.db"))


def test_drain_pause_is_an_action(run: Run, nowhere: str) -> None:
    fill(nowhere, 1)
    assert run("drain", "pause", "--url", nowhere).code == 0
    assert run("drain", "resume", "--url", nowhere).code == 0
    assert actions(run, nowhere) == ["drain pause", "drain resume"]


def test_the_whole_of_an_outage_with_a_drain(spoolq: Run, server: Server, nowhere: str) -> None:
    spool = Path("spool.db").absolute()
    with SpoolQ(nowhere, spool=spool) as q:
        q.enqueue_many([q.remote("send", queue="mail").job(n) for n in range(5)])
    assert spoolq("drain", "--once", "--timeout", "30s", "--to-here", "--url", server.url, "--spool", spool).code == 0
    with SpoolQ(nowhere, spool=spool) as q:
        log = q.journal()
        assert log is not None
        eventually(lambda: any(event.kind == "drain_begun" for event in log.page()))
        [outage] = log.outages()
        assert (outage.spooled, outage.peak) == (5, 5)


def _spool(url: str) -> Path:
    with SpoolQ(url) as q:
        return q.settings.spool_path


def test_what_was_done_in_part_is_written_down_too(run: Run) -> None:
    [one, _] = fill(URL, 2)
    assert run("jobs", "delete", one, "nobody", "--yes", "--url", URL).code == 1
    assert run("failed", "retry", "nobody", "--url", URL).code == 1
    assert run("jobs", "delete", "--task", "send", "--url", URL, input="n\n").code == 1
    assert actions(run, URL) == [f"jobs delete {one} nobody", "failed retry nobody"]


def test_an_order_on_a_choice_says_which_but_not_what_was_searched_for_in_arguments(run: Run) -> None:
    fill(URL, 2)
    ran = run("jobs", "delete", "--task", "send", "--state", "ready", "--text", "0@example.com", "--yes", "--url", URL)
    assert ran.out == "Deleted 1 job.\n"
    assert run("jobs", "delete", "--queue", "mail", "--yes", "--url", URL).code == 0
    assert actions(run, URL) == ["jobs delete --task send --text … --state ready", "jobs delete --queue mail"]
    assert "example" not in run("events", "--url", URL, "--json").out
