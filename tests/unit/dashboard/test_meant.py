"""What an action changes is what its page named and its question counted, and the journal says what that was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from spoolq import SpoolQ, moving, wire
from spoolq.errors import StoreUnavailable
from spoolq.job import Failure, Job
from spoolq.store.events import Event
from tests.unit.dashboard.hands import OWN, browser, words
from tests.unit.dashboard.test_hostile import HOSTILE
from tests.waiting import eventually

ODD = {**HOSTILE, "blank": "my\u00a0queue", "joined": "\U0001f469\u200d\U0001f4bb", "front": " mail", "percent": "50%25"}
del ODD["large"]


class Forms(HTMLParser):
    """A page's forms, as a browser would send them: the action of each, and its fields."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append((str(given["action"]), {}))
        elif tag == "input" and self.found and given.get("name"):
            self.found[-1][1][str(given["name"])] = given.get("value") or ""

    def of(self, action: str) -> list[dict[str, str]]:
        return [fields for path, fields in self.found if path == action]


@pytest.fixture
def client(box: SpoolQ) -> Iterator[TestClient]:
    with browser(box) as one:
        yield one


def seen(client: TestClient, action: str, path: str, **query: str) -> list[dict[str, str]]:
    """The forms of that action on a page, once that shows what is there now."""

    def look() -> list[dict[str, str]]:
        client.app.state.desk.sampler.forget()  # type: ignore[attr-defined]
        return Forms(client.get(path, params=query).text).of(action)

    return eventually(look, what=f"{path} with {action}")


def post(client: TestClient, path: str, form: dict[str, str], **more: str) -> Any:
    return client.post(path, data={**form, **more}, headers=OWN, follow_redirects=False)


def fail(q: SpoolQ, id: str, task: str = "send", exception: str = "ValueError", queue: str = "mail") -> None:
    q.primary.put([wire.message(Job(id, task, queue))])
    [claim] = q.primary.claim(q.worker_info([queue], 1), 1, [queue], 1).claims
    q.primary.fail(claim, Failure(id, queue, "host:1", exception, "no", (), time.time(), claim.payload, 1, ()))


def actions(q: SpoolQ) -> list[Event]:
    return q.journal().page(None, 100, kinds=["action"])


@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_the_queue_whose_name_is_shown_is_the_one_that_is_changed(box: SpoolQ, client: TestClient, name: str) -> None:
    name = name.replace("\n", " ").replace("\ud800", "")
    box.primary.put([wire.message(Job("j1", "send", "other"))._replace(queue=name)])
    [pause] = seen(client, "/queues/pause", "/queues")
    assert post(client, "/queues/pause", pause).status_code == 303
    assert list(box.primary.paused()) == [name]
    [clear] = seen(client, "/queue/clear", "/queue", name=name)
    [sure] = Forms(post(client, "/queue/clear", clear).text).of("/queue/clear")
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    assert post(client, "/queue/clear", sure, typed=shown).status_code == 303
    assert list(box.primary.depths()) == []


def test_a_group_without_a_word_in_its_name_is_that_group_alone(box: SpoolQ, client: TestClient) -> None:
    fail(box, "j1")
    fail(box, "j2", task=" ", exception=" ")
    its = next(form for form in seen(client, "/failures/discard", "/failures") if form.get("class") == " ")
    assert "failures of 1 job " in words(post(client, "/failures/discard", its).text)
    assert post(client, "/failures/discard", its, typed="discard").status_code == 303
    assert box.primary.failures.count() == 1


@pytest.mark.parametrize(("action", "said"), [("discard", {"typed": "discard"}), ("retry", {})])
def test_what_fails_after_the_question_is_not_part_of_the_answer(
    box: SpoolQ, client: TestClient, action: str, said: dict[str, str]
) -> None:
    path = f"/failures/{action}"
    for id in ("j1", "j2"):
        fail(box, id)
    [sure] = Forms(post(client, path, {"task": "send"}).text).of(path)
    fail(box, "j3")
    box.primary.failures.remove(["j1"])
    assert post(client, path, sure, **said).status_code == 303
    assert [failure.id for failure in box.primary.failures.page(0, 10)] == ["j3"]


