"""`spoolq workers`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from spoolq import SpoolQ, wishes
from spoolq.store.base import WorkerInfo, Working
from tests.cli.conftest import Run

URL = "sqlite:///jobs.db"


@pytest.fixture
def q() -> Iterator[SpoolQ]:
    with SpoolQ(URL) as one:
        yield one


@pytest.fixture
def worker(q: SpoolQ) -> WorkerInfo:
    info = q.worker_info(["mail"], 2)
    q.primary.register(info)
    return info


def test_workers_are_listed_with_what_they_do(run: Run, q: SpoolQ, worker: WorkerInfo) -> None:
    q.remote("send", "mail").enqueue(1)
    [claim] = q.primary.claim(worker, 1, ["mail"], 1).claims
    q.primary.heartbeat(worker, [Working(0, claim, time.time() - 90)])
    [shown] = run("workers", "list", "--json", "--url", URL).json["workers"]
    assert (shown["key"], shown["busy"], shown["threads"], shown["queues"], shown["said"]) == (worker.key, 1, 2, ["mail"], None)
    said = run("workers", "list", "--url", URL)
    assert f"{worker.host}:{worker.pid}" in said.out
    assert "1/2" in said.out


@pytest.mark.parametrize(("word", "says"), [("quiet", "take no more jobs"), ("stop", "and end"), ("resume", "go on")])
def test_a_worker_is_told_by_its_name_or_key(run: Run, q: SpoolQ, worker: WorkerInfo, word: str, says: str) -> None:
    for name in (f"{worker.host}:{worker.pid}", worker.key):
        said = run("workers", word, name, "--url", URL)
        assert (said.code, says in said.out) == (0, True)
        assert wishes.said(q.primary, [worker.key])[worker.key].word == word


def test_what_was_said_is_shown(run: Run, q: SpoolQ, worker: WorkerInfo) -> None:
    run("workers", "quiet", "--all", "--url", URL)
    assert "quiet (not heard yet)" in run("workers", "list", "--url", URL).out
    wishes.Listener(worker.key, [q.primary], lambda word: None).turn()
    [shown] = run("workers", "list", "--json", "--url", URL).json["workers"]
    assert (shown["said"]["word"], shown["said"]["obeyed"]) == ("quiet", True)


def test_one_that_is_not_there_is_a_problem(run: Run, worker: WorkerInfo) -> None:
    said = run("workers", "stop", "elsewhere:1", "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert "elsewhere:1" in said.err


@pytest.mark.parametrize("args", [("quiet",), ("stop", "a:1", "--all")])
def test_wrong_usage(run: Run, q: SpoolQ, args: tuple[str, ...]) -> None:
    assert run("workers", *args, "--url", URL).code == 2


def test_none_is_told(run: Run, q: SpoolQ) -> None:
    q.primary.queues()
    assert "No worker is known" in run("workers", "list", "--url", URL).err
