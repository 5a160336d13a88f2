"""Other ways in: read-only, by a password, under a prefix, mounted in another application, without Redis at all."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, expect

from tests.browser.house import House
from tests.browser.tab import Tab
from tests.waiting import eventually

pytestmark = pytest.mark.browser


def views(tab: Tab) -> list[str]:
    """Each page of the navigation."""
    return [
        link.evaluate("(link) => link.href")
        for link in tab.page.get_by_role("navigation", name="Views").get_by_role("link").all()
    ]


def test_read_only_has_no_button_that_changes_anything_and_refuses(tabs: Callable[..., Tab], house: House) -> None:
    house.put("send", ("a",), queue="kept")
    tab = tabs(house.dashboard("--read-only"))
    page = tab.open()
    for each in [*views(tab), f"{tab.address}/queue?name=kept"]:
        page.goto(each)
        assert page.locator("form[method=post]").count() == 0, each
        expect(tab.health).to_contain_text("read-only")
    with tab.refusing(403):
        answer = page.evaluate(
            "() => fetch('/queues/pause', {method: 'POST', body: new URLSearchParams({name: 'kept'})}).then((r) => r.status)"
        )
    assert answer == 403
    page.goto(f"{tab.address}/queue?name=kept")
    expect(page.get_by_text("no worker takes its jobs")).to_have_count(0)


def test_the_password_is_asked_for(tabs: Callable[..., Tab], house: House) -> None:
    address = house.dashboard(SPOOLQ_DASHBOARD_PASSWORD="tiger")
    stranger = tabs(address)
    ann = tabs(address, http_credentials={"username": "ann", "password": "tiger"})
    # until the end: what the browser says of the page that it was refused may come after that it has none
    with stranger.refusing(401), ann.refusing(401):  # hers asks without, first
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):  # nobody types one
            stranger.open()
        ann.open()
        expect(ann.heading("Overview")).to_be_visible()
        house.put("send", ("a",), queue="anns")
        with ann.standing():
            expect(ann.number("Queued")).not_to_have_text("0")
        ann.open("/queue?name=anns")
        ann.press("Pause")
        ann.told("anns is paused")
    eventually(lambda: "ann at 127.0.0.1: queue.pause: anns is paused" in house.log(), what="who did it in the log")


def everywhere(tab: Tab, house: House, queue: str) -> None:
    """Links, forms, what is static and the stream lead where they should."""
    tab.open("/")
    for each in views(tab):
        assert each.startswith(tab.address + "/"), each
        tab.page.goto(each)
    tab.open("/queues")
    with tab.standing():
        house.put("send", ("a",), queue=queue)
        expect(tab.row(queue)).to_be_visible()
    tab.press(f"Pause {queue}")
    tab.told(f"{queue} is paused")
    expect(tab.page).to_have_url(re.compile(re.escape(tab.address) + r"/queues"))


def test_under_a_prefix_everything_leads_where_it_should(tabs: Callable[..., Tab], house: House) -> None:
    address = house.dashboard("--prefix", "/deep/spoolq")
    assert address.endswith("/deep/spoolq")
    everywhere(tabs(address), house, "prefixed")


MOUNTED = """
import socket, sys
import patient
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from shop import q
from spoolq.dashboard import create_app

app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("the shop")), Mount("/admin/jobs", create_app(q, no_auth=True))])
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


def test_mounted_in_another_application_too(tabs: Callable[..., Tab], house: House) -> None:
    everywhere(tabs(house.serve(MOUNTED, "/admin/jobs")), house, "mounted")


def test_a_queue_that_is_a_file_has_its_pages_and_no_spool(tabs: Callable[..., Tab], house: House) -> None:
    tab = tabs(house.dashboard("--url", "sqlite:///jobs.db", app=""))
    page = tab.open()
    for each in views(tab):
        page.goto(each)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(f"{tab.address}/spool")
    expect(page.get_by_text("there is no spool")).to_be_visible()
