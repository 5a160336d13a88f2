"""One browser for the tests of this folder, a deployment for each module, a tab of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.chromium import FLAGS, NONE_FOUND, find_chromium
from tests.browser.house import House
from tests.browser.tab import WITHIN, Tab

expect.set_options(timeout=WITHIN)


# Not for the session: its loop would be in the way of other folders' tests
@pytest.fixture(scope="package")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    if request.config.getoption("--no-browser"):
        pytest.skip("--no-browser")
    path = find_chromium()
    if path is None:
        pytest.fail(NONE_FOUND, pytrace=False)
    with sync_playwright() as driver, driver.chromium.launch(executable_path=path, args=FLAGS) as launched:
        yield launched


@pytest.fixture(scope="module")
def house(browser: Browser) -> Iterator[House]:
    """Redis, an application and its producer; workers and dashboards are started by the module."""
    made = House()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def address(house: House) -> str:
    """Where the module's dashboard is."""
    return house.dashboard()


@pytest.fixture
def tabs(browser: Browser, address: str) -> Iterator[Callable[..., Tab]]:
    """Open tabs, `tabs(**options of the context)`; in the end no one of them complained."""
    opened: list[Tab] = []

    def new(at: str = "", **options: object) -> Tab:
        opened.append(Tab(browser, at or address, **options))
        return opened[-1]

    try:
        yield new
        for tab in opened:
            tab.clean()
    finally:
        for tab in opened:
            tab.close()


@pytest.fixture
def tab(tabs: Callable[..., Tab]) -> Tab:
    return tabs()
