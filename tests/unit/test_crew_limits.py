"""Jobs with a time limit in the threads of a crew: ended, or left behind with their thread, which is replaced."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from spoolq import crew as crews
from spoolq import limits
from spoolq.errors import SoftTimeLimit, TimeLimit
from spoolq.job import Claim
from spoolq.limits import KILL_AFTER
from spoolq.outcome import Done, Failed, Outcome, RetryLater
from tests.unit.hands import job, warnings
from tests.unit.scene import Scene, many_switches
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is given no core for two seconds after it was struck is not given up for that."""
    monkeypatch.setattr(limits, "STUCK", 30.0)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.crew.end()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be ended is given up at once."""
    monkeypatch.setattr(limits, "STUCK", 0.05)


def spin(seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_a_job_that_computes_is_ended_at_its_timeout_and_its_thread_goes_on(scene: Scene) -> None:
    scene.task("spin", spin, timeout=0.05)
    scene.hand_out("spin")
    scene.hand_out("note", args=(1,))
    assert scene.failure("spin") == ("TimeLimit", "the task ran longer than its timeout of 0.05 s")
    assert scene.ended("note") == Done()
    assert scene.crew.left_behind == 0


def test_a_soft_limit_that_is_not_caught_is_an_error_as_any_other(scene: Scene) -> None:
    scene.task("spin", spin, soft_timeout=0.05, timeout=60)
    scene.hand_out("spin")
    assert scene.failure("spin") == ("SoftTimeLimit", "the task ran longer than its soft_timeout of 0.05 s")


def test_no_except_exception_of_a_task_swallows_a_hard_limit(scene: Scene) -> None:
    def stubborn() -> None:
        while True:
            try:
                spin()
            except Exception:
                scene.ran.append("swallowed")

    for n in range(20):  # on a busy machine the soft limit may come so late that the hard one alone does
        scene.task(f"stubborn{n}", stubborn, soft_timeout=0.02, timeout=0.3)
        scene.hand_out(f"stubborn{n}")
        assert scene.failure(f"stubborn{n}")[0] == "TimeLimit"
        if scene.ran:
            break
    assert scene.ran == ["swallowed"]


def test_it_is_tried_again_by_its_policy(scene: Scene) -> None:
    scene.task("spin", spin, retries=1, timeout=0.02)
    scene.hand_out("spin")
    outcome = scene.ended("spin")
    assert isinstance(outcome, RetryLater)
    assert "timeout of 0.02 s; attempt 2 of 2" in outcome.reason


@pytest.mark.usefixtures("soon")
def test_a_job_that_can_not_be_ended_is_reported_and_its_thread_replaced(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()

    def blocked_in_here() -> None:
        gate.wait(30)
        scene.ran.append("late")

    scene.task("blocked", blocked_in_here, timeout=0.02)
    scene.hand_out("blocked")
    assert scene.failure("blocked")[0] == "TimeLimit"
    scene.hand_out("note", args=(1,))
    assert scene.ended("note") == Done()
    assert scene.ran == [1]
    assert scene.crew.left_behind == 1
    assert not scene.crew.worn_out
    assert scene.crew.dead == []
    [said] = eventually(lambda: warnings(caplog))
    assert "(blocked, queue q) can't be ended" in said
    outcome = scene.ended("blocked")
    assert isinstance(outcome, Failed)
    assert outcome.failure.backtrace[0] == "It was left at:"
    assert "in blocked_in_here" in outcome.failure.backtrace[1]
    assert "blocked_in_here" in said, "with where it is"
    gate.set()
    eventually(lambda: scene.crew.left_behind == 0)
    assert scene.ran == [1], "it was struck when it came back"
    assert scene.hold.reports() == []
    assert scene.hold.count == 0
    assert scene.crew.dead == []


@pytest.mark.usefixtures("soon")
def test_the_thread_that_takes_over_is_not_missed_while_it_starts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker looks at any time, and ends for good where one is missing."""
    gate, start, missed = threading.Event(), threading.Thread.start, list[list[str]]()

    def looked_at(thread: threading.Thread) -> None:
        if thread.name.startswith("spoolq-job"):
            missed.append(scene.crew.dead)
        start(thread)

    scene.task("blocked", lambda: gate.wait(60), timeout=0.02)
    monkeypatch.setattr(threading.Thread, "start", looked_at)
    scene.hand_out("blocked")
    assert scene.failure("blocked")[0] == "TimeLimit"
    eventually(lambda: missed)
    assert missed == [[]]
    gate.set()


