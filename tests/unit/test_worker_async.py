"""`async def` tasks and time limits in a whole worker: its burst, its end, its pause, and what the store is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq import crew, limits
from spoolq import loop as loops
from spoolq.current import current
from spoolq.errors import ConfigError
from spoolq.retry import RetryPolicy
from spoolq.tasks import Task
from spoolq.worker import BROKEN
from tests.unit.hands import held, job, left
from tests.unit.test_worker import Place, said
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is given no core for a second at its end cleans up all the same."""
    monkeypatch.setattr(loops, "_CLEANING", 20.0)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


class Waiting:
    """An async task whose jobs have come in, and go on when told."""

    def __init__(self, place: Place) -> None:
        self.inside: list[Any] = []
        self.cancelled: list[Any] = []
        self.open = threading.Event()
        place.task("wait", self.run)

    async def run(self, who: Any = None) -> None:
        self.inside.append(who)
        try:
            while not self.open.is_set():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled.append(who)
            raise


def waiting(place: Place, count: int) -> Waiting:
    made = Waiting(place)
    place.real.put([job(f"w{n}", "wait", args=(n,)) for n in range(count)])
    return made


def processed(place: Place) -> int:
    return dict(place.real.counters()).get("processed", 0)


def test_a_burst_ends_when_all_of_them_have(place: Place) -> None:
    async def note(number: int) -> None:
        running = current()
        await asyncio.sleep(0.001)
        assert current() == running
        place.ran.append((running.store if running else "", number))

    place.task("anote", note)
    place.real.put([job(f"a{n}", "anote", args=(n,)) for n in range(50)] + [job(f"s{n}", args=(n,)) for n in range(50)])
    place.start(burst=True, async_concurrency=7)
    assert place.ended() == 0
    assert sorted(place.ran) == sorted(("primary", n) for n in range(50) for _ in range(2))
    assert (held(place.real), left(place.real), processed(place)) == (0, [], 100)


def test_it_takes_no_more_of_them_than_it_can_run(place: Place) -> None:
    wait = waiting(place, 40)
    worker = place.start(threads=2, async_concurrency=5)
    eventually(lambda: len(wait.inside) == 5)
    eventually(lambda: held(place.real) == 7, what="five on the loop, and one for each thread that waits")
    assert len(wait.inside) == 5
    eventually(lambda: {slot for slot, *_ in worker.primary.working} == set(range(7)))
    [view] = eventually(lambda: [view for view in place.real.workers() if len(view.working) == 7])
    assert max(one.slot for one in view.working) == 6
    wait.open.set()
    eventually(lambda: processed(place) == 40)


def test_running_ones_end_within_the_grace_and_the_rest_goes_back(place: Place) -> None:
    wait = waiting(place, 10)
    worker = place.start(threads=2, async_concurrency=3, grace=20.0)
    eventually(lambda: len(wait.inside) == 3 and held(place.real) == 5)
    worker.stop()
    eventually(lambda: held(place.real) == 3, what="what waited for room was put back")
    assert place.workers[-1][1].is_alive()
    wait.open.set()
    assert place.ended() == 0
    assert processed(place) == 3
    assert sorted(left(place.real)) == [f"w{n}" for n in range(10) if n not in wait.inside]
    assert wait.cancelled == []


@pytest.mark.parametrize("how", ["grace", "now"])
def test_after_the_grace_or_a_second_term_they_are_cancelled_and_put_back_uncounted(place: Place, how: str) -> None:
    wait = waiting(place, 3)
    worker = place.start(threads=1, async_concurrency=3, grace=0.1 if how == "grace" else None)
    eventually(lambda: len(wait.inside) == 3)
    worker.stop()
    if how == "now":
        worker.stop(now=True)
    assert place.ended() == 0
    assert sorted(wait.cancelled) == [0, 1, 2]
    assert sorted(left(place.real)) == ["w0", "w1", "w2"]
    assert dict(place.real.counters()).get("failed", 0) == 0
    eventually(lambda: place.real.workers() == [], what="its last word, on a thread that isn't waited for without end")
    claims = place.real.claim(worker.info, 99, ["q"], 9).claims
    assert all("attempt" not in json.loads(claim.payload) for claim in claims)


def test_without_a_limit_to_the_grace_they_are_waited_for(place: Place) -> None:
    """As at QUIT."""
    wait = waiting(place, 1)
    worker = place.start(grace=None)
    eventually(lambda: wait.inside)
    worker.stop()
    eventually(lambda: worker.primary._stopping)
    assert place.workers[-1][1].is_alive()
    wait.open.set()
    assert place.ended() == 0
    assert processed(place) == 1


def test_paused_it_takes_none_and_running_ones_go_on(place: Place) -> None:
    wait = waiting(place, 1)
    worker = place.start()
    eventually(lambda: wait.inside)
    worker.pause()
    eventually(lambda: worker.primary._paused)
    place.real.put([job("later", "wait", args=("later",))])
    wait.open.set()
    eventually(lambda: processed(place) == 1)
    assert wait.inside == [0]
    worker.pause(False)
    eventually(lambda: processed(place) == 2)


def test_what_became_of_them_in_an_outage_is_written_down(place: Place) -> None:
    wait = waiting(place, 2)
    worker = place.start(spool=True, grace=0.2)
    eventually(lambda: len(wait.inside) == 2)
    place.away()
    wait.open.set()
    eventually(lambda: worker.primary.written_down == 2)
    worker.stop()
    assert place.ended() == 0
    assert len(place.spool_file.settlements.take("reader", 100, 0.0)) == 2


def test_an_async_task_on_a_worker_without_a_loop_is_a_wrong_setting(place: Place) -> None:
    waiting(place, 1)
    with pytest.raises(ConfigError, match="wait: `async def`, which a worker without an event loop can't run"):
        place.worker(async_concurrency=0)
    with pytest.raises(ConfigError, match="async_concurrency='x'"):
        place.worker(async_concurrency="x")


def test_a_time_limit_is_a_failure_of_its_own_kind_in_the_log(place: Place) -> None:
    async def sleeps() -> None:
        await asyncio.sleep(60)

    def spins() -> None:
        while True:
            pass

    for name, function in (("sleeps", sleeps), ("spins", spins)):
        place.tasks.add(_limited(name, function, 0.05))
        place.real.put([job(name, name)])
    place.start(burst=True)
    assert place.ended() == 0
    failures = {failure.id: failure for failure in place.real.failures.page(0, 10)}
    assert {failure.exception for failure in failures.values()} == {"TimeLimit"}
    assert {failure.error for failure in failures.values()} == {"the task ran longer than its timeout of 0.05 s"}
    assert set(failures) == {"sleeps", "spins"}


def test_a_worker_with_too_many_jobs_that_can_not_be_ended_ends_to_be_started_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "STUCK", 0.02)
    monkeypatch.setattr(crew, "MOST_LEFT_BEHIND", 2)
    gate = threading.Event()
    place.tasks.add(_limited("blocked", lambda: gate.wait(30), 0.02))
    place.real.put([job(f"b{n}", "blocked") for n in range(3)])
    place.start(threads=1, grace=0.5)
    assert place.ended() == BROKEN
    assert said(caplog, "3 jobs run on in it after their time limit")
    assert place.real.failures.count() == 3
    assert held(place.real) == 0
    gate.set()


def _limited(name: str, function: Any, timeout: float) -> Task[..., Any]:
    return Task(function, name=name, queue="q", owner=None, policy=RetryPolicy(0), timeout=timeout)  # type: ignore[arg-type]
