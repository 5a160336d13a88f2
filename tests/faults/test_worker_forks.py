"""Processes that tasks start: a fork of a worker is none, and obeys signals as any other process does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.working import Place, at


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with at(tmp_path, f"sqlite:///{tmp_path}/jobs.db") as one:
        yield one


@pytest.mark.parametrize(
    ("task", "arguments", "code"),
    [
        ("forking", ("return",), "0"),
        ("forking", ("exit",), "3"),
        ("forking", ("raise",), "1"),
        ("forking_on_the_loop", (), "0"),
    ],
)
def test_a_fork_that_comes_back_from_the_task_ends_and_runs_no_jobs(
    task: str, arguments: tuple[str, ...], code: str, place: Place
) -> None:
    ids = [place.enqueue("note"), place.enqueue(task, *arguments), *(place.enqueue("note") for _ in range(20))]
    worker = place.worker("--burst", threads=1)
    assert worker.process.wait(40) == 0
    assert bool(worker.said("ValueError: in the child")) == ("raise" in arguments)
    assert [line.value for line in place.trace("PARENT")] == [code]
    assert place.runs() == {id: 1 for id in ids if id != ids[1]}
    assert len({line.pid for line in place.trace()}) == 1


def test_what_multiprocessing_forks_can_be_terminated(place: Place) -> None:
    place.enqueue("terminating")
    assert place.worker("--burst").ended() == 0
    assert [line.value for line in place.trace()] == ["-15"]


def test_what_a_task_of_a_pool_starts_can_be_interrupted(place: Place) -> None:
    place.enqueue("interrupting")
    assert place.worker("--burst", "--processes", "1").ended() == 0
    assert [line.value for line in place.trace()] == ["-2"]