@pytest.mark.usefixtures("soon")
def test_what_was_handed_to_a_thread_that_is_left_behind_can_be_taken_back(scene: Scene) -> None:
    gate = threading.Event()
    scene.task("blocked", lambda: gate.wait(30), timeout=0.02)
    blocked, note = (Claim(name, "w", "q", job(name, name, args=(1,) * (name == "note")).payload) for name in ("blocked", "note"))
    scene.hold.hand_out([blocked, note], 2)
    scene.ended("blocked")
    assert [claim.token for claim in scene.hold.take_back()] == ["note"]
    gate.set()
    eventually(lambda: scene.crew.left_behind == 0)
    assert scene.ran == []


@pytest.mark.usefixtures("soon")
def test_too_many_of_them_wear_the_worker_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "MOST_LEFT_BEHIND", 1)
    gate = threading.Event()
    for name in ("a", "b"):
        assert not scene.crew.worn_out
        scene.task(name, lambda: gate.wait(30), timeout=0.02)
        scene.hand_out(name)
        scene.ended(name)
    eventually(lambda: scene.crew.worn_out)
    gate.set()
    eventually(lambda: not scene.crew.worn_out)


@pytest.mark.usefixtures("soon")
def test_the_board_shows_what_runs_and_until_when_it_may(scene: Scene) -> None:
    gate = threading.Event()
    scene.task("blocked", lambda: gate.wait(30), timeout=0.25)
    scene.hand_out("note", args=(1,))
    scene.ended("note")
    scene.hand_out("blocked")
    scene.ended("blocked")
    told: list[tuple[Any, ...]] = [("begin", 0, "note", None), ("end", 0)]
    told += [("begin", 0, "blocked", None), ("begin", 0, "blocked", 0.25 + KILL_AFTER), ("end", 0)]
    assert scene.board.told == told
    scene.hand_out("note", args=(1,))
    gate.set()
    eventually(lambda: scene.crew.left_behind == 0)
    eventually(lambda: len(scene.board.told) >= len(told) + 2)  # whether it has begun or not, and told last of its end
    assert scene.board.told == [*told, ("begin", 0, "note", None), ("end", 0)], "the late one has no say any more"


@pytest.mark.usefixtures("soon")
def test_where_the_process_is_killed_for_it_nothing_is_reported_here(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.board.kills = True
    gate = threading.Event()
    scene.task("blocked", lambda: gate.wait(30), timeout=0.02)
    scene.hand_out("blocked")
    # a thread that another test left behind may still tell of its own
    eventually(lambda: [said for said in warnings(caplog) if "This process is killed for it" in said])
    assert ("give up", 0) in scene.board.told
    assert scene.hold.reports() == []
    assert scene.crew.left_behind == 0
    gate.set()
    assert scene.failure("blocked")[0] == "TimeLimit", "it came back before it was killed"


def test_jobs_that_end_as_their_limit_comes_are_reported_once_and_harm_nobody(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(3)
    rng = random.Random(7)

    def near() -> None:
        spin(0.0012 + rng.uniform(-0.0003, 0.0003))

    scene.task("near", near, timeout=0.0012)
    scene.task("canary", lambda: spin(0.0005))
    for n in range(1000):
        for name in ("near", "canary"):
            scene.hold.hand_out([Claim(f"{name}{n}", "w", "q", job(name, name).payload)], 1)
    outcomes: dict[str, Outcome] = {}

    def all_ended() -> bool:
        for report in scene.hold.reports():
            assert report.claim.token not in outcomes
            outcomes[report.claim.token] = report.outcome
        return len(outcomes) == 2000

    with many_switches():
        eventually(all_ended, within=60)
    scene.crew.end()
    assert {outcomes[f"canary{n}"] for n in range(1000)} == {Done()}
    failures = [outcome.failure.exception for outcome in outcomes.values() if isinstance(outcome, Failed)]
    assert set(failures) <= {"TimeLimit"}
    assert scene.crew.left_behind == 0
    assert "between jobs" not in caplog.text, "no thread of the crew's was struck outside of a job"


def test_the_errors_can_be_caught_by_their_public_names() -> None:
    import spoolq

    assert (spoolq.TimeLimit, spoolq.SoftTimeLimit) == (TimeLimit, SoftTimeLimit)
    assert not issubclass(TimeLimit, Exception)
