"""The outages: a line each, and the band on which they lie."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from spoolq import SpoolQ, boot
from spoolq.dashboard.views.outages import stripes, ticks
from spoolq.store.events import STALE, Away, Outage
from spoolq.store.sqlite import SQLiteStore
from tests.servers import Server
from tests.unit.dashboard.hands import browser, words
from tests.unit.sqlite.helpers import message
from tests.waiting import eventually

NOW = 1_700_000_000.0
DAY = 86_400.0


def outage(began: float, ended: float | None, drained: float | None = None) -> Outage:
    return Outage(1, NOW - began, None if ended is None else NOW - ended, NOW, "refused", 7, 7, drained and NOW - drained, 0)


def test_an_outage_lies_where_it_was() -> None:
    [stripe] = stripes([outage(DAY / 2, DAY / 4)], NOW - DAY, NOW)
    assert (stripe.kind, stripe.x, stripe.width) == ("out", 50.0, 25.0)
    assert stripe.text == "refused, 6 h, 7 spooled"


def test_one_that_lasts_goes_on_to_the_end() -> None:
    [stripe] = stripes([outage(DAY / 4, None)], NOW - DAY, NOW)
    assert (stripe.x, stripe.x + stripe.width) == (75.0, 100.0)


def test_what_it_took_to_drain_lies_behind_it() -> None:
    drain, out = stripes([outage(DAY / 2, DAY / 4, DAY / 8)], NOW - DAY, NOW)
    assert (drain.kind, drain.x, drain.width) == ("drain", 75.0, 12.5)
    assert out.kind == "out"


def test_a_short_one_is_still_seen_and_stays_on_the_band() -> None:
    [stripe] = stripes([outage(1.0, 0.5)], NOW - DAY, NOW)
    assert stripe.width == 0.3
    assert stripe.x + stripe.width <= 100.0


def test_what_was_before_or_began_before_the_band_is_cut() -> None:
    assert stripes([outage(3 * DAY, 2 * DAY)], NOW - DAY, NOW) == []
    [stripe] = stripes([outage(2 * DAY, DAY / 2)], NOW - DAY, NOW)
    assert (stripe.x, stripe.width) == (0.0, 50.0)


def test_marks_have_the_time_of_day_or_the_day() -> None:
    assert [word for _, word in ticks(NOW - DAY, NOW)] == ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]
    assert [word for _, word in ticks(NOW - 7 * DAY, NOW)] == [f"{day:02} Nov" for day in range(8, 15)]  # none is left out
    (first, _), *_ = ticks(NOW - 7 * DAY, NOW)
    assert first == round(100 * (8 * DAY - (NOW - 7 * DAY) % DAY - 7 * DAY) / (7 * DAY), 2)  # where that day begins
    assert 5 <= len(ticks(NOW - 30 * DAY, NOW)) <= 7


def test_an_outage_of_the_journal_is_on_the_page(q: SpoolQ) -> None:
    assert q.spool is not None
    q.spool.events.away(Away(0.0, "refused"))
    page = browser(q).get("/outages")
    assert "goes on" in words(page.text)
    [shown] = browser(q).get("/outages.json").json()["outages"]
    assert (shown["cause"], shown["open"]) == ("refused", True)


def test_a_queue_in_a_file_has_no_redis_and_no_outage(box: SpoolQ) -> None:
    said = words(browser(box).get("/outages").text)
    assert "there is no Redis, and so no outage" in said
    assert "Redis took no jobs" not in said


def test_without_a_spool_there_are_none_and_no_file_is_made(q: SpoolQ) -> None:
    page = browser(q).get("/outages")
    assert "No outage was seen on this host." in words(page.text)
    assert not q.settings.spool_path.exists()


@pytest.mark.parametrize(("silent", "ends"), [(STALE + 1, True), (-3600.0, False)])
def test_one_that_nobody_sees_any_more_is_ended_by_a_look(server: Server, tmp_path: Path, silent: float, ends: bool) -> None:
    name, now = boot.tick()
    with SpoolQ(server.url, spool=tmp_path / "spool.db", spool_min_free=0) as q, browser(q) as client:
        assert q.spool is not None
        with closing(
            SQLiteStore(tmp_path / "spool.db", role="spool", min_free=0, ticks=lambda: (name, now - silent), timeout=20.0)
        ) as producer:
            producer.spool([message("a")], outage=Away(now - silent, "refused"))
        assert q.spool.events.outage() is not None
        eventually(lambda: client.get("/overview.json").json()["primary"]["state"] == "up")
        assert (q.spool.events.outage() is None) is ends
