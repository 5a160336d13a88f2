"""Whatever stands in a job, a queue's name or an error: a page shows it, and does nothing else with it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from spoolq import SpoolQ, wire
from spoolq.dashboard import create_app
from spoolq.dashboard.desk import Desk
from spoolq.dashboard.pages import environment, short, text, visible
from spoolq.dashboard.views import VIEWS
from spoolq.errors import StoreUnavailable
from spoolq.job import Attempt, Failure, Job
from tests.unit.dashboard.hands import OWN, browser

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "quotes": "\"'><img src=x onerror=alert(1)>",
    "address": "javascript:alert(1)",
    "template": "{{ 7 * 7 }}{% raw %}",
    "lines": "one\ntwo\r\nSet-Cookie: a=b",
    "turned": "\u202egnp.exe\u2066",
    "nul": "a\x00b\x1b[31m",
    "half": "\ud800 half",
    "large": "<b>" * 400_000,
    "path": "../../../etc/passwd",
    "comment": "--><script>alert(1)</script><!--",
}


class Tags(HTMLParser):
    """What a browser would make of it: every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def harmless(html: str) -> None:
    """No tag, attribute or address that a template didn't write, and no character that a page shouldn't hold."""
    for tag, attributes in Tags(html).tags:
        assert tag not in {"img", "b", "iframe", "style", "object", "base"}, tag
        assert tag != "script" or str(attributes.get("src", "")).startswith("/static/")
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        for name in ("href", "src", "action", "data-live", "data-here"):
            assert re.match(r"(/(?!/)|#|$)", attributes.get(name) or ""), (tag, name, attributes[name])
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", html)
    assert len(html) < 1 << 20


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_every_page_bears_hostile_queues(q: SpoolQ, text: str) -> None:
    queue = text[:200].encode("utf-8", "replace").decode()
    assert q.spool is not None
    try:
        q.spool.spool([wire.message(Job("j1", f"task {queue}"[:200], queue.replace("\n", " "), (text[:50_000],)))])
    except Exception:  # a name that no job can carry: then none does
        q.spool.spool([wire.message(Job("j1", "task", "queue", (text[:50_000].encode("utf-8", "replace").decode(),)))])
    client = browser(q)
    for view in VIEWS:
        harmless(client.get(view.path).text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_every_page_bears_a_hostile_query(q: SpoolQ, text: str) -> None:
    client = browser(q)
    given = text[:5000].encode("utf-8", "replace").decode()
    for view in VIEWS:
        for name in ("name", "kind", "before", "span", "note", "queue", "after", "id", "q"):
            answer = client.get(view.path, params={name: given})
            assert answer.status_code in (200, 400, 404, 422), (view.path, name, answer.status_code)
            harmless(answer.text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_error_of_foreign_words_is_shown_and_no_more(q: SpoolQ, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StoreUnavailable(text, reason="refused")

    monkeypatch.setattr(q.spool, "info", broken)
    q.spool.ready(2.0)  # type: ignore[union-attr]
    client = browser(q)
    for path in ("/", "/spool"):
        harmless(client.get(path).text)
    harmless(client.post("/spool/export", headers=OWN).text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_journal_is_shown_and_no_more(q: SpoolQ, text: str) -> None:
    assert q.spool is not None
    q.spool.events.record("action", text.encode("utf-8", "replace").decode(), detail=text.encode("utf-8", "replace").decode())
    client = browser(q)
    page = client.get("/events")
    assert page.status_code == 200
    harmless(page.text)
    assert client.get("/events.json").json()["events"]


def test_what_a_page_is_given_is_escaped_in_text_and_attributes() -> None:
    env = environment()
    for hostile in HOSTILE.values():
        html = env.from_string('<p title="{{ x }}">{{ x }} {{ x|short }}</p><pre>{{ x|text(4000) }}</pre>').render(x=hostile)
        assert [tag for tag, _ in Tags(html).tags] == ["p", "pre"]
        harmless(html)


def test_a_name_that_isnt_there_is_an_error_and_no_blank() -> None:
    with pytest.raises(Exception, match="undefined"):
        environment().from_string("{{ nothing }}").render()


def test_control_characters_and_those_that_turn_the_writing_are_shown_as_escapes() -> None:
    assert visible("a\x00b\u202ec\x1b") == "a\\x00b\\u202ec\\x1b"
    assert text("one\n\ttwo\r") == "one\n\ttwo\\r"
    assert short("one\n  two\tthree") == "one two three"
    assert short("x" * 100, 10) == "xxxxxxxxx…"
    assert len(str(visible("x" * 1_000_000))) < 2100
    assert "1,000,000 characters" in str(visible("x" * 1_000_000))


def test_arguments_are_shown_without_what_looks_like_a_secret(q: SpoolQ) -> None:
    shown = Desk(q).shown_arguments(
        "login", ["ann", {"password": "tiger", "Api_Key": "k", "deep": [{"access_token": "t"}], "n": 1}]
    )
    assert "ann" in shown
    assert not re.search('tiger|"k"|"t"', shown)
    assert shown.count("(hidden)") == 3


def test_what_redact_returns_is_what_is_shown(q: SpoolQ) -> None:
    desk = Desk(q, redact=lambda task, arguments: [task, len(arguments)])
    assert desk.shown_arguments("login", ["ann", "tiger"]) == '[\n "login",\n 2\n]'


def test_a_redact_that_fails_shows_nothing(q: SpoolQ) -> None:
    def redact(task: str, arguments: object) -> object:
        raise KeyError("tiger")

    assert Desk(q, redact=redact).shown_arguments("login", ["tiger"]) == "(redact failed: KeyError)"


def test_arguments_of_a_megabyte_are_cut(q: SpoolQ) -> None:
    assert len(Desk(q).shown_arguments("t", ["x" * (1 << 20)])) < 4100


def test_a_secret_of_the_url_is_on_no_page_and_in_no_error(tmp_path: object) -> None:
    with SpoolQ("redis://user:s3cr3t@127.0.0.1:1/0", spool=f"{tmp_path}/spool.db") as q:
        client = TestClient(create_app(q, no_auth=True))
        answers = [client.get(path) for view in VIEWS for path in (view.path, f"{view.path.rstrip('/') or '/overview'}.json")]
        answers += [client.post(path, headers=OWN) for path in ("/spool/probe", "/spool/drain", "/pause", "/spool/export")]
        answers += [client.get("/readyz"), client.get("/nothing")]
    assert all("s3cr3t" not in answer.text for answer in answers)


def test_the_password_is_on_no_page(q: SpoolQ) -> None:
    client = browser(q, password="s3cr3t")
    for view in VIEWS:
        assert "s3cr3t" not in client.get(view.path, auth=("ann", "s3cr3t")).text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_pages_of_one_queue_job_and_failure_bear_it_too(box: SpoolQ, text: str) -> None:
    said = text[:2000].encode("utf-8", "replace").decode()
    name = "".join(char if char != "\n" else " " for char in said)[:150]
    history = (Attempt(1, 1000.0, said[:200], said, said[:100], 0.5),)
    box.primary.put([wire.message(Job("j1", name, name, (said, {said[:50]: said}), history=history, attempt=1, enqueued_at=1.0))])
    box.primary.put([wire.message(Job("j2", name, name, (said,), history=history, attempt=1, run_at=4e9))])
    box.primary.put([wire.message(Job("j3", name, "failing", (said,)))])
    worker = box.worker_info(["failing"], 1)
    [claim] = box.primary.claim(worker, 1, ["failing"], 1).claims
    box.primary.fail(claim, Failure("j3", "failing", said, said[:200], said, (said, said), 1000.0, claim.payload, 1, history))
    with browser(box) as client:
        pages = [
            *(("/queue", {"name": name, "state": state, "text": said[:300]}) for state in ("", "scheduled")),
            *(("/job", {"id": id, "show": show}) for id in ("j1", "j2", "j3") for show in ("", "arguments")),
            *((path, {"task": said[:300], "queue": said[:300], "class": said[:300]}) for path in ("/failures", "/retries")),
            *((path, {}) for path in ("/failures", "/retries", "/queues", "/workers")),
            ("/queues", {"name": said[:300]}),
        ]
        for path, query in pages:
            answer = client.get(path, params=query)
            assert answer.status_code in (200, 404), (path, answer.text[:300])
            harmless(answer.text)
        for path, form in (
            ("/queue/clear", {"name": name}),
            ("/failures/discard", {"error": said[:300]}),
            ("/job/delete", {"id": said[:100]}),
        ):
            harmless(client.post(path, data={**form, "back": said[:300]}, headers=OWN).text)


@pytest.mark.parametrize("name", ["X-Api-Key", "apiKey", "AWS_SECRET_ACCESS_KEY", "Proxy-Authorization", "db pwd", "passphrase"])
def test_a_secret_is_known_by_its_name_however_that_is_written(q: SpoolQ, name: str) -> None:
    assert "tiger" not in Desk(q).shown_arguments("login", [{name: "tiger"}])


def test_a_task_of_half_a_character_is_shown_among_the_failures(box: SpoolQ) -> None:
    """JSON can name what UTF-8 can't hold, and Node writes it; a link holds bytes."""
    payload = rb'{"class":"\ud800t","queue":"q","args":[],"id":"j1"}'
    box.primary.put([wire.message(Job("j1", "t", "q"))._replace(payload=payload)])
    [claim] = box.primary.claim(box.worker_info(["q"], 1), 1, ["q"], 1).claims
    box.primary.fail(claim, Failure("j1", "q", "E", "no", "t", (), 1000.0, payload, 1, ()))
    page = browser(box).get("/failures")
    assert page.status_code == 200
    harmless(page.text)


def test_a_name_with_a_line_of_its_own_is_no_second_line_of_the_log(box: SpoolQ, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "spoolq.dashboard")
    forged = "x\nspoolq: CRITICAL all jobs are lost"
    client = browser(box)
    client.post("/cron/resume", data={"name": forged}, headers=OWN)
    said = [record.getMessage() for record in caplog.records if "CRITICAL" in record.getMessage()]
    assert said
    assert not any("\n" in line for line in said)
    assert client.post("/job/cancel", data={"id": forged}, headers=OWN).status_code == 422
