"""The log of a worker: of which job each line is, in fields that programs read, and no argument."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from spoolq import wire
from spoolq.app import SpoolQ
from spoolq.cli import logs
from spoolq.current import Current, running
from spoolq.job import Job
from tests.cli.conftest import Run

APP = """
import logging
from spoolq import SpoolQ

q = SpoolQ("sqlite:///jobs.db", spool_min_free=0)

@q.task(queue="mail", retries=1, backoff=lambda state: 0)
def send(to):
    logging.getLogger("shop").warning("sending")
    raise ValueError("no such address")

@q.task(queue="mail")
def fine():
    pass
"""


@pytest.fixture
def worked(spoolq: Run, tmp_path: Path) -> Any:
    (tmp_path / "own.py").write_text(APP)

    def work(*options: str) -> tuple[str, Any]:
        with SpoolQ("sqlite:///jobs.db", spool_min_free=0) as q:
            q.remote("fine", "mail").enqueue()
            id = q.remote("send", "mail").enqueue("secret@example.com").id
        return id, spoolq("worker", "own:q", "--burst", *options)

    return work


def test_each_line_of_a_job_has_its_fields_in_json(worked: Any) -> None:
    id, ran = worked("--log-format", "json")
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert all({"time", "level", "logger", "pid", "message"} <= set(line) for line in lines)
    own = [line for line in lines if line["logger"] == "shop"]
    assert [line["message"] for line in own] == ["sending"] * 2
    failed = [line for line in lines if "failed for good" in line["message"]]
    again = [line for line in lines if "is tried again" in line["message"]]
    assert (len(failed), len(again)) == (1, 1)
    for line in (*own, *failed, *again):
        assert (line["job"], line["task"], line["queue"]) == (id, "send", "mail")
    begun = next(line for line in lines if " runs, " in line["message"])
    assert not {"job", "task", "queue"} & set(begun), "a line of no job"
    assert "secret@example.com" not in ran.err


def test_a_line_that_a_task_writes_says_of_which_job_in_text(worked: Any) -> None:
    id, ran = worked()
    assert f"]: job {id} (send, queue mail) failed for good" in ran.err
    assert ran.err.count(f" [send {id}]: sending\n") == 2
    assert "secret@example.com" not in ran.err


def test_quiet_and_verbose(worked: Any) -> None:
    _, ran = worked("-q")
    assert "failed for good" in ran.err
    assert "tried again" not in ran.err
    _, ran = worked("-v")
    assert "(fine, queue mail) was processed, after " in ran.err
    assert "secret@example.com" not in ran.err


def test_a_line_that_names_a_job_is_of_that_one() -> None:
    payload = b'{"class":"send","queue":"mail","args":["secret"],"id":"7"}'
    named = wire.named(payload, "mail")
    assert named == "job 7 (send, queue mail)"
    for args, job in (((named,), "7"), ((), "8"), ((named, named), None)):
        record = logging.LogRecord("x", logging.INFO, "f", 1, "%s" * len(args), args, None)
        token = running.set(Current(Job("8", "other", "work"), "primary"))
        try:
            assert logs.OfJob().filter(record)
        finally:
            running.reset(token)
        assert getattr(record, "job", None) == job
