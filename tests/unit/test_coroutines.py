"""`async def` tasks: many at a time on one loop, bounded, each reported once; and whatever one of them does, the loop goes on."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import pytest

from spoolq import coroutines, limits
from spoolq import loop as loops
from spoolq.current import current
from spoolq.errors import ConfigError, Retry, SoftTimeLimit, TimeLimit
from spoolq.job import Claim
from spoolq.limits import KILL_AFTER
from spoolq.outcome import Done, RetryLater
from tests.unit.hands import job, warnings
from tests.unit.scene import Scene, many_switches
from tests.waiting import eventually


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene(threads=1, coroutines=3)
    yield made
    made.crew.end()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is given no core for two seconds after a strike is not given up for that, nor at its end."""
    monkeypatch.setattr(limits, "STUCK", 30.0)
    monkeypatch.setattr(loops, "_CLEANING", 20.0)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be ended is given up at once."""
    monkeypatch.setattr(limits, "STUCK", 0.3)
    monkeypatch.setattr(loops, "BLOCKED", 0.05)


class Doors:
    """Coroutines that have come in, and go on when told."""

    def __init__(self) -> None:
        self.inside: list[Any] = []
        self.open = threading.Event()

    async def __call__(self, who: Any = None) -> None:
        self.inside.append(who)
        while not self.open.is_set():
            await asyncio.sleep(0.005)


def hand_out(scene: Scene, task: str, count: int) -> None:
    scene.hold.hand_out([Claim(f"{task}{n}", "w", "q", job(f"{task}{n}", task, args=(n,)).payload) for n in range(count)], 1)


# running


def test_a_thread_hands_it_over_and_is_free_again(scene: Scene) -> None:
    doors = Doors()
    scene.task("wait", doors)
    hand_out(scene, "wait", 3)
    eventually(lambda: len(doors.inside) == 3)
    scene.hand_out("note", args=(1,))
    assert scene.ended("note") == Done()
    assert [one.slot for one in scene.hold.working] == [1, 2, 3]
    assert scene.crew.room == 1
    assert scene.crew.busy
    doors.open.set()
    for n in range(3):
        assert scene.ended(f"wait{n}") == Done()
    assert scene.hold.count == 0
    assert not scene.crew.busy
    assert sum(thread.name == "spoolq-loop" for thread in threading.enumerate()) >= 1


def test_where_the_loop_is_full_the_thread_waits_and_no_more_is_begun(scene: Scene) -> None:
    doors = Doors()
    scene.task("wait", doors)
    hand_out(scene, "wait", 6)
    eventually(lambda: len(doors.inside) == 3 and len(scene.crew.runs) == 4)
    assert scene.crew.room < 0
    eventually(lambda: [one for one in scene.board.told if one[1] == 0][-1] == ("end", 0), what="what waits hasn't begun")
    assert len(scene.hold.unbegun) == 2
    doors.open.set()
    for n in range(6):
        assert scene.ended(f"wait{n}") == Done()
    eventually(lambda: scene.crew.room == 1)


def test_slots_are_used_again(scene: Scene) -> None:
    async def quick(n: int) -> None:
        await asyncio.sleep(0)
        assert {one.slot for one in scene.hold.working} <= {0, 1, 2, 3}

    scene.task("quick", quick)
    hand_out(scene, "quick", 300)
    for n in range(300):
        assert scene.ended(f"quick{n}") == Done()

    def told(what: str) -> int:
        return sum(one[0] == what and one[1] > 0 for one in scene.board.told)

    eventually(lambda: told("end") >= 300)  # the last is told after its report
    assert (told("begin"), told("end")) == (300, 300)


def test_without_an_async_task_there_is_no_loop(scene: Scene) -> None:
    scene.hand_out("note", args=(1,))
    scene.ended("note")
    assert scene.crew._coroutines._loop is None


def test_how_late_the_loop_comes_is_known_while_a_task_blocks_it_and_afterwards(scene: Scene) -> None:
    freed, begun = threading.Event(), threading.Event()

    async def blocks() -> None:
        begun.set()
        freed.wait(60)

    assert scene.crew.late == 0.0
    scene.task("blocks", blocks)
    scene.hand_out("blocks")
    eventually(begun.is_set)
    eventually(lambda: scene.crew.late > 0.2, what="a loop that is late")
    freed.set()
    eventually(lambda: scene.crew.late < 0.2, what="a loop that answers")


def test_each_knows_its_own_job_also_in_the_tasks_that_it_begins(scene: Scene) -> None:
    seen: dict[int, set[str]] = {}

    async def look(n: int) -> None:
        async def deeper() -> None:
            running = current()
            assert running is not None
            seen.setdefault(n, set()).add(running.id)

        await asyncio.gather(deeper(), asyncio.create_task(deeper()))
        await asyncio.sleep(0.01)
        await deeper()

    scene.task("look", look)
    hand_out(scene, "look", 3)
    for n in range(3):
        scene.ended(f"look{n}")
    assert seen == {n: {f"look{n}"} for n in range(3)}
    assert current() is None


class Awaitable7:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Iterator[Any]:
        return asyncio.sleep(0.001, 7).__await__()


def test_whatever_is_awaitable_is_awaited(scene: Scene) -> None:
    async def later(n: int) -> None:
        await asyncio.sleep(0)
        scene.ran.append(n)

    def returns_one(n: int) -> Awaitable[None]:
        return later(n)

    scene.task("returns", returns_one)
    scene.task("partial", functools.partial(later, 3))
    scene.task("object", lambda: Awaitable7())
    scene.task("foreign", lambda: asyncio.Future(loop=asyncio.new_event_loop()))
    scene.hand_out("returns", args=(2,))
    scene.hand_out("partial", "object", "foreign")
    assert {scene.ended(name) for name in ("returns", "partial", "object")} == {Done()}
    assert sorted(scene.ran) == [2, 3]
    assert scene.failure("foreign")[0] == "RuntimeError"


def test_a_loop_that_there_is_not_is_an_error_with_what_to_do() -> None:
    scene = Scene(coroutines=0)

    async def later() -> None: ...

    scene.task("later", lambda: later())
    scene.hand_out("later")
    assert scene.failure("later")[0] == "ConfigError"
    scene.task("aside", later)
    with pytest.raises(ConfigError, match=r"aside: `async def`, which a worker without an event loop can't run"):
        scene.tasks.concurrency(0)
    with pytest.raises(ConfigError, match="a whole number"):
        scene.tasks.concurrency(-1)
    assert scene.tasks.concurrency(5) == 5
    scene.crew.end()


# ending badly


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopAsyncIteration(),
        TimeLimit(),  # without a limit
        SoftTimeLimit(),
    ],
)
def test_whatever_it_raises_ends_an_attempt_and_not_the_loop(scene: Scene, error: BaseException) -> None:
    async def bad() -> None:
        await asyncio.sleep(0)
        raise error

    async def good(n: int) -> None:
        await asyncio.sleep(0)

    scene.task("bad", bad)
    scene.task("good", good)
    scene.hand_out("bad")
    assert scene.failure("bad")[0] == type(error).__name__
    hand_out(scene, "good", 2)
    assert scene.ended("good1") == Done()
    assert scene.crew.dead == []


def test_a_task_that_it_began_and_that_raises_system_exit_does_not_end_the_loop(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[asyncio.Task[None]] = []

    async def exits() -> None:
        raise SystemExit

    async def begins() -> None:
        kept.append(asyncio.create_task(exits()))
        await asyncio.sleep(0.01)

    async def stops() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)

    scene.task("begins", begins)
    scene.task("stops", stops)
    scene.hand_out("begins", "stops")
    assert scene.ended("begins") == Done()
    assert scene.ended("stops") == Done()
    assert any("SystemExit was raised in the event loop" in said for said in warnings(caplog))
    assert scene.crew.dead == []
    assert isinstance(kept[0].exception(), SystemExit)  # or asyncio would warn, in a later test, that nobody has asked for it


def test_it_may_say_when_to_try_again(scene: Scene) -> None:
    async def again() -> None:
        raise Retry(7)

    scene.task("again", again, retries=1)
    scene.hand_out("again")
    assert isinstance(scene.ended("again"), RetryLater)


def test_a_loop_whose_thread_has_ended_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing() -> None: ...

    scene.task("nothing", nothing)
    scene.hand_out("nothing")
    scene.ended("nothing")
    loop = scene.crew._coroutines._loop
    assert loop is not None
    loop.end()
    eventually(lambda: scene.crew.dead == ["spoolq-loop"])


# time limits


def test_at_the_soft_limit_it_can_clean_up(scene: Scene) -> None:
    async def careful() -> None:
        try:
            await asyncio.sleep(60)
        except SoftTimeLimit as error:
            scene.ran.append(str(error))
            async with asyncio.timeout(10):  # whose own cancellations are told from that one
                await asyncio.sleep(0.001)

    scene.task("careful", careful, soft_timeout=2, timeout=60)  # in which it has begun to wait
    scene.hand_out("careful")
    assert scene.ended("careful") == Done()
    assert scene.ran == ["the task ran longer than its soft_timeout of 2 s"]


def test_what_waits_below_it_is_cancelled_and_cleans_up(scene: Scene) -> None:
    """Libraries know a cancellation, and no limit of ours."""

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            scene.ran.append(name)
            raise

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("a"))
            group.create_task(child("b"))

    async def waiting() -> None:
        await asyncio.wait_for(child("c"), 50)

    async def gathering() -> None:
        await asyncio.gather(child("d"), child("e"))

    for name, function in (("grouped", grouped), ("waiting", waiting), ("gathering", gathering)):
        scene.task(name, function, soft_timeout=2)  # in which all of them have begun to wait
    scene.hand_out("grouped", "waiting", "gathering")
    for name in ("grouped", "waiting", "gathering"):
        assert scene.failure(name) == ("SoftTimeLimit", "the task ran longer than its soft_timeout of 2 s")
    assert sorted(scene.ran) == ["a", "b", "c", "d", "e"]


def test_at_the_hard_limit_it_is_cancelled(scene: Scene) -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except Exception:
                scene.ran.append("soft")

    for n in range(20):  # on a busy machine the soft limit may come so late that the hard one alone does
        scene.task(f"stubborn{n}", stubborn, soft_timeout=0.02, timeout=0.1)
        scene.hand_out(f"stubborn{n}")
        assert scene.failure(f"stubborn{n}") == ("TimeLimit", "the task ran longer than its timeout of 0.1 s")
        if scene.ran:
            break
    assert scene.ran == ["soft"]


def test_one_that_ends_in_time_hears_of_no_limit(scene: Scene) -> None:
    async def quick(n: int) -> None:
        await asyncio.sleep(0.001)

    scene.task("quick", quick, soft_timeout=30, timeout=60)
    hand_out(scene, "quick", 20)
    for n in range(20):
        assert scene.ended(f"quick{n}") == Done()
    assert scene.crew._watch._timed == set()
    assert ("begin", 1, "quick0", 60 + KILL_AFTER) in scene.board.told


def test_one_that_does_not_end_with_its_cancellation_is_given_up(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    doors = Doors()

    async def deaf() -> None:
        while not doors.open.is_set():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                scene.ran.append("cancelled")

    scene.task("deaf", deaf, timeout=0.05)
    scene.hand_out("deaf")
    eventually(lambda: scene.ran, what="a cancellation that it heard of, however late its loop came")
    loop, watch = scene.crew._coroutines._loop, scene.crew._watch
    assert loop is not None
    with watch.lock:
        [course] = loop.courses
        course.at = course._given_up = watch.clock()
    watch._bell.set()
    assert scene.failure("deaf")[0] == "TimeLimit"
    [said] = eventually(lambda: warnings(caplog))
    assert "doesn't end with its cancellation" in said
    assert "in deaf" in said
    assert scene.crew.left_behind == 1
    assert scene.crew.runs == {}
    doors.open.set()
    eventually(lambda: scene.crew.left_behind == 0)
    assert scene.hold.reports() == []


def test_one_that_computes_and_so_blocks_the_loop_is_ended(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "BLOCKED", 0.05)
    doors = Doors()
    scene.task("wait", doors)

    async def spin() -> None:
        while True:
            pass

    scene.task("spin", spin, timeout=0.1)
    hand_out(scene, "wait", 1)
    eventually(lambda: doors.inside)
    scene.hand_out("spin")
    assert scene.failure("spin") == ("TimeLimit", "the task ran longer than its timeout of 0.1 s")
    doors.open.set()
    assert scene.ended("wait0") == Done()
    assert scene.crew.left_behind == 0
    assert scene.crew._coroutines._retired == []


@pytest.mark.usefixtures("soon")
def test_a_loop_that_is_blocked_for_good_is_replaced_and_its_other_jobs_go_on_when_they_can(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors, gate = Doors(), threading.Event()
    scene.task("wait", doors)

    async def blocks() -> None:
        gate.wait(30)

    async def good(n: int) -> None:
        await asyncio.sleep(0)

    scene.task("blocks", blocks, timeout=0.1)
    scene.task("good", good)
    hand_out(scene, "wait", 1)
    eventually(lambda: doors.inside)
    scene.hand_out("blocks")
    assert scene.failure("blocks")[0] == "TimeLimit"
    said = eventually(lambda: [said for said in warnings(caplog) if "blocks the event loop" in said])
    assert "in blocks" in said[0]
    hand_out(scene, "good", 2)
    assert scene.ended("good1") == Done()
    assert scene.crew.left_behind == 1
    assert not scene.crew.worn_out
    monkeypatch.setattr(coroutines, "_LOST", 0.0)
    assert eventually(lambda: scene.crew.worn_out), "it holds up another job for good"
    gate.set()
    doors.open.set()
    assert scene.ended("wait0") == Done()
    eventually(lambda: scene.crew.left_behind == 0)
    assert not scene.crew.worn_out


@pytest.mark.usefixtures("soon")
def test_where_the_process_is_killed_for_a_blocked_loop_nothing_is_reported_here(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.board.kills = True
    gate = threading.Event()

    async def blocks() -> None:
        gate.wait(30)

    scene.task("blocks", blocks, timeout=0.05)
    scene.hand_out("blocks")
    [said] = eventually(lambda: warnings(caplog))
    assert "this process is killed for it" in said
    assert scene.hold.reports() == []
    gate.set()
    assert scene.failure("blocks")[0] == "TimeLimit"


def test_a_loop_that_is_held_up_is_told_once_with_where_it_is(
    scene: Scene, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coroutines, "_HELD_UP", 0.02)
    gate, inside = threading.Event(), threading.Event()

    async def blocks() -> None:
        inside.set()
        gate.wait(30)

    def told() -> list[str]:
        scene.crew.look()
        return [said for said in warnings(caplog) if "has not come to its other jobs" in said]

    scene.task("blocks", blocks)
    scene.hand_out("blocks")
    inside.wait(30)
    [said] = eventually(told)
    assert "in blocks" in said
    assert len(told()) == 1
    gate.set()
    assert scene.ended("blocks") == Done()
    loop = scene.crew._coroutines._loop
    assert loop is not None
    eventually(lambda: loop.held_up(0.0) == 0.0, what="an answer to the first question")


# the end


def test_at_the_end_it_is_cancelled_and_goes_back_uncounted(scene: Scene) -> None:
    doors = Doors()

    async def cleans() -> None:
        try:
            await doors()
        except asyncio.CancelledError:
            scene.ran.append("cleaned")
            raise

    scene.task("cleans", cleans)
    scene.hand_out("cleans")
    eventually(lambda: doors.inside)
    scene.crew.end()
    assert scene.ran == ["cleaned"]
    assert scene.hold.reports() == []
    assert [claim.token for claim in scene.hold.take_back_running()] == ["cleans"]
    assert not scene.crew.busy


def test_one_that_ends_well_though_it_was_cancelled_is_done(scene: Scene) -> None:
    doors = Doors()

    async def ends() -> None:
        try:
            await doors()
        except asyncio.CancelledError:
            scene.ran.append("put in order")

    scene.task("ends", ends)
    scene.hand_out("ends")
    eventually(lambda: doors.inside)
    scene.crew.end()
    assert scene.ended("ends") == Done()


def test_one_that_does_not_care_holds_up_the_end_for_two_seconds_at_most(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_CLEANING", 0.05)
    gate, inside = threading.Event(), threading.Event()

    async def blocks() -> None:
        inside.set()
        gate.wait(60)

    scene.task("blocks", blocks)
    scene.hand_out("blocks")
    inside.wait(30)
    began = time.monotonic()
    scene.crew.end()
    assert time.monotonic() - began < 20
    assert [claim.token for claim in scene.hold.take_back_running()] == ["blocks"]
    gate.set()


def test_what_waits_for_room_at_the_end_was_not_begun(scene: Scene) -> None:
    doors = Doors()
    scene.task("wait", doors)
    hand_out(scene, "wait", 4)
    eventually(lambda: len(doors.inside) == 3 and len(scene.crew.runs) == 4)
    scene.hold.closed = True
    back: list[str] = []

    def taken_back() -> bool:
        back.extend(claim.token for claim in scene.hold.take_back())
        return bool(back)

    eventually(taken_back)
    assert back == ["wait3"]
    assert len(scene.crew.runs) == 3
    doors.open.set()
    eventually(lambda: not scene.crew.busy)


def test_async_generators_are_closed(scene: Scene) -> None:
    closed = threading.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.set()

    kept: list[Any] = []

    async def reads() -> None:
        kept.append(numbers())
        await kept[0].__anext__()

    scene.task("reads", reads)
    scene.hand_out("reads")
    scene.ended("reads")
    assert not closed.is_set()
    scene.crew.end()
    assert closed.is_set()


def test_jobs_that_end_as_their_limit_comes_are_reported_once_and_leave_the_loop_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some await, some compute and are struck in the loop's thread; beside them one that must not notice."""
    monkeypatch.setattr(loops, "BLOCKED", 0.005)
    scene = Scene(threads=2, coroutines=20)

    async def near(n: int) -> None:
        until = time.monotonic() + 0.003 + n % 5 * 0.001
        while n % 2 and time.monotonic() < until:
            await asyncio.sleep(0)
        await asyncio.sleep(until - time.monotonic())

    async def beside(n: int) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def spin(n: int) -> None:
        until = time.monotonic() + 0.03 * (n % 40 == 0)
        while time.monotonic() < until:
            pass

    scene.task("near", near, soft_timeout=0.004, timeout=0.005)
    scene.task("beside", beside)
    scene.task("spin", spin, timeout=0.01)
    for name in ("near", "beside", "spin"):
        hand_out(scene, name, 400)
    outcomes: dict[str, Any] = {}

    def all_ended() -> bool:
        for report in scene.hold.reports():
            assert report.claim.token not in outcomes
            outcomes[report.claim.token] = report.outcome
        return len(outcomes) == 1200

    with many_switches():
        eventually(all_ended, within=60)
    assert {outcomes[f"beside{n}"] for n in range(400)} == {Done()}
    eventually(lambda: scene.crew.left_behind == 0)
    assert (scene.crew.runs, scene.crew.aside, scene.crew._watch._timed, scene.crew.dead) == ({}, 0, set(), [])
    scene.crew.end()


def test_the_two_errors_are_cancellations_to_whoever_looks_for_those() -> None:
    for made, limit in ((loops._SoftCancelled, SoftTimeLimit), (loops._HardCancelled, TimeLimit)):
        assert issubclass(made, limit)
        assert issubclass(made, asyncio.CancelledError)
    assert not issubclass(loops._HardCancelled, Exception)
