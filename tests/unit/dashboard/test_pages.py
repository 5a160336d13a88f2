"""The pages of queues, jobs, failures and workers: what they show, what their actions do, and what they keep to themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from spoolq import SpoolQ, wire, wishes
from spoolq.dashboard import flow
from spoolq.dashboard.trends import Trends
from spoolq.facts import Facts, Side
from spoolq.job import Attempt, Failure
from spoolq.store.base import Store, Working
from spoolq.store.looking import Depth
from spoolq.store.tally import ALL, Sample
from tests.unit.dashboard.hands import OWN, browser, words
from tests.waiting import eventually


def send(q: SpoolQ, *args: Any, queue: str = "mail", task: str = "send", **options: Any) -> str:
    return q.remote(task, queue).using(**options).enqueue(*args).id


def fail(q: SpoolQ, *args: Any, error: str = "no such address", task: str = "send", exception: str = "ValueError") -> str:
    """A job that has failed after four attempts."""
    id = send(q, *args, queue="failing", task=task)
    worker = q.worker_info(["failing"], 1)
    [claim] = q.primary.claim(worker, 1, ["failing"], 1).claims
    history = tuple(Attempt(n, 1000.0 + n, exception, f"{error} {n}", "host:1", 0.5) for n in (1, 2, 3))
    trace = ('File "shop.py", line 9, in send', "    deliver(to)")
    failure = Failure(id, "failing", "host:1:failing", exception, error, trace, time.time(), claim.payload, 4, history)
    q.primary.fail(claim, failure)
    q.primary.unregister(worker)
    return id


def retrying(q: SpoolQ, *args: Any, seconds: float = 60.0) -> str:
    id = send(q, *args, queue="retried")
    worker = q.worker_info(["retried"], 1)
    [claim] = q.primary.claim(worker, 1, ["retried"], 1).claims
    job = wire.decode(claim.payload, "retried")
    q.primary.retry(claim, wire.attempted(claim.payload, job, Attempt(1, 1000.0, "KeyError", "'to'")), time.time() + seconds)
    q.primary.unregister(worker)
    return id


@pytest.fixture
def client(box: SpoolQ) -> Iterator[TestClient]:
    with browser(box) as one:
        yield one


def page(client: TestClient, path: str, **query: str) -> Any:
    """A page's twin, once the dashboard has seen what is there now."""
    client.app.state.desk.sampler.forget()  # type: ignore[attr-defined]
    answer = client.get(f"{path}.json", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(client: TestClient, path: str, **form: str) -> Any:
    return client.post(path, data=form, headers=OWN, follow_redirects=False)


def ids(store: Store, queue: str, *, scheduled: bool = False) -> list[str]:
    return [wire.decode(job.payload, queue).id for job in store.waiting_jobs.page(queue, scheduled=scheduled)[0]]


# queues


def test_queues_show_what_is_in_each(box: SpoolQ, client: TestClient) -> None:
    for n in range(3):
        send(box, n)
    send(box, 4, delay=60, queue="later")
    box.primary.pause("empty")
    shown = {line["queue"]: line for line in page(client, "/queues")["queues"]}
    assert (shown["mail"]["ready"], shown["later"]["scheduled"], shown["empty"]["paused"]) == (3, 1, True)
    assert [line["queue"] for line in page(client, "/queues", name="AI")["queues"]] == ["mail"]
    assert "mail" in words(client.get("/queues").text)


def test_a_queue_is_paused_and_resumed(box: SpoolQ, client: TestClient) -> None:
    send(box, 1)
    said = post(client, "/queues/pause", name="mail", back="queue")
    assert said.status_code == 303
    assert said.headers["location"].startswith("/queue?")
    assert "mail" in box.primary.paused()
    assert "mail is paused" in words(client.get(said.headers["location"]).text)
    post(client, "/queues/resume", name="mail")
    assert box.primary.paused() == {}


def test_its_jobs_stand_in_their_order_page_by_page_without_arguments(box: SpoolQ, client: TestClient) -> None:
    sent = [send(box, f"secret{n}") for n in range(60)]
    seen, after = [], ""
    while True:
        document = page(client, "/queue", name="mail", **({"after": after} if after else {}))
        seen += [job["id"] for job in document["jobs"]]
        assert "secret" not in str(document)
        after = document["after"]
        if not after:
            break
    assert seen == sent
    assert "secret" not in client.get("/queue", params={"name": "mail"}).text


def test_filters_stand_in_the_address(box: SpoolQ, client: TestClient) -> None:
    send(box, "a@x")
    meant = send(box, "b@x", task="other")
    for query in ({"task": "other"}, {"text": "B@X"}):
        assert [job["id"] for job in page(client, "/queue", name="mail", **query)["jobs"]] == [meant]


def test_an_address_that_makes_no_sense_is_the_first_page(box: SpoolQ, client: TestClient) -> None:
    id = send(box, 1)
    for after in ("nonsense", "[1,2,3,4,5]", '{"a":1}', '["x","y"]', "9" * 40, '["queue",-5,0]', "[[1]]", "null"):
        jobs = page(client, "/queue", name="mail", after=after)["jobs"]
        assert [job["id"] for job in jobs] in ([id], []), after
    for path in ("/retries", "/scheduled", "/failures"):
        assert client.get(path, params={"after": '["x",1]'}).status_code == 200


def test_clearing_asks_for_the_queues_name(box: SpoolQ, client: TestClient) -> None:
    send(box, 1)
    asked = post(client, "/queue/clear", name="mail")
    assert "Delete 1 ready job of mail" in words(asked.text)
    assert post(client, "/queue/clear", name="mail", typed="mial").status_code == 422
    assert len(ids(box.primary, "mail")) == 1
    assert post(client, "/queue/clear", name="mail", typed="mail").status_code == 303
    assert ids(box.primary, "mail") == []


def test_a_queue_is_moved_in_its_order(box: SpoolQ, client: TestClient) -> None:
    sent = [send(box, n) for n in range(3)]
    assert "Move 3 ready jobs of mail" in words(post(client, "/queue/move", name="mail", to="bulk").text)
    assert post(client, "/queue/move", name="mail", to="bulk", confirmed="yes").status_code == 303
    assert ids(box.primary, "bulk") == sent
    for wrong in ("", "mail", "a,b", "*"):
        assert post(client, "/queue/move", name="mail", to=wrong, confirmed="yes").status_code == 422


# one job


def test_a_job_shows_its_arguments_only_when_asked(box: SpoolQ, client: TestClient) -> None:
    id = send(box, "a@x", {"password": "hunter2", "to": "b@x"})
    plain, shown = client.get("/job", params={"id": id}), client.get("/job", params={"id": id, "show": "arguments"})
    assert "a@x" not in plain.text
    assert "a@x" in shown.text
    assert "hunter2" not in shown.text
    assert "a@x" not in str(page(client, "/job", id=id))


def test_arguments_go_through_the_hook(box: SpoolQ) -> None:
    id = send(box, "a@x")
    with browser(box, redact=lambda task, arguments: [f"{task} knows"]) as client:
        text = client.get("/job", params={"id": id, "show": "arguments"}).text
    assert "send knows" in text
    assert "a@x" not in text


def test_what_follows_a_job_hides_its_arguments_too(box: SpoolQ, client: TestClient) -> None:
    then = box.remote("next", "mail").job("c@x")
    id = box.remote("send", "mail").using(after=[then]).enqueue("a@x").id
    assert "c@x" not in client.get("/job", params={"id": id}).text
    assert "c@x" in client.get("/job", params={"id": id, "show": "arguments"}).text


def test_a_failed_job_shows_its_attempts_and_its_trace_and_is_retried(box: SpoolQ, client: TestClient) -> None:
    id = fail(box, "a@x")
    document = page(client, "/job", id=id)
    [place] = document["places"]
    assert (place["state"], place["failure"]["backtrace"][0]) == ("failed", 'File "shop.py", line 9, in send')
    assert [attempt["number"] for attempt in document["attempts"]] == [1, 2, 3]
    assert [moment["what"] for moment in document["timeline"]][:3] == ["attempt 1", "attempt 2", "attempt 3"]
    assert "deliver(to)" in client.get("/job", params={"id": id}).text
    assert post(client, "/job/retry", id=id).status_code == 303
    assert ids(box.primary, "failing") == [id]
    assert post(client, "/job/retry", id=id).status_code == 404, "it is there no more"


def known(client: TestClient, path: str, **query: str) -> dict[str, str]:
    """What leads from a list's first job back to it."""
    return dict(page(client, path, **query)["jobs"][0]["known"])


def test_a_job_is_run_now_moved_and_deleted(box: SpoolQ, client: TestClient) -> None:
    first, later = send(box, 1), send(box, 2, delay=3600)
    assert post(client, "/job/now", **known(client, "/scheduled")).status_code == 303
    assert ids(box.primary, "mail") == [later, first]
    assert post(client, "/job/move", to="bulk", **known(client, "/queue", name="mail")).status_code == 303
    assert (ids(box.primary, "mail"), ids(box.primary, "bulk")) == ([first], [later])
    its = known(client, "/queue", name="mail")
    assert "for good?" in words(post(client, "/job/delete", **its).text)
    assert post(client, "/job/delete", confirmed="yes", **its).status_code == 303
    assert ids(box.primary, "mail") == []
    assert post(client, "/job/delete", confirmed="yes", **its).status_code == 404


def test_a_job_without_an_id_is_shown_and_deleted_by_its_place(box: SpoolQ, client: TestClient) -> None:
    from spoolq.job import Message

    box.primary.put([Message("raw", "mail", b'{"class":"old","queue":"mail","args":["a@x"]}')])
    its = known(client, "/queue", name="mail")
    assert "id" not in its
    assert page(client, "/job", **its)["places"][0]["task"] == "old"
    assert post(client, "/job/delete", confirmed="yes", **its).status_code == 303
    assert box.primary.waiting_jobs.page("mail")[0] == []


def test_a_job_that_is_nowhere_is_not_there(box: SpoolQ, client: TestClient) -> None:
    send(box, 1)
    page(client, "/queues")
    assert client.get("/job", params={"id": "nope"}).status_code == 404
    assert client.get("/job", params={"id": "a\nb"}).status_code == 404


def test_where_an_action_leads_is_a_page_of_the_dashboards_own(box: SpoolQ, client: TestClient) -> None:
    for back in ("//evil.example/", "https://evil.example/", "/\\evil", "javascript:alert(1)", "/retries?task=a"):
        send(box, 1)
        to = post(client, "/job/now", back=back, **known(client, "/queue", name="mail")).headers["location"]
        assert re.match(r"/(queue|retries)\?", to), (back, to)
        shown = post(client, "/job/delete", back=back, **known(client, "/queue", name="mail")).text
        assert "evil" not in shown.replace(f'value="{back}"', "").replace("javascript:alert(1)", "")[shown.index("<main") :]


# what waits for its time


def test_retries_show_the_next_time_and_the_error(box: SpoolQ, client: TestClient) -> None:
    id, later = retrying(box, 1), send(box, 2, delay=60)
    [job] = page(client, "/retries")["jobs"]
    assert (job["id"], job["attempts"], job["error"]) == (id, 1, "KeyError: 'to'")
    [scheduled] = page(client, "/scheduled")["jobs"]
    assert scheduled["id"] == later
    assert re.search(r"\bin (1 min|\d+ s) (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\b", words(client.get("/scheduled").text)), (
        "both times"
    )


def test_an_order_on_a_filter_names_the_count_and_leaves_the_others(box: SpoolQ, client: TestClient) -> None:
    meant = [retrying(box, f"meant{n}") for n in range(3)]
    left = retrying(box, "b")
    asked = words(post(client, "/retries/now", text="MEANT").text)
    assert "Run 3 jobs that wait to be tried again (text MEANT)" in asked
    assert post(client, "/retries/now", text="MEANT", confirmed="yes").status_code == 303
    assert sorted(ids(box.primary, "retried")) == sorted(meant)
    assert ids(box.primary, "retried", scheduled=True) == [left]
    post(client, "/retries/delete", confirmed="yes")
    assert ids(box.primary, "retried", scheduled=True) == []


# failures


def test_failures_are_grouped_and_filtered(box: SpoolQ, client: TestClient) -> None:
    fail(box, 1)
    newest = fail(box, 2, error="no such user")
    fail(box, 3, task="other", exception="KeyError")
    document = page(client, "/failures")
    first, second = document["groups"]
    assert (first["exception"], first["task"], first["count"], first["id"]) == ("ValueError", "send", 2, newest)
    assert (second["exception"], second["count"]) == ("KeyError", 1)
    assert [one["id"] for one in page(client, "/failures", error="USER")["failures"]] == [newest]
    assert len(page(client, "/failures", **{"class": "ValueError"})["failures"]) == 2
    assert page(client, "/failures", before="2000-01-01")["failures"] == []


def test_a_group_is_retried_and_the_others_stay(box: SpoolQ, client: TestClient) -> None:
    some = [fail(box, n) for n in range(3)]
    fail(box, 9, task="other")
    assert "Put 3 failed jobs (task send) back" in words(post(client, "/failures/retry", task="send").text)
    assert post(client, "/failures/retry", task="send", confirmed="yes").status_code == 303
    assert sorted(ids(box.primary, "failing")) == sorted(some)
    assert box.primary.failures.count() == 1


def test_discarding_by_filter_is_typed(box: SpoolQ, client: TestClient) -> None:
    fail(box, 1)
    assert post(client, "/failures/discard", task="send", confirmed="yes").status_code == 200
    assert box.primary.failures.count() == 1
    assert post(client, "/failures/discard", task="send", typed="discard").status_code == 303
    assert box.primary.failures.count() == 0


# workers


def test_a_worker_shows_its_job_and_is_told_what_to_do(box: SpoolQ, client: TestClient) -> None:
    id = send(box, "a@x")
    worker = box.worker_info(["mail"], 2)
    [claim] = box.primary.claim(worker, 1, ["mail"], 1).claims
    box.primary.heartbeat(worker, [Working(0, claim, time.time() - 5)])
    [shown] = page(client, "/workers")["workers"]
    assert (shown["pid"], shown["state"], shown["working"][0]["id"]) == (worker.pid, "works", id)
    assert shown["working"][0]["age"] >= 5
    assert post(client, "/workers/quiet", key=worker.key).status_code == 303
    assert wishes.said(box.primary, [worker.key])[worker.key].word == "quiet"
    assert page(client, "/workers")["workers"][0]["state"] == "quiet: not heard yet"
    assert "finish what it runs" in words(post(client, "/workers/stop", key=worker.key).text)
    post(client, "/workers/stop", key=worker.key, confirmed="yes")
    assert wishes.said(box.primary, [worker.key])[worker.key].word == "stop"
    assert post(client, "/workers/stop", key="another", confirmed="yes").status_code == 404


# cron


def test_schedules_show_their_next_runs_and_are_run_paused_and_resumed(box: SpoolQ, client: TestClient) -> None:
    @box.periodic("30 2 * * *", name="nightly")
    @box.task(queue="reports")
    def report() -> None: ...

    [line] = page(client, "/cron")["schedules"]
    assert (line["name"], len(line["following"]), line["paused"]) == ("nightly", 5, False)
    assert "02:30" in line["words"]
    assert post(client, "/cron/run", name="nightly").status_code == 303
    assert len(ids(box.primary, "reports")) == 1
    post(client, "/cron/pause", name="nightly")
    assert page(client, "/cron")["schedules"][0]["paused"]
    post(client, "/cron/resume", name="nightly")
    assert not page(client, "/cron")["schedules"][0]["paused"]
    assert post(client, "/cron/run", name="other").status_code == 404


# doctor


def test_the_doctor_shows_findings_and_settings_without_secrets(tmp_path: Any) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", dashboard_password="hunter2") as q, browser(q) as client:
        q.primary.queues()
        eventually(lambda: page(client, "/doctor")["findings"])
        document = page(client, "/doctor")
        assert document["settings"]["deadline"] == {"value": 0.25, "origin": "default"}
        assert "hunter2" not in client.get("/doctor").text + str(document)
        assert post(client, "/doctor/look").status_code == 303


# in an outage


def test_in_an_outage_the_spool_is_what_there_is_to_see(q: SpoolQ) -> None:
    id = send(q, "a@x")
    with browser(q) as client:
        assert {line["queue"]: line["spooled"] for line in page(client, "/queues")["queues"]} == {"mail": 1}
        assert page(client, "/queue", name="mail", **{"in": "primary"})["away"]
        for query in ({}, {"in": "spool"}):
            document = page(client, "/queue", name="mail", **query)
            assert (document["in"], [job["id"] for job in document["jobs"]]) == ("spool", [id])
        assert page(client, "/job", id=id)["places"][0]["in"] == "spool"
        for path in ("/retries", "/scheduled", "/failures", "/workers", "/cron"):
            assert client.get(path).status_code == 200
        assert post(client, "/job/move", to="bulk", **known(client, "/queue", name="mail", **{"in": "spool"})).status_code == 303
        assert q.spool is not None
        assert ids(q.spool, "bulk") == [id]


def test_a_read_only_dashboard_has_no_buttons_and_takes_no_orders(box: SpoolQ) -> None:
    fail(box, 1)
    retrying(box, 1)
    send(box, 1)
    with browser(box, read_only=True) as client:
        for path in ("/queues", "/queue?name=mail", "/retries", "/failures", "/workers", "/cron", "/doctor"):
            assert 'method="post"' not in client.get(path).text, path
        assert post(client, "/queue/clear", name="mail", typed="mail").status_code == 403
    assert len(ids(box.primary, "mail")) == 1


# trends


def seen(at: float, ready: int) -> Facts:
    return Facts(Side("redis", "r", "up", depths=(Depth("q", ready, 0, 0, None),)), None, at=at)


def test_a_trend_tells_how_fast_a_queue_empties() -> None:
    trends = Trends()
    for at, ready, put, done in ((0.0, 100, 200, 100), (10.0, 80, 210, 130), (20.0, 60, 220, 160)):
        trends.see(seen(at, ready), {"q": {"put": put, "done": done}})
    assert trends.of("q") == ((100, 80, 60), 1.0, 3.0, 30.0)
    assert trends.of("other").came is None


def test_a_trend_of_one_that_grows_has_no_end_and_of_a_lost_count_nothing_is_told() -> None:
    trends = Trends()
    trends.see(seen(0.0, 10), {"q": {"put": 10}})
    assert trends.of("q").came is None
    trends.see(seen(20.0, 30), {"q": {"put": 30}})
    assert trends.of("q")[1:] == (1.0, 0.0, None)
    trends.see(seen(40.0, 5), {"q": {"put": 5}})
    assert trends.of("q")[1:] == (None, None, None)


def test_a_queue_of_the_busiest_has_a_history_of_its_own() -> None:
    stretch = flow.STRETCHES["1h"]
    rows = [{"done": n} for n in (0, 3, 10)]
    samples = [Sample(6000.0 + 60 * n, {ALL: {"done": 99 * n}, **({"q": row} if n != 1 else {})}) for n, row in enumerate(rows)]
    assert flow.flow(samples, ("done",), stretch, 6130.0, "q") == {6120: 10}
    assert flow.flow(samples, ("done",), stretch, 6130.0, "other") == {}


def test_numbers_that_are_of_the_spool_alone_say_so(q: SpoolQ, box: SpoolQ) -> None:
    says = "is of this host's spool alone"
    assert says in words(browser(q).get("/").text), "Redis is away"
    assert says not in words(browser(box).get("/").text)
