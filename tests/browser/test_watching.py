"""A page that is open moves: numbers, an outage and its end, without being loaded anew."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.house import House
from tests.browser.tab import Tab
from tests.waiting import eventually

pytestmark = pytest.mark.browser


def test_an_outage_is_watched_from_its_first_job_to_its_end(tab: Tab, house: House) -> None:
    page = tab.open()
    expect(tab.heading("Overview")).to_be_visible()
    expect(tab.number("Queued")).to_have_text("0")
    with tab.standing():
        assert [route for _, route in house.routes("send", *[(f"{n}@example.com",) for n in range(3)])] == ["primary"] * 3
        expect(tab.number("Queued")).to_have_text("3")

        house.server.kill()
        expect(tab.health).to_contain_text("Redis")
        assert [route for _, route in house.routes("send", *[(f"{n}@example.com",) for n in range(4)])] == ["spool"] * 4
        expect(tab.number("Spooled")).to_have_text("4")
        expect(tab.health).to_contain_text(re.compile(r"Nothing is lost.*Redis down for .*4 jobs are safe in the spool", re.S))
        house.put("send", *[(f"{n}@example.com",) for n in range(3)])
        expect(tab.number("Spooled")).to_have_text("7")
        expect(page.get_by_text(re.compile("outage has gone on for"))).to_be_visible()

        house.server.start()
        house.worker()
        expect(tab.number("Spooled")).to_have_text("0")
        expect(page.get_by_text(re.compile(r"last outage ended .* 7 jobs spooled"))).to_be_visible()
        expect(tab.number("Processed")).to_have_text("10")
    tab.open("/outages")
    expect(page.get_by_role("row")).to_have_count(2)
    cells = page.get_by_role("row").nth(1).get_by_role("cell")
    expect(cells.nth(5)).to_have_text(re.compile(r"\d"))  # in how long it was drained: told when the spool is looked at again
    ended, _, cause, spooled, peak, _, twice = cells.all_inner_texts()
    assert re.match(r"\d\d:\d\d|\d{4}-", ended), ended
    assert (cause, spooled, peak, twice) == ("refused", "7", "7", "0")


def test_the_drainer_that_waits_for_redis_is_told_from_none(tab: Tab, house: House) -> None:
    house.worker("--queues", "idle")
    eventually(lambda: house.server.client().smembers("resque:workers"), what="the worker")
    with house.away():
        house.put("send", ("a",), queue="elsewhere")  # which no worker of another test runs
        page = tab.open("/spool")
        expect(page.get_by_text("It goes on by itself when Redis answers.")).to_be_visible()
