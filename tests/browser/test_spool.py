"""The spool's page during an outage and after it, where nothing but the dashboard drains."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.house import House
from tests.browser.tab import Tab

pytestmark = pytest.mark.browser


def test_draining_is_paused_resumed_and_asked_for(tab: Tab, house: House) -> None:
    with house.away():
        house.put("send", ("a",), ("b",))
        page = tab.open("/spool")
        expect(tab.number("Waiting")).to_have_text("2")
        expect(page.get_by_role("main")).to_contain_text("nobody moves these jobs once Redis answers")
        tab.press("Pause draining")
        expect(page.get_by_role("button", name="Resume draining")).to_be_visible()
    tab.press("Probe now")
    tab.told("Redis")
    expect(page.get_by_role("main")).to_contain_text("Not draining: an operator has paused it.")
    tab.press("Resume draining")
    expect(page.get_by_role("button", name="Pause draining")).to_be_visible()
    with tab.standing():
        expect(page.get_by_role("main")).to_contain_text("No drainer running: nobody moves these jobs into Redis.")
    tab.press("Drain now")
    expect(tab.number("Waiting")).to_have_text("0")
    expect(page.get_by_role("main")).to_contain_text("No job is in the spool.")


def test_a_spool_is_exported_after_a_question(tab: Tab, house: House) -> None:
    with house.away():
        (id,) = house.put("send", ("exported@example.com",))
        page = tab.open("/spool")
        tab.press("Export…")
        expect(page.get_by_role("main")).to_contain_text("with their arguments?")
        with page.expect_download() as download:
            tab.press("Download them")
        text = download.value.path().read_text()
    assert (id in text, "exported@example.com" in text) == (True, True)
    assert download.value.suggested_filename.endswith(".jsonl")
