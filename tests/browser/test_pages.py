"""True of every page, with hostile names on it, while Redis is there and while it is gone: no complaint of the browser's, no
finding of axe's, no sideways scrolling on a phone, and nothing that a name says is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, expect

from tests.browser.furnished import HOSTILE, LOST, QUEUES, SCHEDULES, furnish, paths
from tests.browser.house import House
from tests.browser.tab import Tab
from tests.waiting import eventually

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(house: House) -> str:
    (house.dir / "hostile.py").write_text(SCHEDULES)
    address = house.dashboard(app="hostile:q")
    furnish(house, address)
    return address


@pytest.fixture(scope="module")
def pages(browser: Browser, address: str) -> list[str]:
    """Every page's path."""
    tab = Tab(browser, address)
    found = paths(tab.page, address)
    tab.close()
    assert len(found) > 20, found
    return found


@pytest.fixture(scope="module", params=["up", "gone"])
def redis(request: pytest.FixtureRequest, house: House, address: str, pages: list[str]) -> Iterator[str]:
    """Redis as it was, then an outage in which the spool has jobs of hostile names too."""
    if request.param == "up":
        yield "up"
        return
    with house.away():
        for each, queue in zip(HOSTILE, QUEUES, strict=True):
            house.put(each, (each,), queue=queue, subject=each)
            house.put(each, (each,), queue=queue, delay=3600)
        eventually(lambda: house.ask("/spool.json", address)["spool"]["info"]["rows"] >= 2 * len(HOSTILE), what="the spool")
        pages += [f"/queue?in=spool&name={quote(QUEUES[0])}", "/scheduled?in=spool", "/failures?in=spool"]
        yield "gone"


def each(tab: Tab, pages: list[str]) -> Iterator[str]:
    """Go to one after the other; each is whole, and shows no more than the words of what is hostile."""
    for path in pages:
        with tab.refusing(404):
            tab.open(path)
        expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
        assert tab.page.locator("img, main script").count() == 0, path
        yield path
        assert tab.faults == [], (path, tab.faults)


def test_no_page_makes_the_browser_complain(tab: Tab, pages: list[str], redis: str) -> None:
    for path in each(tab, pages):
        assert tab.page.title().endswith(" · spoolq"), path
        if path == LOST:  # a page of its own, which needs no store
            continue
        expect(tab.health).to_contain_text("Redis down for" if redis == "gone" else "Nothing is lost on this host")


@pytest.mark.parametrize("screen", [390, 768])
def test_no_page_scrolls_sideways_on_a_phone_or_a_tablet(
    tabs: Callable[..., Tab], pages: list[str], redis: str, screen: int
) -> None:
    tab = tabs(viewport={"width": screen, "height": 844}, has_touch=True, is_mobile=True)
    wide: list[Any] = []
    for path in each(tab, pages):
        width = tab.page.evaluate("() => document.documentElement.scrollWidth")
        if width > screen:
            wide.append((path, width))
    assert wide == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_axe_finds_nothing_serious_in_light_and_dark(tabs: Callable[..., Tab], pages: list[str], redis: str) -> None:
    tab = tabs(bypass_csp=True)
    serious: dict[str, str] = {}
    for path in each(tab, pages):
        tab.page.evaluate(AXE_SCRIPT)
        for scheme in ("light", "dark"):
            tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            found = AxeResults(tab.page.evaluate("() => axe.run({resultTypes: ['violations']})"))
            for one in found.response["violations"]:
                if one["impact"] in ("serious", "critical"):
                    serious.setdefault(
                        f"{one['id']} {one['nodes'][0]['target']}", f"{scheme} {path}: {found.generate_report(one['id'])}"
                    )
    assert not serious, "\n".join(serious.values())
