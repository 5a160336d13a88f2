"""`spoolq jobs move` and `delete`, `spoolq queues move`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spoolq import SpoolQ
from tests.cli.conftest import Run
from tests.cli.hands import send

URL = "sqlite:///jobs.db"


@pytest.fixture
def q() -> Iterator[SpoolQ]:
    with SpoolQ(URL) as one:
        yield one


def ids(run: Run, *args: object) -> list[str]:
    return [job["id"] for job in run("jobs", "list", *args, "--json", "--url", URL).json["jobs"]]


def test_a_job_is_moved_to_the_end_of_another_queue(run: Run, q: SpoolQ) -> None:
    first, second, there = send(q, 1), send(q, 2), send(q, 3, queue="bulk")
    said = run("jobs", "move", first, "--to", "bulk", "--url", URL)
    assert (said.code, said.out) == (0, "Moved 1 job to bulk.\n")
    assert (ids(run, "mail"), ids(run, "bulk")) == ([second], [there, first])


def test_a_scheduled_job_is_run_next(run: Run, q: SpoolQ) -> None:
    first, later = send(q, 1), send(q, 2, delay=3600)
    assert run("jobs", "move", later, "--now", "--url", URL).code == 0
    assert (ids(run, "mail"), ids(run, "--scheduled")) == ([later, first], [])


def test_jobs_are_moved_by_what_they_are(run: Run, q: SpoolQ) -> None:
    left = send(q, "b", task="other")
    moved = [send(q, "a"), send(q, "b"), send(q, "c", delay=60)]
    dry = run("jobs", "move", "--task", "send", "--to", "bulk", "--dry-run", "--json", "--url", URL)
    assert (dry.json["found"], dry.json["moved"]) == (3, 0)
    assert run("jobs", "move", "--task", "send", "--to", "bulk", "--url", URL).out == "Moved 3 jobs to bulk.\n"
    assert (ids(run, "mail"), ids(run, "bulk"), ids(run, "bulk", "--scheduled")) == ([left], moved[:2], moved[2:])


def test_several_that_are_to_run_next_keep_their_order(run: Run, q: SpoolQ) -> None:
    first = send(q, 0)
    some = [send(q, n, task="urgent") for n in range(3)]
    run("jobs", "move", "--task", "urgent", "--now", "--url", URL)
    assert ids(run, "mail") == [*some, first]


def test_one_that_is_not_there_is_named(run: Run, q: SpoolQ) -> None:
    one = send(q, 1)
    said = run("jobs", "move", one, "nope", "--to", "bulk", "--json", "--url", URL)
    assert (said.code, said.json["moved"], said.json["missing"]) == (1, 1, ["nope"])


def test_what_a_worker_has_is_left_alone(run: Run, q: SpoolQ) -> None:
    one = send(q, 1)
    q.primary.claim(q.worker_info(["mail"], 1), 1, ["mail"], 1)
    for command in (("move", one, "--to", "bulk"), ("delete", one, "--yes")):
        said = run("jobs", *command, "--url", URL)
        assert said.code == 1
        assert "spoolq jobs show" in said.err
    assert run("jobs", "show", one, "--url", URL).code == 0


def test_delete_asks_and_names_the_count(run: Run, q: SpoolQ) -> None:
    one, two = send(q, 1), send(q, 2)
    said = run("jobs", "delete", one, "--url", URL, input="n\n")
    assert said.code == 1
    assert "Delete 1 job for good (1 in the queue" in said.err
    assert ids(run, "mail") == [one, two]
    assert run("jobs", "delete", one, "--url", URL, input="y\n").out == "Deleted 1 job.\n"
    assert ids(run, "mail") == [two]


def test_jobs_are_deleted_by_what_they_are(run: Run, q: SpoolQ) -> None:
    left = [send(q, "b@x"), send(q, "later", delay=60)]
    send(q, "A@x")
    dry = run("jobs", "delete", "--text", "a@x", "--state", "ready", "--dry-run", "--json", "--url", URL)
    assert (dry.json["found"], dry.json["deleted"]) == (1, 0)
    said = run("jobs", "delete", "--text", "a@x", "--state", "ready", "--yes", "--json", "--url", URL)
    assert (said.json["found"], said.json["deleted"]) == (1, 1)
    assert (ids(run, "mail"), ids(run, "--scheduled")) == (left[:1], left[1:])
    assert run("jobs", "delete", "--text", "a@x", "--yes", "--url", URL).code == 1, "there is none any more"


def test_a_deleted_unique_job_lets_the_next_one_in(run: Run, q: SpoolQ) -> None:
    @q.task(queue="mail", unique="until_done")
    def once(n: int) -> None: ...

    first = once.enqueue(1)
    assert not once.enqueue(1).new
    assert run("jobs", "delete", first.id, "--yes", "--url", URL).code == 0
    assert once.enqueue(1).new


def test_spooled_jobs_are_moved_and_deleted_while_redis_is_away(run: Run, nowhere: str) -> None:
    with SpoolQ(nowhere) as spooling:
        one, two = send(spooling, 1), send(spooling, 2)
    moved = run("jobs", "move", one, "--to", "bulk", "--in", "spool", "--url", nowhere)
    assert (moved.code, moved.out) == (0, "Moved 1 job to bulk.\n")
    assert run("jobs", "delete", two, "--in", "spool", "--yes", "--url", nowhere).code == 0
    queues = run("queues", "list", "--in", "spool", "--json", "--url", nowhere).json["queues"]
    assert [(queue["queue"], queue["ready"]) for queue in queues] == [("bulk", 1)]


def test_a_whole_queue_is_moved(run: Run, q: SpoolQ) -> None:
    there = send(q, 0, queue="bulk")
    some = [send(q, n) for n in range(5)]
    later = send(q, 9, delay=60)
    assert run("queues", "move", "mail", "bulk", "--dry-run", "--url", URL).out == "Would move 5 jobs from mail to bulk.\n"
    said = run("queues", "move", "mail", "bulk", "--json", "--url", URL)
    assert (said.code, said.json["found"], said.json["moved"]) == (0, 5, 5)
    assert (ids(run, "bulk"), ids(run, "mail", "--scheduled")) == ([there, *some], [later])
    assert run("queues", "move", "mail", "bulk", "--scheduled", "--url", URL).out == "Moved 1 job from mail to bulk.\n"
    assert ids(run, "bulk", "--scheduled") == [later]


@pytest.mark.parametrize(
    "args",
    [
        ("jobs", "move", "id"),
        ("jobs", "move", "id", "--to", "a", "--now"),
        ("jobs", "move", "id", "--to", "a,b"),
        ("jobs", "move", "--to", "a"),
        ("jobs", "move", "id", "--task", "t", "--to", "a"),
        ("jobs", "delete"),
        ("jobs", "delete", "--task", ""),
        ("jobs", "delete", "id", "--state", "running"),
        ("queues", "move", "a", "a"),
        ("queues", "move", "a", "*"),
    ],
)
def test_wrong_usage(run: Run, q: SpoolQ, args: tuple[str, ...]) -> None:
    assert run(*args, "--url", URL).code == 2


def test_a_queue_that_is_not_there(run: Run, q: SpoolQ) -> None:
    send(q, 1)
    assert run("queues", "move", "nope", "bulk", "--url", URL).code == 1