def test_what_is_scheduled_after_the_question_is_not_part_of_the_answer(box: SpoolQ, client: TestClient) -> None:
    send = box.remote("send", "mail")
    for path, asked, left in (("/scheduled/delete", 2, 1), ("/scheduled/now", 1, 1), ("/scheduled/delete", 1, 0)):
        form: dict[str, str] = {"task": "send"}
        for _ in range(asked - len(waiting(box))):
            send.using(delay=600).enqueue()
        answer = client.post(path, data=form, headers={**OWN, "Accept": "application/json"})
        needs = answer.json()["needs"]
        if left:
            send.using(delay=60).enqueue()
        assert post(client, path, form, **needs).status_code == 303
        assert len(waiting(box)) == left


def test_a_question_that_counted_none_is_answered_for_none(box: SpoolQ, client: TestClient) -> None:
    [sure] = Forms(post(client, "/scheduled/delete", {}).text).of("/scheduled/delete")
    box.remote("send", "mail").using(delay=60).enqueue()
    assert post(client, "/scheduled/delete", sure).status_code == 303
    assert len(waiting(box)) == 1


def waiting(q: SpoolQ) -> list[Any]:
    return q.primary.waiting_jobs.page(scheduled=True)[0]


def test_the_journal_names_the_job_itself_whatever_the_form_calls_it(box: SpoolQ, client: TestClient) -> None:
    id = box.remote("send", "mail").enqueue().id
    [first, *_] = seen(client, "/job/delete", "/queue", name="mail")
    form = {**first, "id": "another"}
    assert f"Delete {id} for good" in words(post(client, "/job/delete", form).text)
    post(client, "/job/delete", form, confirmed="yes")
    [event] = actions(box)
    assert event.text.endswith(f"Deleted {id}.")
    assert (event.detail["id"], event.detail["queue"]) == (id, "mail")


def test_what_was_searched_for_in_arguments_is_in_no_journal(box: SpoolQ, client: TestClient) -> None:
    box.remote("send", "mail").using(delay=60).enqueue("ann@example.com")
    post(client, "/scheduled/delete", {"text": "ann@example", "queue": "mail"}, confirmed="yes")
    [event] = actions(box)
    assert event.text.endswith("Deleted 1 job. (queue mail, text …)")
    assert "example" not in repr(event)


@pytest.mark.parametrize(
    ("status", "says", "why"),
    [(503, "the disk is gone", "the disk is gone"), (500, "This failed; the log of the dashboard says why", "TypeError")],
)
def test_an_action_that_breaks_off_is_in_the_journal(
    box: SpoolQ, client: TestClient, monkeypatch: pytest.MonkeyPatch, status: int, says: str, why: str
) -> None:
    for _ in range(3):
        box.remote("send", "mail").using(delay=60).enqueue()
    real, left = moving.to_front, [True, True]
    error = StoreUnavailable("the disk is gone.", reason="disk") if status == 503 else TypeError("ann@example.com")

    def gone(*args: Any) -> bool:
        if not left:
            raise error
        left.pop()
        return real(*args)

    monkeypatch.setattr(moving, "to_front", gone)
    said = post(client, "/scheduled/now", {"task": "send", "text": "sen"}, confirmed="yes")
    assert (said.status_code, len(waiting(box))) == (status, 1)
    assert f"{says}. What was done before that stays done" in words(said.text)
    assert "ann@" not in said.text
    [event] = actions(box)
    assert f"scheduled.now did not come to its end, some of it may be done: {why}" in event.text
    assert (event.detail["what"], event.detail["asked"]) == ("scheduled.now", {"task": "send"})


def test_a_users_name_is_no_line_of_its_own(box: SpoolQ, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "spoolq.dashboard")
    box.remote("send", "mail").enqueue()
    with browser(box, password="tiger") as client:
        client.post("/pause", data={"confirmed": "yes"}, headers=OWN, auth=("ann\nCRITICAL \x1b[31mall is lost", "tiger"))
    [event] = actions(box)
    assert event.detail["user"] == "annCRITICAL [31mall is lost"
    assert not any(set("\n\x1b") & set(record.getMessage()) for record in caplog.records)


def test_a_form_in_bare_utf_8_means_what_it_says(box: SpoolQ, client: TestClient) -> None:
    """As `curl -d` sends it."""
    answer = client.post("/queues/pause", content="name=köln".encode(), headers=OWN, follow_redirects=False)
    assert answer.status_code == 303
    assert list(box.primary.paused()) == ["köln"]
