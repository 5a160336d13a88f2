"""`spoolq worker`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from spoolq.cli.worker import _again
from tests.cli.conftest import Run, finish, start
from tests.cli.hands import fill
from tests.servers import Server
from tests.waiting import eventually

URL = "sqlite:///jobs.db"


def sent() -> list[str]:
    return Path("sent").read_text().splitlines() if Path("sent").exists() else []


def test_burst_runs_what_there_is_and_ends(spoolq: Run) -> None:
    fill(URL, 5)
    said = spoolq("worker", "shop:q", "--url", URL, "--burst", "--threads", "2")
    assert said.code == 0, said.err
    assert said.out == ""
    assert sorted(sent()) == [f"{n}@example.com hello" for n in range(5)]


def test_a_failing_job_is_in_the_log_afterwards(spoolq: Run, run: Run) -> None:
    run("enqueue", "broken", '"luck"', "--queue", "mail", "--url", URL)
    said = spoolq("worker", "shop:q", "--url", URL, "--burst")
    assert said.code == 0, said.err
    (failure,) = run("failed", "list", "--json", "--url", URL).json["failures"]
    assert (failure["task"], failure["exception"]) == ("broken", "ValueError")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_works_until_it_is_told_to_stop(number: int) -> None:
    fill(URL, 1)
    process = start("worker", "shop:q", "--url", URL)
    eventually(sent)
    process.send_signal(number)
    said = finish(process)
    assert said.code == 0, said.err
    assert "Traceback" not in said.err


def test_with_redis_it_drains_this_hosts_spool_too(spoolq: Run, fresh_server: Server) -> None:
    fresh_server.kill()
    fill(fresh_server.url, 3)
    fresh_server.start()
    said = spoolq("worker", "shop:q", "--url", fresh_server.url, "--burst")
    assert said.code == 0, said.err
    assert len(sent()) == 3


def test_without_redis_it_runs_the_spools_own_jobs(nowhere: str) -> None:
    fill(nowhere, 3)
    process = start("worker", "shop:q", "--url", nowhere)
    try:
        # The first call of the outage may have been in doubt; those after it are this host's own.
        eventually(lambda: len(sent()) >= 2)
    finally:
        process.terminate()
        said = finish(process)
    assert said.code == 0, said.err


def test_an_app_without_tasks_is_warned_of(spoolq: Run) -> None:
    Path("empty.py").write_text("from spoolq import SpoolQ\nq = SpoolQ('sqlite:///jobs.db', spool_min_free=0)\n")
    said = spoolq("worker", "empty:q", "--burst")
    assert said.code == 0, said.err
    assert "empty:q has no tasks" in said.err


def test_a_queue_that_no_task_has_is_warned_of(spoolq: Run) -> None:
    said = spoolq("worker", "shop:q", "--burst", "--queues", "mail,mial", SHOP_URL="sqlite:///jobs.db")
    assert said.code == 0, said.err
    assert "mial: no task of shop:q has it for its own (they have mail)" in said.err


@pytest.mark.parametrize(("queues", "unknown"), [("*,!slow", ""), ("mail:3,*:1", ""), ("ma*,mial:2,!m_*", "mial")])
def test_patterns_and_weights_are_no_names_to_be_warned_of(spoolq: Run, queues: str, unknown: str) -> None:
    fill(URL, 3)
    said = spoolq("worker", "shop:q", "--burst", "--queues", queues, "--url", URL)
    assert said.code == 0, said.err
    assert len(sent()) == 3
    assert f"queues {queues}" in said.err
    assert ("no task of shop:q" in said.err) == bool(unknown)
    assert f"{unknown}: no task" in said.err or not unknown


@pytest.mark.parametrize(
    ("queues", "says"),
    [
        ("mail:0", "'mail:0': what follows the colon is a weight, a whole number from 1 to 1000"),
        ("mail,,low", "has a part without a name"),
        ("!", "'!' alone takes nothing out"),
        ("mail,mail", "'mail' is there twice"),
    ],
)
def test_queues_that_make_no_sense_are_refused_before_anything_is_opened(run: Run, queues: str, says: str) -> None:
    said = run("worker", "shop:q", "--queues", queues)
    assert said.code == 2
    assert says in " ".join(said.err.split())


@pytest.mark.parametrize("args", [("--threads", "0"), ("--grace", "long"), ("--queues", ", ,"), ()])
def test_wrong_usage(run: Run, args: tuple[str, ...]) -> None:
    assert run("worker", *(("shop:q", *args) if args else ())).code == 2


def test_a_spawned_process_gets_its_seat_as_an_option_also_behind_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["spoolq", "worker", "--processes", "2", "--", "shop.jobs:q"])
    assert _again()[1:] == ["-m", "spoolq", "worker", "--processes", "2", "shop.jobs:q", "--seat"]
