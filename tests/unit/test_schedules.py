"""Declaring periodic jobs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from spoolq.errors import ConfigError
from spoolq.periodic import Cron, Every
from spoolq.starting import Seat
from spoolq.tasks import Task
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", spool_min_free=0) as q:
        yield q


def test_a_function_becomes_a_task_and_a_task_stays_what_it_was(q: SpoolQ, tmp_path: Path) -> None:
    @q.periodic("*/5 * * * *", tz="Europe/Paris")
    def report(day: str = "today") -> str:
        return day

    @q.periodic(timedelta(hours=1), missed="all", args=["x"], kwargs={"full": True})
    @q.task(queue="low", name="sweep")
    def clean(where: str, *, full: bool = False) -> None: ...

    assert isinstance(report, Task)
    assert isinstance(clean, Task)
    assert (report("now"), report.queue, clean.queue) == ("now", "default", "low")
    assert q.tasks.names() == ("report", "sweep")
    assert [(name, one.when, one.missed) for name, one in q.entries.items()] == [
        ("report", Cron("*/5 * * * *", "Europe/Paris"), "latest"),
        ("sweep", Every(3600), "all"),
    ]
    job = q.entries["sweep"].make("sweep@x")
    assert (job.id, job.given, job.task, job.queue, job.args, job.kwargs) == (
        *("sweep@x", True, "sweep", "low", ("x",)),
        {"full": True},
    )
    assert list(tmp_path.iterdir()) == [], "nothing was opened"


def test_one_task_has_several_schedules_by_name_and_a_launch_its_options(q: SpoolQ) -> None:
    @q.task
    def sync(what: str) -> None: ...

    q.periodic(60, args=["a"])(sync)
    slow = sync.using(queue="slow", expires=30)
    assert q.periodic("@daily", name="nightly", args=["b"])(slow) is slow
    jobs = {name: one.make("id") for name, one in q.entries.items()}
    assert {name: (job.queue, job.args) for name, job in jobs.items()} == {
        "sync": ("default", ("a",)),
        "nightly": ("slow", ("b",)),
    }
    assert jobs["nightly"].expires_at
    with pytest.raises(ConfigError, match="two schedules named 'sync'"):
        q.periodic(120, args=["a"])(sync)


def test_a_class_with_perform(q: SpoolQ) -> None:
    @q.periodic(30)
    class Sweep:
        queue = "images"

        def perform(self) -> None: ...

    assert q.entries["Sweep"].make("i").queue == "images"


def test_what_can_not_be_is_refused_when_it_is_declared(q: SpoolQ) -> None:
    def job(a: int) -> None: ...

    wrong: list[tuple[str, Any, dict[str, Any]]] = [
        ("five fields", "hourly", {}),
        ("such as 60", 0, {}),
        ("such as 60", job, {}),
        ("such as 'Europe/Paris'", "@daily", {"tz": "Paris"}),
        ("leave tz out", 60, {"tz": "Europe/Paris"}),
        ("'latest'", 60, {"missed": "last"}),
        ("such as 'nightly'", 60, {"name": "my job"}),
        (r"such as args=\['x'\]", 60, {"args": "x"}),
        ("a list of arguments", 60, {"args": 5}),
        ("a dictionary of arguments", 60, {"kwargs": [1]}),
    ]
    for said, when, options in wrong:
        with pytest.raises(ConfigError, match=said):
            q.periodic(when, **options)(job)
    assert (q.entries, q.tasks.names()) == ({}, ())
    with pytest.raises(ConfigError, match=r"schedule job: its jobs can't be enqueued: job: missing.*args=\[…\]"):
        q.periodic(60)(job)
    with pytest.raises(ConfigError, match="can't be enqueued"):
        q.periodic(60, args=[object()])(job)
    with pytest.raises(ConfigError, match="no name"):
        q.periodic(60)(lambda: None)
    task = q.task(name="chained")(lambda: None)
    with pytest.raises(ConfigError, match="schedule of chained: jobs in after= have their ids already"):
        q.periodic(60)(task.using(after=[task.job()]))
    assert q.entries == {}


def test_a_web_application_needs_no_cronsim_to_declare(tmp_path: Path) -> None:
    """Which is of the extra `worker`; the worker says so."""
    program = """
import sys
sys.modules["cronsim"] = None
from spoolq import SpoolQ
from spoolq.errors import ConfigError
q = SpoolQ(sys.argv[1], spool_min_free=0)
@q.periodic("*/5 * * * *")
def report(): ...
report.enqueue()
assert not {"zoneinfo", "spoolq.ticker"} & set(sys.modules), "for who works"
try:
    q.worker()
except ConfigError as error:
    print(error)
"""
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/jobs.db"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.stdout == "the schedule '*/5 * * * *' needs: pip install 'spoolq[worker]'\n", said.stderr


def test_a_worker_enqueues_and_runs_them(q: SpoolQ) -> None:
    import threading

    ran: list[str] = []

    @q.periodic(1, args=["beat"])
    def note(what: str) -> None:
        ran.append(what)

    worker = q.worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    eventually(lambda: len(ran) >= 2)
    worker.stop()
    thread.join()
    ticks = q.primary.meta("periodic:note")
    assert ticks is not None
    assert len(ran) == q.primary.counters()["processed"]


@pytest.mark.parametrize(
    ("options", "ticks"),
    [
        ({}, True),
        ({"burst": True}, False),
        ({"seat": Seat("house", "key", "pool", 0)}, True),
        ({"seat": Seat("jobs", "key", "pool", 0)}, False),
        ({"seat": Seat("house", "key", "pool", 0), "burst": True}, False),
        ({"seat": Seat("jobs", "key", "pool", 0), "burst": True}, False),
    ],
)
def test_who_keeps_house_makes_the_ticks_and_a_burst_makes_none(q: SpoolQ, options: dict[str, Any], ticks: bool) -> None:
    @q.periodic(1)
    def note() -> None: ...

    assert ("ticker" in {service.name for service in q.worker(**options)._services}) is ticks
