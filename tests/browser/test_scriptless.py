"""Without JavaScript everything can be read and done; nothing pretends to move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.house import House
from tests.browser.tab import Tab
from tests.waiting import eventually

pytestmark = pytest.mark.browser


def look_until(tab: Tab, true: Callable[[], bool]) -> None:
    """Load the page again and again, as who has no JavaScript must."""

    def looked() -> bool:
        tab.page.reload()
        return true()

    eventually(looked, what="what the page is to show")


def test_the_whole_way_without_javascript(tabs: Callable[..., Tab], house: House, address: str) -> None:
    tab = tabs(java_script_enabled=False)
    house.put("send", *[(f"{n}@example.com",) for n in range(3)], queue="quiet")
    page = tab.open()
    look_until(tab, lambda: tab.number("Queued").inner_text() == "3")
    expect(page.get_by_label("Refresh")).to_be_hidden()

    page.get_by_role("navigation", name="Views").get_by_role("link", name="Queues").click()
    page.get_by_role("search").get_by_label("Name contains").fill("quiet")
    page.get_by_role("search").get_by_role("button", name="Filter").click()
    tab.press("Pause quiet")
    tab.told("quiet is paused")
    tab.press("Resume quiet")
    tab.row("quiet").get_by_role("link", name="quiet").click()
    tab.press("Clear…")
    page.get_by_label("Type").fill("quiet")
    tab.press("Clear the queue")
    tab.told("Deleted 3 jobs of quiet in Redis.")

    house.worker("--queues", "work")
    (id,) = house.put("broken", ("gate", "no way"), queue="work")
    eventually(lambda: house.ask("/failures.json", address)["failures"], what="the failure")
    house.open_gate("gate")
    page.get_by_role("link", name="Failures").click()
    tab.press(f"Retry {id}")
    tab.told(f"{id} is in its queue again")
    eventually(lambda: id in house.ran(), what="the job")

    house.server.kill()
    house.put("send", ("a",), ("b",))
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Spool").click()
    # both at once: a look that began before the jobs were there has the outage, and not yet them
    look_until(tab, lambda: "Redis down for" in tab.health.inner_text() and tab.number("Waiting").all_inner_texts() == ["2"])
    expect(tab.health).to_contain_text("Nothing is lost on this host")
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Outages").click()
    expect(page.get_by_role("row").filter(has_text="goes on")).to_contain_text("refused")
