"""`spoolq jobs show` and `find`: a job wherever it is, and what is known of its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spoolq import SpoolQ
from tests.cli.conftest import Run
from tests.cli.hands import fail, send

URL = "sqlite:///jobs.db"


@pytest.fixture
def q() -> Iterator[SpoolQ]:
    with SpoolQ(URL) as one:
        yield one


def found(run: Run, *args: object) -> list[tuple[str, str]]:
    said = run("jobs", "find", *args, "--json", "--url", URL)
    return [(job["id"], job["state"]) for job in said.json["jobs"]]


def test_a_job_that_waits_is_shown_with_its_way_and_without_its_arguments(run: Run, q: SpoolQ) -> None:
    id = send(q, "a@x")
    said = run("jobs", "show", id, "--url", URL)
    assert said.code == 0
    assert f"{id}: ready" in said.out
    assert "ready in sqlite: task send, queue mail" in said.out
    assert "enqueued" in said.out
    assert "a@x" not in said.out
    assert "a@x" in run("jobs", "show", id, "--payload", "--url", URL).out


def test_its_document_has_each_place_and_each_moment(run: Run, q: SpoolQ) -> None:
    id = send(q, "a@x", delay=3600)
    job = run("jobs", "show", id, "--json", "--url", URL).json["job"]
    assert (job["status"], job["away"]) == ("scheduled", [])
    [place] = job["places"]
    assert (place["in"], place["state"], place["queue"], place["task"], place["attempts"]) == (
        "sqlite",
        "scheduled",
        "mail",
        "send",
        0,
    )
    assert place["due"].startswith("20")
    assert "payload" not in place
    assert [moment["what"] for moment in job["timeline"]] == ["enqueued", "due"]


def test_a_failed_job_is_found_with_its_error(run: Run, q: SpoolQ) -> None:
    id = send(q, "a@x")
    fail(q.primary, q)
    job = run("jobs", "show", id, "--json", "--url", URL).json["job"]
    assert job["status"] == "failed"
    assert [(place["state"], place["attempts"]) for place in job["places"]] == [("failed", 4)]
    assert "no such address" in job["timeline"][-1]["detail"]


def test_what_a_worker_has_is_shown_with_who_has_it(run: Run, q: SpoolQ) -> None:
    id = send(q, 1)
    worker = q.worker_info(["mail"], 1)
    q.primary.claim(worker, 1, ["mail"], 1)
    [place] = run("jobs", "show", id, "--json", "--url", URL).json["job"]["places"]
    assert (place["state"], place["worker"]) == ("claimed", worker.key)


def test_in_an_outage_the_spool_is_shown_and_that_redis_was_not_asked(run: Run, nowhere: str) -> None:
    with SpoolQ(nowhere) as spooling:
        id = send(spooling, 1)
    said = run("jobs", "show", id, "--json", "--url", nowhere)
    [place] = said.json["job"]["places"]
    assert (said.code, place["in"], place["state"]) == (0, "spool", "ready")
    assert said.json["job"]["away"]
    assert run("jobs", "show", "nope", "--url", nowhere).code == 69, "it may be in Redis"


def test_jobs_are_found_in_every_state(run: Run, q: SpoolQ) -> None:
    failed = send(q, "old")
    fail(q.primary, q)
    running = send(q, "now")
    q.primary.claim(q.worker_info(["mail"], 1), 1, ["mail"], 1)
    ready, later = send(q, "next", queue="bulk"), send(q, "later", delay=60)
    assert dict(found(run)) == {failed: "failed", running: "running", ready: "ready", later: "scheduled"}
    assert found(run, "--state", "failed") == [(failed, "failed")]
    assert found(run, "--state", "running") == [(running, "running")]
    assert found(run, "--queue", "bulk") == [(ready, "ready")]
    assert found(run, "--text", "LATER") == [(later, "scheduled")]
    assert found(run, "--text", "no such addr") == [(failed, "failed")]


def test_a_table_has_no_arguments_and_a_limit(run: Run, q: SpoolQ) -> None:
    for n in range(3):
        send(q, f"secret{n}")
    said = run("jobs", "find", "--limit", 2, "--url", URL)
    assert len(said.out.splitlines()) == 3
    assert "secret" not in said.out
    assert "There are more" in said.err


def test_none_is_exit_1(run: Run, q: SpoolQ) -> None:
    send(q, 1)
    said = run("jobs", "find", "--task", "other", "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert "No such job" in said.err
