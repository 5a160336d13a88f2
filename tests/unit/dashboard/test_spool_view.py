"""The spool's page: whether it empties, in words that are right."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from spoolq import SpoolQ
from spoolq.dashboard.access import Visitor
from spoolq.dashboard.asking import Ask
from spoolq.dashboard.desk import Desk
from spoolq.dashboard.views.spool import _empties, draining, piped
from spoolq.facts import Facts, Side
from spoolq.hint import Note
from spoolq.hosts import HostSpool
from spoolq.store.base import DRAIN_PAUSED
from tests.unit.dashboard.hands import OWN, browser, words

UP = Side("redis", "r", "up")
AWAY = Side("redis", "r", "away", "no", "refused")


@pytest.fixture
def desk(q: SpoolQ) -> Desk:
    @q.task
    def work() -> None: ...

    work.enqueue()
    return Desk(q)


def state(desk: Desk, primary: Side, rows: int = 5, *, attended: bool = True, paused: float | None = None, **facts: Any) -> Any:
    assert desk.q.spool is not None
    info = replace(desk.q.spool.info(), rows=rows, drain_paused_at=paused)
    side = Side("spool", "s", "up", info=info, attended=attended)
    return draining(Ask(desk, Facts(primary, side, **facts), Visitor("", ""), "/spool"))


def test_what_is_empty_has_nothing_to_drain(desk: Desk) -> None:
    assert state(desk, UP, rows=0)["state"] == "ok"
    assert state(desk, AWAY, rows=0)["state"] == "ok"


def test_in_an_outage_it_says_why_and_tells_no_number(desk: Desk) -> None:
    desk._rate.see(0.0, 0)
    desk._rate.see(1.0, 100)
    found = state(desk, AWAY)
    assert found["sentence"].startswith("Not draining: breaker open (refused).")
    assert (found["rate"], found["time_to_empty"]) == (None, None)


def test_what_producers_know_counts_too(desk: Desk) -> None:
    assert "breaker open (slow)" in state(desk, UP, outage=Note(True, "slow", time.time(), time.monotonic()))["sentence"]


def test_without_a_drainer_it_says_so(desk: Desk) -> None:
    assert state(desk, UP, attended=False)["state"] == "nobody"
    away = state(desk, AWAY, attended=False)
    assert (away["state"], "by itself" in away["sentence"]) == ("nobody", False)


def test_a_pause_is_named_before_all_else(desk: Desk) -> None:
    assert state(desk, AWAY, attended=False, paused=1.0)["state"] == "paused"


def test_a_rate_that_is_known_tells_when_it_will_be_empty(desk: Desk) -> None:
    assert state(desk, UP)["sentence"] == "Draining; how fast is not known yet."
    desk._rate.see(0.0, 0)
    desk._rate.see(10.0, 500)
    found = state(desk, UP, rows=5000)
    assert (found["rate"], found["time_to_empty"]) == (50.0, 100.0)
    assert found["sentence"] == "Draining, 50 a second: empty in about 1 min 40 s."


HOST = HostSpool("h", "/s.db", "1", 0.0, 10, 0, 0, 1, 2, 0.5, 3.0, None, "", "", False, 0.0)


@pytest.mark.parametrize(
    ("host", "silent", "says"),
    [
        (HOST, 100.0, ("silent for 1 min 40 s", "bad")),
        (replace(HOST, rows=0), 100.0, ("silent for 1 min 40 s", "off")),
        (replace(HOST, rows=0), 1.0, ("empty", "ok")),
        (replace(HOST, paused=True), 1.0, ("paused", "warn")),
        (replace(HOST, away_since=1.0, cause="refused"), 1.0, ("not draining: breaker open (refused)", "warn")),
        (replace(HOST, error="full"), 1.0, ("not draining: full", "warn")),
        (HOST, 1.0, ("draining", "ok")),
        (replace(HOST, rate=2.0), 1.0, ("2 a second, empty in 5.0 s", "ok")),
    ],
)
def test_another_host_is_told_of_in_the_same_words(host: HostSpool, silent: float, says: tuple[str, str]) -> None:
    assert _empties(host, silent) == says


def test_the_spools_of_all_hosts_show_their_size_and_what_holds_them_up(q: SpoolQ) -> None:
    client = browser(q)
    sampler = client.app.state.desk.sampler  # type: ignore[attr-defined]
    look, told = sampler._look, replace(HOST, used=3 << 20, rate=2.0, error="Redis is loading")
    sampler._look = lambda: replace(look(), hosts=((told, 1.0),))
    shown = words(client.get("/spool").text)
    assert "50 % 3 MiB 2 a second, empty in 5.0 s Redis is loading" in shown


def test_draining_is_paused_and_resumed(desk: Desk, q: SpoolQ) -> None:
    client = browser(q)
    assert "Draining is paused." in words(client.post("/spool/pause", headers=OWN).text)
    assert q.spool is not None
    assert q.spool.meta(DRAIN_PAUSED) is not None
    assert "Draining was paused already." in words(client.post("/spool/pause", headers=OWN).text)
    client.post("/spool/resume", headers=OWN)
    assert q.spool.meta(DRAIN_PAUSED) is None


def test_a_probe_says_what_redis_answers(desk: Desk, q: SpoolQ) -> None:
    assert "Redis does not take jobs" in words(browser(q).post("/spool/probe", headers=OWN).text)


def test_without_a_spool_nothing_is_changed_and_no_file_is_made(q: SpoolQ) -> None:
    for path in ("/spool/pause", "/spool/resume", "/spool/drain", "/spool/export"):
        answer = browser(q).post(path, headers=OWN)
        assert (answer.status_code, "There is no spool on this host" in answer.text) == (422, True)
    assert not q.settings.spool_path.exists()


def test_a_queue_in_a_file_has_no_redis_to_probe(box: SpoolQ) -> None:
    answer = browser(box).post("/spool/probe", headers=OWN)
    assert (answer.status_code, "there is no Redis to ask" in answer.text) == (422, True)


def test_what_is_written_comes_out_as_it_is_written() -> None:
    def write(out: Any) -> None:
        for _ in range(100):
            out.write(b"x" * 100_000)

    assert sum(map(len, piped(write))) == 10_000_000


def test_who_reads_no_more_ends_the_writing() -> None:
    ended = []

    def write(out: Any) -> None:
        try:
            while True:
                out.write(b"x" * 100_000)
        finally:
            ended.append(True)

    parts = piped(write)
    next(parts)
    parts.close()
    from tests.waiting import eventually

    eventually(lambda: ended)
