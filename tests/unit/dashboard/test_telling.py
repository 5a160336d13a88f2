"""What a page must not leave to guesses: filters that are none, what isn't known yet or now, and where a way out is."""

from __future__ import annotations

import time

import pytest

from spoolq import SpoolQ, wire
from spoolq.dashboard.views import overview
from spoolq.dashboard.views.doctor import Line, lines
from spoolq.job import Attempt, Failure
from spoolq.store.upkeep import Finding
from spoolq.whereabouts import Sighting, Whereabouts, timeline
from tests.unit.dashboard.hands import OWN, browser, words


@pytest.mark.parametrize("name", ["since", "before"])
def test_a_filter_that_is_no_time_means_nothing_in_place_of_everything(box: SpoolQ, name: str) -> None:
    with browser(box) as client:
        page = client.get("/failures", params={name: "yesterday"})
        assert (page.status_code, "'yesterday' is no time" in words(page.text)) == (422, True)
        assert client.post("/failures/discard", data={name: "2 hrs", "typed": "discard"}, headers=OWN).status_code == 422
        assert client.get("/failures", params={name: "2h"}).status_code == 200


def test_checks_that_could_not_be_made_for_one_reason_are_one_line() -> None:
    bad, well = Finding("redis", "problem", "away", "start it"), Finding("place", "ok", "well", "")
    unseen = [Finding(name, "unknown", "not asked", "look again") for name in ("memory", "role")]
    assert lines([bad, *unseen, well, well]) == [
        Line("problem", ("redis",), "away", "start it"),
        Line("unknown", ("memory", "role"), "not asked", "look again"),
        Line("ok", ("place",), "well", ""),
        Line("ok", ("place",), "well", ""),
    ]


def test_what_the_doctor_has_not_looked_at_yet_is_not_counted_as_none(box: SpoolQ) -> None:
    with browser(box) as client:
        examination = client.app.state.desk.examination  # type: ignore[attr-defined]
        examination.running = True  # a first round that goes on
        assert "Problems – Warnings –" in _numbers(client.get("/doctor").text)
        found = [Finding("tasks", "unknown", "no application was given", "`spoolq doctor APP`")]
        examination.findings, examination.at, examination.running = found, time.time(), False
        page = client.get("/doctor").text
        assert "Problems 0 Warnings 0 Not known 1" in _numbers(page)
        assert "<code>spoolq doctor APP</code>" in page


def test_a_queue_s_file_has_no_spool_in_its_chart(box: SpoolQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "enqueued", lambda *_: [(1000, 3, 0), (1060, 4, 0)])
    with browser(box) as client:
        chart = client.get("/").text.partition('id="chart-came"')[2].partition("</figure>")[0]
        assert "Time the queue's file" in words(chart)
        assert chart.count("data-n=") == 2


def _numbers(html: str) -> str:
    return words(html).partition("Look again")[0]


def test_whether_a_schedule_is_paused_is_not_known_while_redis_is_gone(q: SpoolQ, box: SpoolQ) -> None:
    for one, says in ((q, "not known"), (box, "on")):
        one.periodic("30 2 * * *", name="nightly")(one.task(queue="mail")(nightly))
        with browser(one) as client:
            assert f"{says} Run now" in words(client.get("/cron").text)


def nightly() -> None: ...


def test_an_attempt_stands_before_the_failure_that_it_led_to(box: SpoolQ) -> None:
    job = box.remote("send", "mail").job()
    last = Attempt(1, 1000.0, "ValueError", "no")
    failure = Failure(job.id, "mail", "", "ValueError", "no", (), 1000.0, wire.encode(job), 1, (last,))
    found = Whereabouts(job.id, (Sighting("primary", "failed", "mail", failure.payload, None, failure),), box.status(job.id))
    assert [moment.what for moment in timeline(found, 2000.0) if moment.at == 1000.0] == ["attempt 1", "failed"]


def test_a_page_that_says_what_is_wrong_has_the_navigation(box: SpoolQ) -> None:
    box.remote("send", "mail").enqueue()
    with browser(box) as client:
        client.get("/")
        for path in ("/nowhere", "/job?id=nothing"):
            page = client.get(path)
            assert (page.status_code, 'href="/queues"' in page.text) == (404, True)
