"""From a request to a view and back: JSON twins, what every change goes through, and bounded time."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from spoolq import SpoolQ
from spoolq.dashboard import create_app, serving
from spoolq.dashboard.access import Visitor
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, NotThere, Refused, View, link
from spoolq.dashboard.desk import Desk
from spoolq.dashboard.guard import Guard
from spoolq.dashboard.serving import Serving
from spoolq.dashboard.views import ACTIONS, VIEWS
from spoolq.errors import StoreUnavailable
from tests.unit.dashboard.hands import OWN, browser, words
from tests.waiting import eventually


class Stage:
    """An application with one view and a few actions, and what was done by them."""

    def __init__(self, q: SpoolQ, **options: Any) -> None:
        self.done: list[dict[str, str]] = []
        self.show: Any = lambda ask: Answer("spool.html", "A view", {"side": None}, {"value": ask.number("n", 7, 9)})
        views = (View("view", "/", lambda ask: self.show(ask), "View"), View("other", "/other", lambda ask: self.show(ask)))
        actions = (
            Action("do", "/do", self.act),
            Action("ask", "/ask", self.act, lambda ask: Confirm(f"Do it to {ask.form.get('name')}?", "Do it")),
            Action("type", "/type", self.act, lambda ask: Confirm("Delete 3 jobs?", "Delete", typed="mail")),
            Action("refuse", "/refuse", self.refuse),
        )
        self.desk = Desk(q, **options)
        routes = Serving(self.desk, views, actions).routes()
        self.client = TestClient(Starlette(routes=routes, middleware=[Middleware(Guard, door=None, hosts=None)]))

    def act(self, ask: Ask) -> Done:
        self.done.append(dict(ask.form))
        return Done("It is done.", link("/other", name="a&b"), {"count": 3})

    def refuse(self, ask: Ask) -> Done:
        raise Refused("That makes no sense. Nothing was changed.")

    def post(self, path: str, data: dict[str, str] | None = None, **headers: str) -> Any:
        return self.client.post(path, data=data or {}, headers={**OWN, **headers}, follow_redirects=False)


@pytest.fixture
def stage(q: SpoolQ) -> Stage:
    return Stage(q)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_each_view_is_a_page_and_a_document(q: SpoolQ, view: View) -> None:
    client = browser(q)
    page = client.get(view.path)
    twin = client.get(f"{view.path.rstrip('/') or '/overview'}.json")
    accepted = client.get(view.path, headers={"Accept": "application/json"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "</html>" in page.text
    for answer in (twin, accepted):
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["schema"] == 1
    assert page.status_code == twin.status_code == accepted.status_code


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_each_view_works_on_an_sqlite_queue_alone(box: SpoolQ, view: View) -> None:
    assert browser(box).get(view.path).status_code in (200, 404)  # 404: of one thing that isn't there
    box.primary.ready(2.0)  # makes the file
    assert browser(box).get(view.path).status_code in (200, 404)


def test_names_of_views_and_actions_are_their_own() -> None:
    for all_of in (VIEWS, ACTIONS):
        assert len({one.name for one in all_of}) == len({one.path for one in all_of}) == len(all_of)
    assert not {view.path for view in VIEWS} & {action.path for action in ACTIONS}


def test_a_change_is_made_told_and_written_down(stage: Stage, q: SpoolQ) -> None:
    q.spool.ready(2.0)  # type: ignore[union-attr]  # makes the file
    answer = stage.post("/do", {"name": "mail"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/other?note=")
    assert answer.headers["location"].endswith("&name=a%26b")
    assert stage.done == [{"name": "mail"}]
    assert "It is done." in words(stage.client.get(answer.headers["location"]).text)
    assert q.spool is not None
    [event] = q.spool.events.page()
    assert (event.kind, event.text) == ("action", "somebody at testclient: It is done.")
    assert dict(event.detail) == {
        "who": "somebody at testclient",
        "what": "do",
        "by": "dashboard",
        "user": "",
        "address": "testclient",
        "count": 3,
    }


def test_a_change_asked_for_as_json_is_answered_so(stage: Stage) -> None:
    answer = stage.post("/do", Accept="application/json")
    assert answer.json() == {"schema": 1, "done": "It is done.", "changed": True, "count": 3}


def test_a_note_is_nobodys_to_write(stage: Stage) -> None:
    page = stage.client.get("/", params={"note": "Your password has expired"})
    assert "expired" not in words(page.text)


def test_what_has_to_be_confirmed_is_asked_first(stage: Stage) -> None:
    asked = stage.post("/ask", {"name": "mail", "x": "<y>"})
    assert (asked.status_code, stage.done) == (200, [])
    assert "Do it to mail?" in words(asked.text)
    assert '<input type="hidden" name="x" value="&lt;y&gt;">' in asked.text
    assert stage.post("/ask", {"name": "mail", "confirmed": "no"}).status_code == 200
    assert stage.post("/ask", {"name": "mail", "confirmed": "yes"}).status_code == 303
    assert stage.done == [{"name": "mail", "confirmed": "yes"}]


def test_what_destroys_has_its_name_typed(stage: Stage) -> None:
    assert "Type mail to go on" in words(stage.post("/type").text)
    wrong = stage.post("/type", {"typed": "Mail", "confirmed": "yes"})
    assert wrong.status_code == 422
    assert "That is not it. Nothing was changed." in words(wrong.text)
    assert stage.done == []
    assert stage.post("/type", {"typed": "mail"}).status_code == 303
    assert stage.post("/type", Accept="application/json").json()["needs"] == {"typed": "mail"}


def test_a_read_only_dashboard_changes_nothing_whatever_is_sent(q: SpoolQ) -> None:
    stage = Stage(q, read_only=True)
    for path in ("/do", "/ask", "/type"):
        answer = stage.post(path, {"confirmed": "yes", "typed": "mail"})
        assert (answer.status_code, "read-only" in answer.text) == (403, True)
    assert stage.done == []


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
def test_each_action_is_refused_by_a_read_only_dashboard(q: SpoolQ, action: Action) -> None:
    answer = browser(q, read_only=True).post(action.path, data={"confirmed": "yes"}, headers=OWN)
    assert (answer.status_code, "read-only" in answer.text) == (403, True)


def test_a_read_only_dashboard_shows_no_buttons(q: SpoolQ) -> None:
    q.spool.ready(2.0)  # type: ignore[union-attr]
    assert '<form method="post"' in browser(q).get("/spool").text
    assert '<form method="post"' not in browser(q, read_only=True).get("/spool").text


def test_authorize_decides_by_visitor_and_action(q: SpoolQ) -> None:
    asked: list[tuple[Visitor, str]] = []

    def authorize(visitor: Visitor, action: str) -> bool:
        asked.append((visitor, action))
        return action in ("view", "ask")

    stage = Stage(q, authorize=authorize)
    assert stage.client.get("/").status_code == 200
    assert stage.post("/do").status_code == 403
    assert stage.post("/ask", {"confirmed": "yes"}).status_code == 303
    assert len(stage.done) == 1
    assert {action for _, action in asked} == {"view", "do", "ask"}
    assert {visitor for visitor, _ in asked} == {Visitor("", "testclient")}


def test_who_may_not_see_sees_nothing(q: SpoolQ) -> None:
    client = browser(q, authorize=lambda visitor, action: False)
    assert {client.get(view.path).status_code for view in VIEWS} == {403}
    assert client.get("/live").status_code == 403
    assert client.post("/spool/probe", headers=OWN).status_code == 403


def test_an_authorize_that_fails_lets_nobody_in(q: SpoolQ) -> None:
    def authorize(visitor: Visitor, action: str) -> bool:
        raise RuntimeError("secret of the directory")

    answer = browser(q, authorize=authorize).get("/")
    assert (answer.status_code, "secret" in answer.text) == (500, False)


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (NotThere("There is no queue named x."), 404, "no queue named x"),
        (Refused("That makes no sense."), 422, "makes no sense"),
        (StoreUnavailable("Redis is away", reason="refused"), 503, "Redis is away"),
        (RuntimeError("inner secret"), 500, "the log of the dashboard says why"),
    ],
)
def test_what_a_view_raises_is_said_in_words(stage: Stage, error: Exception, status: int, shown: str) -> None:
    def show(ask: Ask) -> Answer:
        raise error

    stage.show = show
    page, document = stage.client.get("/"), stage.client.get("/overview.json")
    assert page.status_code == document.status_code == status
    assert shown in words(page.text)
    assert shown in document.json()["error"]
    assert "inner secret" not in page.text


def test_a_store_that_hangs_holds_up_no_page(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LONGEST", 0.2)
    hangs = threading.Event()

    def show(ask: Ask) -> Answer:
        hangs.wait(60.0)
        return Answer("spool.html", "Late", {"side": None}, {})

    hanging, stage.show = show, stage.show
    quick, stage.show = stage.show, hanging
    try:
        began = time.monotonic()
        with stage.client:
            for _ in range(serving.THREADS + 4):  # more than there are threads: the next page has one all the same
                assert stage.client.get("/").status_code == 503
            stage.show = quick
            eventually(lambda: stage.client.get("/").status_code == 200)
        assert time.monotonic() - began < 60.0
    finally:
        hangs.set()


def test_a_form_that_is_too_large_is_not_read(stage: Stage) -> None:
    assert stage.post("/do", {"name": "x" * (serving.BODY + 1)}).status_code == 413
    parts = (b"x" * 65536 for _ in range(1000))  # one that doesn't say how large it is
    assert stage.client.post("/do", content=parts, headers=OWN).status_code == 413
    assert stage.post("/do", {f"n{n}": "" for n in range(serving.FIELDS + 1)}).status_code == 413
    assert stage.done == []


def test_a_form_of_any_characters_arrives(stage: Stage) -> None:
    fields = {"name": "é ✓ & = %41 \x00", "empty": ""}
    assert stage.post("/do", fields).status_code == 303
    assert stage.done == [fields]


def test_a_number_of_the_query_is_within_its_bounds(stage: Stage) -> None:
    got = [stage.client.get("/overview.json", params={"n": n}).json()["value"] for n in ("5", "50", "-1", "x", "٣", "9" * 40)]
    assert got == [5, 9, 7, 7, 7, 7]


def test_links_carry_names_of_any_kind() -> None:
    assert link("/queue", name="a b&c=d/../é", page=None, empty="") == "/queue?name=a+b%26c%3Dd%2F..%2F%C3%A9"
    assert link("/queue") == "/queue"
    assert link("/queue", name="\udcff") == "/queue?name=%FF"


def test_a_number_that_json_has_no_word_for_is_null() -> None:
    body = serving.document({"at": float("nan"), "deep": [{"far": float("inf"), "n": 1}], "path": object}).body
    assert json.loads(body) == {"schema": 1, "at": None, "deep": [{"far": None, "n": 1}], "path": str(object)}


@pytest.mark.parametrize("end", ["late", "gone"])
def test_a_form_that_never_comes_to_its_end_is_let_go(q: SpoolQ, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(serving, "CHANGING", 0.05)
    parts: list[Any] = [{"type": "http.request", "body": b"confirmed=", "more_body": True}]
    sent: list[Any] = []

    async def receive() -> Any:
        if parts:
            return parts.pop()
        return await anyio.sleep_forever() if end == "late" else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def post() -> None:
        headers = [(b"origin", b"http://testserver"), (b"host", b"testserver")]
        scope = {"type": "http", "method": "POST", "path": "/pause", "query_string": b"", "headers": headers}
        with anyio.fail_after(60):
            await create_app(q, no_auth=True)(scope, receive, send)

    anyio.run(post)
    assert sent[0]["status"] == 413
    assert b"Nothing was changed" in sent[1]["body"]
