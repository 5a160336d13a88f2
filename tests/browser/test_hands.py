"""Hands on the keyboard, a tab that is hidden, refreshing that is off, a theme that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.house import House
from tests.browser.tab import Tab

pytestmark = pytest.mark.browser

FOCUSED = (
    "() => { const at = document.activeElement; return at.getAttribute('aria-label') || at.innerText || at.name || at.tagName; }"
)
SEEN = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
  return ring && at.getBoundingClientRect().width > 0;
}"""


def test_the_keyboard_alone_is_enough(tab: Tab, house: House) -> None:
    house.put("send", ("a",), queue="keys")
    page = tab.open("/queues")
    expect(tab.row("keys")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to the content"
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    order = []
    for _ in range(60):
        assert page.evaluate(SEEN), f"the focus on {page.evaluate(FOCUSED)!r} can't be seen"
        page.keyboard.press("Tab")
        order.append(page.evaluate(FOCUSED))
        if order[-1] == "Pause keys":
            break
    views = [link.inner_text() for link in page.get_by_role("navigation", name="Views").get_by_role("link").all()]
    assert [word for word in order if word in views][: len(views)] == views, order
    assert order[-1] == "Pause keys", order
    page.keyboard.press("Enter")
    tab.told("keys is paused")

    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("main").locator(":focus")).to_have_count(1)
    page.get_by_label("Name contains").focus()
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{tab.address}/queues?name=keys")

    page.goto(f"{tab.address}/queue?name=keys")
    page.get_by_role("button", name="Clear…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Type")).to_be_focused()
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    tab.told("Deleted 1 job of keys in Redis.")


def test_refreshing_takes_no_focus_and_nothing_that_is_open(tab: Tab, house: House) -> None:
    house.put("send", ("a",), queue="open")
    page = tab.open("/queue?name=open")
    with tab.standing():
        field = page.get_by_label("Queue to move its ready jobs to")
        field.fill("half a na")
        house.put("send", ("b",), queue="open")
        expect(tab.number("Ready")).to_have_text("2")
        expect(field).to_be_focused()
        expect(field).to_have_value("half a na")
        page.keyboard.type("me")
        expect(field).to_have_value("half a name")


def asked(tab: Tab) -> list[str]:
    """What the page asks for from now on."""
    found: list[str] = []
    tab.page.on("request", lambda request: found.append(request.url))
    return found


def test_refreshing_that_is_off_asks_for_nothing(tabs: Callable[..., Tab], house: House) -> None:
    off, on = tabs(), tabs()
    off.open("/queues")
    off.page.get_by_label("Refresh").select_option("off")
    on.open("/queues")  # meanwhile what was asked for before that has been answered
    requests = asked(off)
    house.put("send", ("a",), queue="unseen")
    expect(on.row("unseen")).to_be_visible()
    house.put("send", ("b",), queue="unseen-too")
    expect(on.row("unseen-too")).to_be_visible()
    expect(off.row("unseen")).to_have_count(0)
    assert requests == []
    off.open("/queues")
    expect(off.page.get_by_label("Refresh")).to_have_value("0")
    with off.standing():
        off.page.get_by_label("Refresh").select_option("2 s")
        house.put("send", ("c",), queue="shown")
        expect(off.row("shown")).to_be_visible()


HIDE = """(hidden) => { Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange')); }"""


def test_a_hidden_tab_asks_for_nothing(tabs: Callable[..., Tab], house: House) -> None:
    hidden, seen = tabs(), tabs()
    hidden.open("/queues")
    expect(hidden.page.get_by_label("Refresh")).to_have_value("2")
    hidden.page.evaluate(HIDE, True)
    with hidden.standing():
        seen.open("/queues")
        house.put("send", ("a",), queue="behind")
        expect(seen.row("behind")).to_be_visible()
        requests = asked(hidden)
        house.put("send", ("a",), queue="behind-too")
        expect(seen.row("behind-too")).to_be_visible()
        assert requests == []
        expect(hidden.row("behind-too")).to_have_count(0)
        hidden.page.evaluate(HIDE, False)
        expect(hidden.row("behind-too")).to_be_visible()


def test_a_theme_is_chosen_and_kept(tabs: Callable[..., Tab]) -> None:
    tab = tabs(color_scheme="light")
    page = tab.open()
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    tab.press("Theme: auto")
    tab.press("Theme: light")
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    dark = page.evaluate(background)
    assert dark != light
    tab.open("/queues")
    assert page.evaluate(background) == dark
    tab.press("Theme: dark")
    assert page.evaluate(background) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == dark
