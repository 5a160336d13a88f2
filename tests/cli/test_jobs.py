"""`spoolq jobs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from tests.cli.conftest import Run
from tests.cli.hands import send
from tests.servers import Server

URL = "sqlite:///jobs.db"


@pytest.fixture
def q() -> Any:
    with SpoolQ(URL) as one:
        yield one


def ids(run: Run, *args: object) -> list[str]:
    return [job["id"] for job in run("jobs", "list", *args, "--json", "--url", URL).json["jobs"]]


def test_ready_jobs_are_listed_as_they_will_be_taken(run: Run, q: SpoolQ) -> None:
    first, second = send(q, "a@x", 1), send(q, "b\x1b[31m@x")
    send(q, "c@x", queue="other")
    assert ids(run, "mail") == [first, second]
    plain = run("jobs", "list", "mail", "--url", URL)
    assert (plain.code, "a@x" in plain.out) == (0, False)
    said = run("jobs", "list", "mail", "--arguments", "--url", URL)
    assert said.code == 0
    assert f'{first}  sqlite  mail   now  send  "a@x", 1' in said.out
    assert "\x1b" not in said.out


def test_scheduled_jobs_are_listed_by_their_time(run: Run, q: SpoolQ) -> None:
    later, sooner = send(q, 1, delay=7200), send(q, 2, delay=3600, queue="other")
    send(q, 3)
    assert ids(run, "--scheduled") == [sooner, later]
    assert ids(run, "mail", "--scheduled") == [later]
    [job] = run("jobs", "list", "other", "--scheduled", "--json", "--url", URL).json["jobs"]
    assert job["due"].startswith("20")


def test_a_long_list_is_cut_and_says_so(run: Run, q: SpoolQ) -> None:
    for n in range(5):
        send(q, n)
    said = run("jobs", "list", "mail", "--limit", 2, "--url", URL)
    assert len(said.out.splitlines()) == 3
    assert "There are more" in said.err


def test_jobs_are_cancelled_by_their_ids(run: Run, q: SpoolQ) -> None:
    one, two = send(q, 1, track=True), send(q, 2, delay=60)
    said = run("jobs", "cancel", one, two, "--url", URL)
    assert (said.code, said.out.count("removed")) == (0, 2)
    assert ids(run, "mail") == ids(run, "--scheduled") == []
    shown = run("jobs", "show", one, "--url", URL)
    assert (shown.code, shown.out.split(",")[0]) == (0, f"{one}: cancelled")


def test_one_that_is_not_there_is_a_problem(run: Run, q: SpoolQ) -> None:
    one = send(q, 1)
    said = run("jobs", "cancel", one, "nope", "--json", "--url", URL)
    assert said.code == 1
    assert [job["outcome"] for job in said.json["jobs"]] == ["removed", "late"]


def test_a_store_that_is_away_is_told(run: Run, nowhere: str) -> None:
    said = run("jobs", "cancel", "one", "--url", nowhere)
    assert said.code == 69
    assert "not known" in said.err


def test_jobs_are_cancelled_by_what_they_are_to_do(run: Run, q: SpoolQ) -> None:
    left = [send(q, "b@x"), send(q, "a@x", 1), send(q, "a@x", task="other")]
    send(q, "a@x")
    send(q, "a@x", delay=60)
    send(q, "a@x", queue="bulk")
    said = run("jobs", "cancel", "--task", "send", "--args", '["a@x"]', "--json", "--url", URL)
    assert (said.json["found"], said.json["cancelled"]) == (3, 3)
    assert ids(run, "mail") == left
    assert run("jobs", "cancel", "--task", "send", "--args", '["a@x"]', "--url", URL).code == 1
    assert run("jobs", "cancel", "--task", "send", "--queue", "mail", "--url", URL).out == "Cancelled 2 jobs of send.\n"
    assert ids(run, "mail") == left[2:]


def test_a_job_of_which_nothing_is_known_is_told(run: Run, q: SpoolQ) -> None:
    send(q, 1)
    said = run("jobs", "show", "nope", "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert "result_ttl" in said.err
    document = run("jobs", "show", "nope", "--json", "--url", URL)
    assert (document.code, document.json["job"]["status"], document.json["job"]["places"]) == (1, "unknown", [])


@pytest.mark.parametrize("command", ["show", "cancel"])
def test_looking_makes_no_queue(run: Run, tmp_path: Path, command: str) -> None:
    missing = tmp_path / "typo.db"
    said = run("jobs", command, "id", "--url", f"sqlite:///{missing}")
    assert (said.code, said.out) == (1, "")
    assert "no queue at" in said.err
    assert not missing.exists()


def test_an_empty_list_says_what_was_looked_for(run: Run, q: SpoolQ) -> None:
    send(q, 1)
    assert "No job waits in queue other" in run("jobs", "list", "other", "--url", URL).err
    assert "No job waits for its time" in run("jobs", "list", "--scheduled", "--url", URL).err


def test_a_list_does_not_call_empty_what_could_not_be_asked(run: Run, nowhere: str) -> None:
    with SpoolQ(nowhere) as spooling:
        send(spooling, 1)
    said = run("jobs", "list", "other", "--url", nowhere)
    assert said.code == 69
    assert "No job waits in queue" not in said.err


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("cancel",),
        ("cancel", "id", "--task", "t"),
        ("cancel", "id", "--args", "[]"),
        ("cancel", "--task", "t", "--args", "{"),
        ("cancel", "--task", "t", "--args", '"a"'),
        ("list", "mail", "--limit", "0"),
    ],
)
def test_wrong_usage(run: Run, q: SpoolQ, args: tuple[str, ...]) -> None:
    assert run("jobs", *args, "--url", URL).code == 2


def test_resques_own_delayed_jobs_are_listed_and_cancelled_by_what_they_are_to_do(run: Run, server: Server) -> None:
    """As node-resque's allDelayed and delDelayed do."""
    payload = '{"class":"send","queue":"mail","args":["a@x"]}'
    with server.client() as control:
        control.rpush("resque:delayed:4000000000", payload, payload.replace("a@x", "b@x"))
        control.sadd(f"resque:timestamps:{payload}", "delayed:4000000000")
        control.zadd("resque:delayed_queue_schedule", {"4000000000": 4000000000})
        listed = run("jobs", "list", "--scheduled", "--arguments", "--json", "--url", server.url).json["jobs"]
        assert [(job["id"], job["task"], job["arguments"], job["due"][:4]) for job in listed] == [
            ("", "send", '"a@x"', "2096"),
            ("", "send", '"b@x"', "2096"),
        ]
        said = run("jobs", "cancel", "--task", "send", "--args", '["a@x"]', "--scheduled", "--url", server.url)
        assert said.out == "Cancelled 1 job of send.\n"
        assert control.lrange("resque:delayed:4000000000", 0, -1) == [payload.replace("a@x", "b@x").encode()]
        assert not control.exists(f"resque:timestamps:{payload}")
        assert json.loads(control.get("resque:stat:cancelled") or b"0") == 1
        run("jobs", "cancel", "--task", "send", "--url", server.url)
        assert control.keys("resque:delayed*") == []
