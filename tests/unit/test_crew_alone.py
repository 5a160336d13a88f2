"""A job on its last chance runs alone in its process: another's crash would be taken for its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from spoolq import crew as crews
from spoolq.errors import TimeLimit
from spoolq.job import Claim
from spoolq.outcome import Done, RetryLater
from tests.unit.hands import job
from tests.unit.scene import Scene
from tests.waiting import eventually


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene(threads=2, coroutines=2)
    yield made
    made.crew.end()


def last_chance(scene: Scene, name: str, token: str = "", crashes: int = 2) -> None:
    payload = job(token or name, name, crashes=crashes).payload
    scene.hold.hand_out([Claim(token or name, "w", "q", payload)], 1)


class Gated:
    """A task that others wait for, and what ran beside."""

    def __init__(self, scene: Scene, name: str) -> None:
        self.scene, self.begun, self.gate = scene, threading.Event(), threading.Event()
        self.beside: list[int] = []
        scene.task(name, self)

    __name__ = "gated"

    def __call__(self) -> None:
        self.beside.append(len(self.scene.crew.runs))
        self.begun.set()
        assert self.gate.wait(30)
        self.beside.append(len(self.scene.crew.runs))


def test_it_waits_for_the_others_to_end_and_they_wait_for_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_PATIENCE", 30.0)
    other, suspect = Gated(scene, "other"), Gated(scene, "suspect")
    scene.hand_out("other")
    assert other.begun.wait(30)
    last_chance(scene, "suspect")
    eventually(lambda: scene.crew.alone is not None)
    assert not suspect.begun.is_set()
    other.gate.set()
    assert suspect.begun.wait(30)
    scene.hand_out("note", args=(1,))
    suspect.gate.set()
    assert (scene.ended("other"), scene.ended("suspect")) == (Done(), Done())
    assert suspect.beside == [1, 1]
    eventually(lambda: scene.crew.alone is None and not scene.crew.runs)
    back = scene.hold.take_back()  # refused meanwhile, it goes back to the store
    eventually(lambda: back or scene.ran)  # a thread that came to it a moment later has begun it since
    assert [claim.token for claim in back] == (["note"] if not scene.ran else [])


def test_should_the_process_die_while_it_waits_nobody_takes_it_for_what_was_running(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "_PATIENCE", 30.0)
    other = Gated(scene, "other")
    scene.task("suspect", lambda: None)
    scene.hand_out("other")
    assert other.begun.wait(30)
    last_chance(scene, "suspect")
    told: list[Any] = eventually(lambda: [what for what in scene.board.told if what[0] == "end"])
    slot = told[0][1]
    assert [what[0] for what in scene.board.told if what[1] == slot] == ["begin", "end"]
    other.gate.set()
    scene.ended("suspect")
    eventually(lambda: [what[0] for what in scene.board.told if what[1] == slot] == ["begin", "end", "begin", "end"])


def test_where_the_others_do_not_end_it_is_put_off_with_nothing_counted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_PATIENCE", 0.01)
    other = Gated(scene, "other")
    scene.task("suspect", lambda: scene.ran.append("suspect"))
    scene.hand_out("other")
    assert other.begun.wait(30)
    payload = job("suspect", "suspect", crashes=2, history=scene.just_now()).payload
    scene.hold.hand_out([Claim("suspect", "w", "q", payload)], 1)
    outcome = scene.ended("suspect")
    assert isinstance(outcome, RetryLater)
    assert outcome.payload == payload
    assert outcome.reason == "it was running at the death of 2 workers, and waits for a moment to run alone"
    scene.hand_out("note", args=(1,))
    assert scene.ended("note") == Done(), "the others go on"
    other.gate.set()
    assert scene.ran == [1]


def test_one_that_could_not_be_alone_for_long_is_run_beside_others(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "_PATIENCE", 0.01)
    other = Gated(scene, "other")
    scene.task("suspect", lambda: scene.ran.append("suspect"))
    scene.hand_out("other")
    assert other.begun.wait(30)
    last_chance(scene, "suspect")  # without a history: nobody knows for how long it has waited
    assert scene.ended("suspect") == Done()
    other.gate.set()
    assert scene.ran == ["suspect"]


def test_of_two_one_waits_for_the_other(scene: Scene) -> None:
    suspect = Gated(scene, "suspect")
    last_chance(scene, "suspect", "a")
    last_chance(scene, "suspect", "b")
    assert suspect.begun.wait(30)
    assert suspect.beside[0] == 1
    suspect.gate.set()
    eventually(lambda: not scene.crew.runs and scene.crew.alone is None)
    assert set(suspect.beside) == {1}  # the other may have begun since


def test_a_coroutine_is_alone_too(scene: Scene) -> None:
    release = threading.Event()
    beside: list[int] = []

    async def suspect() -> None:
        import asyncio

        while not release.is_set():
            beside.append(len(scene.crew.runs))
            await asyncio.sleep(0.005)

    scene.task("suspect", suspect)
    last_chance(scene, "suspect")
    eventually(lambda: beside)
    scene.hand_out("note", args=(1,))
    eventually(lambda: scene.crew.todo.empty())
    release.set()
    assert scene.ended("suspect") == Done()
    assert set(beside) == {1}
    eventually(lambda: scene.crew.alone is None)


def test_a_job_with_other_chances_left_is_not_alone(scene: Scene) -> None:
    other = Gated(scene, "other")
    scene.task("suspect", lambda: scene.ran.append("suspect"))
    scene.hand_out("other")
    assert other.begun.wait(30)
    last_chance(scene, "suspect", crashes=1)
    assert scene.ended("suspect") == Done()
    other.gate.set()


def test_the_others_go_on_after_one_that_ran_past_its_limit(scene: Scene) -> None:
    def spin() -> None:
        while True:
            pass

    scene.task("suspect", spin, timeout=0.05)
    last_chance(scene, "suspect")
    assert scene.failure("suspect")[0] == TimeLimit.__name__
    scene.hand_out("note", args=(1,))
    assert scene.ended("note") == Done()
