"""Threads and the claims in their hands: each claim is begun once or not at all, and its report counts once or not at all."""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from spoolq.crew import Crew
from spoolq.hold import ALONE_FOR, Hold, Run
from spoolq.job import Claim
from spoolq.outcome import Done, Outcome
from spoolq.runner import Alone, Call, Runner
from spoolq.tasks import Task, Tasks
from tests.clock import Clock
from tests.unit.hands import info, warnings
from tests.waiting import eventually, pass_time


class Fixed(Runner):
    """Runs a claim by calling a function with its token."""

    def __init__(self, function: object = None) -> None:
        super().__init__(Tasks(), info(), "primary", time.time)
        self.function = function
        self.ran: list[str] = []

    def run(self, claim: Claim, slot: int = 0, call: Call = Task.run, alone: Alone = lambda: True) -> Done:
        if callable(self.function):
            self.function(claim.token)
        self.ran.append(claim.token)
        return Done()


def claims(*tokens: str) -> list[Claim]:
    return [Claim(token, "w", "q", b"{}") for token in tokens]


@pytest.fixture
def crew(clock: Clock) -> Iterator[Crew]:
    made = Crew(2, clock=clock, wall=lambda: 1_800_000_000.0)
    yield made
    made.end()


def tokens(found: list[Claim]) -> list[str]:
    return [claim.token for claim in found]


def test_what_is_handed_out_is_run_and_reported_once(crew: Crew) -> None:
    rung = threading.Event()
    hold = Hold(crew, runner := Fixed(), rung.set)
    crew.start()
    hold.hand_out(claims("a", "b", "c"), 2)
    eventually(lambda: len(runner.ran) == 3 and not crew.runs)
    assert rung.wait(40)  # a finish rings when it is over
    assert hold.count == 3
    assert hold.tokens == {"a", "b", "c"}
    assert sorted(report.claim.token for report in hold.reports()) == ["a", "b", "c"]
    assert hold.reports() == []
    assert hold.count == 0


def test_what_is_taken_back_is_never_begun(crew: Crew) -> None:
    hold = Hold(crew, runner := Fixed(), lambda: None)
    hold.hand_out(claims("a", "b", "c"), 1)
    assert hold.begin(0, claims("b")[0]) is not None
    assert tokens(hold.take_back()) == ["a", "c"]
    assert hold.begin(1, claims("a")[0]) is None
    assert hold.take_back() == []
    crew.start()
    crew.end()
    eventually(lambda: crew.todo.empty())
    assert runner.ran == []


def test_only_what_waits_for_long_is_taken_back_in_its_order(crew: Crew, clock: Clock) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("d", "a"), 1)
    clock.now += 5
    hold.hand_out(claims("b"), 1)
    assert tokens(hold.take_back(clock.now - 1)) == ["d", "a"]
    assert hold.tokens == {"b"}


def test_after_the_lease_nothing_is_begun(crew: Crew, clock: Clock) -> None:
    rung = threading.Event()
    hold = Hold(crew, Fixed(), rung.set)
    hold.hand_out(claims("a", "b"), 1)
    hold.good_until = clock.now + 10
    clock.now += 9
    assert hold.begin(0, claims("a")[0]) is not None
    clock.now += 2
    assert hold.begin(1, claims("b")[0]) is None
    assert rung.is_set()
    assert tokens(hold.take_back()) == ["b"]


def test_closed_it_lets_nothing_begin(crew: Crew) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("a", "b"), 1)
    assert hold.begin(0, claims("a")[0]) is not None
    hold.closed = True
    assert hold.begin(1, claims("b")[0]) is None
    assert tokens(hold.take_back()) == ["b"]


def test_beside_what_is_to_be_alone_nothing_is_begun_until_it_has_ended(crew: Crew) -> None:
    rung = threading.Event()
    hold, other = Hold(crew, Fixed(), lambda: None), Hold(crew, Fixed(), rung.set)
    hold.hand_out(claims("a", "b", "c"), 1)
    other.hand_out(claims("d"), 1)
    first, second = hold.begin(0, claims("a")[0]), hold.begin(1, claims("b")[0])
    assert first is not None
    assert second is not None
    assert crew.seclude(first)
    assert crew.seclude(first)
    assert not crew.seclude(second)
    assert crew.room < -1000, "however much may be claimed ahead"
    hold.finish(second, Done(), 0.0)
    assert crew.alone is first
    assert hold.begin(1, claims("c")[0]) is None
    assert other.begin(1, claims("d")[0]) is None
    assert tokens(hold.take_back()) == ["c"], "it can be put back meanwhile"
    rung.clear()
    hold.finish(first, Done(), 0.0)
    assert rung.is_set()
    assert other.begin(1, claims("d")[0]) is not None
    assert crew.room == 1


def test_one_that_takes_long_is_alone_for_a_minute(crew: Crew, clock: Clock) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("a", "b", "c"), 1)
    first, second = hold.begin(0, claims("a")[0]), hold.begin(1, claims("b")[0])
    assert first is not None
    assert second is not None
    assert crew.seclude(first)
    clock.now += ALONE_FOR - 1
    assert not crew.seclude(second)
    assert crew.room < 0
    clock.now += 1
    assert crew.room == -1
    assert crew.seclude(second), "another may be alone then"
    hold.finish(first, Done(), ALONE_FOR)
    assert hold.begin(0, claims("c")[0]) is None
    hold.finish(second, Done(), 0.0)
    assert hold.begin(0, claims("c")[0]) is not None


def test_a_run_that_is_not_begun_after_all_lets_others_begin(crew: Crew) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("a", "b"), 1)
    run = hold.begin(0, claims("a")[0])
    assert run is not None
    assert crew.seclude(run)
    hold.unbegin(run)
    assert hold.begin(1, claims("b")[0]) is not None


def test_a_report_on_what_was_taken_back_while_it_ran_does_not_count(crew: Crew) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("a", "b"), 1)
    for slot, claim in enumerate(claims("a", "b")):
        hold.begin(slot, claim)
    assert crew.busy
    assert tokens(hold.take_back_running()) == ["a", "b"]
    assert (hold.count, hold.working, crew.busy) == (0, [], False)
    assert crew.room == 0, "its thread is still occupied"
    hold.finish(crew.runs[0], Done(), 1.0)
    assert hold.reports() == []
    assert crew.room == 1


def test_what_is_forgotten_is_neither_begun_nor_reported(crew: Crew) -> None:
    hold = Hold(crew, Fixed(), lambda: None)
    hold.hand_out(claims("a", "b", "c"), 1)
    hold.begin(0, claims("a")[0])
    assert hold.forget(["a", "b", "unknown"]) == 2
    assert hold.begin(1, claims("b")[0]) is None
    hold.finish(crew.runs[0], Done(), 1.0)
    assert hold.tokens == {"c"}


def test_each_hold_sees_its_own_and_all_share_the_room(crew: Crew) -> None:
    one, two = Hold(crew, Fixed(), lambda: None), Hold(crew, Fixed(), lambda: None)
    assert crew.room == 2
    one.hand_out(claims("a"), 1)
    one.begin(1, claims("a")[0])
    two.hand_out(claims("b", "c"), 1)
    assert crew.room == -1
    assert [(working.slot, working.claim.token, working.since) for working in one.working] == [(1, "a", 1_800_000_000.0)]
    assert two.working == []
    assert (one.count, two.count) == (1, 2)


def test_a_thread_that_is_free_again_is_told_to_whoever_could_use_it(crew: Crew) -> None:
    rung: list[str] = []
    one, two = Hold(crew, Fixed(), lambda: rung.append("one")), Hold(crew, Fixed(), lambda: rung.append("two"))
    one.hand_out(claims("a", "b"), 1)
    one.begin(0, claims("a")[0])
    one.finish(crew.runs[0], Done(), 5.0)
    assert rung == ["one"]
    two.hungry = True
    one.begin(0, claims("b")[0])
    one.finish(crew.runs[0], Done(), 5.0)
    assert rung == ["one", "one", "two"]


def test_short_jobs_wait_for_each_other(crew: Crew) -> None:
    rung: list[str] = []
    hold = Hold(crew, Fixed(), lambda: rung.append("x"))
    hold.low = 1
    hold.hand_out(claims("a", "b", "c"), 1)
    for token, expected in (("a", 0), ("b", 1), ("c", 2)):
        hold.begin(0, claims(token)[0])
        hold.finish(crew.runs[0], Done(), 0.0001)
        assert len(rung) == expected


def test_a_thread_lets_in_whom_it_has_woken_where_it_goes_on_at_once(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[str] = []
    monkeypatch.setattr("spoolq.hold.time", SimpleNamespace(sleep=lambda seconds: naps.append(token)))
    wakes = True
    hold = Hold(crew, Fixed(), lambda: wakes)
    hold.low = 3
    hold.hand_out(claims("a", "b", "c", "d", "e"), 1)
    for token in "abcde":
        wakes = token != "c"  # it was awake by then
        hold.begin(0, claims(token)[0])
        hold.finish(crew.runs[0], Done(), 0.0001)
    assert naps == ["b", "d"]


def test_an_event_loop_naps_for_nobody(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("spoolq.hold.time", SimpleNamespace(sleep=naps.append))
    hold = Hold(crew, Fixed(), lambda: True)
    hold.low = 3
    hold.hand_out(claims("a", "b"), 1)
    run = hold.begin(0, claims("a")[0])
    assert run is not None
    hold.move(run, crew.size)
    hold.finish(run, Done(), 0.0001)
    assert naps == []


def test_what_is_passed_on_is_begun_once() -> None:
    crew = Crew(4)
    hold = Hold(crew, runner := Fixed(), lambda: False)
    crew.start()
    for turn in range(200):
        hold.hand_out(claims(*(f"{turn}-{n}" for n in range(20))), 20)
        hold.pass_on(math.inf)
    eventually(lambda: not crew.runs and not hold.unbegun and crew.todo.empty())
    assert sorted(runner.ran) == sorted(f"{turn}-{n}" for turn in range(200) for n in range(20))
    eventually(lambda: hold.count == len(runner.ran))
    crew.end()


def test_a_thread_that_may_begin_nothing_does_not_starve() -> None:
    """It would be offered the same again and again, while another job is to be alone."""
    crew = Crew(2)
    hold = Hold(crew, Fixed(), lambda: False)
    crew.start()
    eventually(lambda: crew.starved)
    run = Run(hold, 0, claims("a")[0], 0.0)
    assert crew.seclude(run)
    assert not crew.starved
    crew.readmit(run)
    assert crew.starved
    crew.end()


def test_only_what_was_handed_out_before_is_passed_on(crew: Crew, clock: Clock) -> None:
    hold = Hold(crew, Fixed(), lambda: False)
    hold.hand_out(claims("a", "b", "c", "d"), 4)
    clock.now += 1
    hold.hand_out(claims("e"), 1)
    hold.begin(0, claims("a")[0])
    while not crew.todo.empty():
        crew.todo.get()
    hold.pass_on(clock.now)
    offered = []
    while not crew.todo.empty():
        batch = crew.todo.get()
        assert batch is not None
        offered.append(tokens(batch[1]))
    assert offered == [["b"], ["c"], ["d"]]


def test_what_lies_behind_a_slow_job_is_passed_on_whoever_handed_it_out() -> None:
    crew, slow = Crew(4), threading.Event()
    hold = Hold(crew, runner := Fixed(lambda token: token == "a" and slow.wait(60)), lambda: False)
    crew.start()
    hold.hand_out(claims("a", "b", "c", "d"), 4)
    eventually(lambda: sorted(runner.ran) == ["b", "c", "d"])
    hold.hand_out(claims("e", "f"), 2)
    eventually(lambda: len(runner.ran) == 5)
    slow.set()
    eventually(lambda: hold.count == 6)
    crew.end()


def test_who_passes_on_goes_on_after_an_error_and_tells_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    crew, slow, failed = Crew(2), threading.Event(), list[float]()
    hold = Hold(crew, runner := Fixed(lambda token: token == "a" and slow.wait(60)), lambda: False)
    pass_on = hold.pass_on

    def fails_once(before: float) -> None:
        failed.append(before)
        if len(failed) == 1:
            raise MemoryError
        pass_on(before)

    monkeypatch.setattr(hold, "pass_on", fails_once)
    crew.start()
    hold.hand_out(claims("a", "b"), 2)
    eventually(lambda: runner.ran == ["b"])
    assert any("an error of our own" in said for said in warnings(caplog))
    slow.set()
    crew.end()


def test_what_may_not_be_begun_is_offered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, tried = Crew(2), list[str]()
    hold = Hold(crew, Fixed(), lambda: False)
    monkeypatch.setattr(hold, "begin", lambda slot, claim: tried.append(claim.token))
    hold.good_until = 0.0
    crew.start()
    hold.hand_out(claims("a", "b", "c"), 3)
    pass_time(0.2)  # twenty times that after which it would be passed on
    eventually(lambda: len(tried) >= 3)
    assert tried == ["a", "b", "c"]
    crew.end()


def test_a_claim_waits_for_a_thread_until_it_is_begun_or_may_not_be(crew: Crew, clock: Clock) -> None:
    hold = Hold(crew, Fixed(), lambda: False)
    hold.hand_out(claims("a"), 1)
    assert hold.waits
    hold.good_until = clock.now - 1
    assert not hold.waits
    hold.good_until, hold.closed = clock.now, True
    assert not hold.waits
    hold.closed = False
    hold.begin(0, claims("a")[0])
    assert not hold.waits


def test_a_crew_says_that_nobody_passes_on(crew: Crew) -> None:
    crew.start()
    assert crew.dead == []
    crew._sharer = threading.Thread(name="spoolq-share")
    assert crew.dead == ["spoolq-share"]


def test_claims_taken_back_while_threads_race_for_them_are_run_or_returned_never_both() -> None:
    crew = Crew(4)
    hold = Hold(crew, runner := Fixed(), lambda: None)
    crew.start()
    back: list[str] = []
    for turn in range(200):
        hold.hand_out(claims(*(f"{turn}-{n}" for n in range(20))), 5)
        back += tokens(hold.take_back())
    eventually(lambda: not crew.runs and not hold.unbegun and crew.todo.empty())
    assert sorted(runner.ran + back) == sorted(f"{turn}-{n}" for turn in range(200) for n in range(20))
    eventually(lambda: hold.count == len(runner.ran))
    crew.end()


def strike(thread: threading.Thread) -> None:
    """As time limits do that work by exceptions in another thread: here after the job's end."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(TimeoutError))


def test_threads_that_are_struck_between_two_jobs_go_on(crew: Crew, caplog: pytest.LogCaptureFixture) -> None:
    """What a struck one had taken and not begun is nobody's, and can be taken back."""
    both = threading.Barrier(2)
    hold = Hold(crew, runner := Fixed(lambda token: token in ("a", "b", "y", "z") and both.wait(30)), lambda: None)
    handed: list[str] = []

    def hand_out(*names: str) -> None:
        handed.extend(names)
        hold.hand_out(claims(*names), 1)

    def struck() -> bool:
        hand_out(f"n{len(handed)}")
        return len(warnings(caplog)) == 2

    crew.start()
    hand_out("a", "b")
    eventually(lambda: len(runner.ran) == 2 and not crew.runs)
    for hand in crew._hands.values():
        strike(hand.thread)
    eventually(struck, what="two threads that met it")
    hand_out("y", "z")
    eventually(lambda: {"y", "z"} <= set(runner.ran) and not crew.runs)
    assert crew.dead == []
    assert sorted(runner.ran + tokens(hold.take_back())) == sorted(handed)


@pytest.mark.parametrize("where", ["before", "after"])
def test_what_a_struck_thread_ran_is_reported_on_once(crew: Crew, where: str) -> None:
    struck: list[str] = []

    class Struck(Fixed):
        def run(self, claim: Claim, slot: int = 0, call: Call = Task.run, alone: Alone = lambda: True) -> Done:
            if claim.token == "a" and where == "before":
                raise MemoryError
            return super().run(claim, slot, call)

        def died(self, claim: Claim, why: BaseException | None = None) -> Done:
            struck.append(f"{claim.token} {type(why).__name__}")
            if len(struck) < 3:
                raise MemoryError  # there is none yet
            return Done("died")

    hold = Hold(crew, runner := Struck(), lambda: None)
    finish = hold.finish

    def failing(run: Run, outcome: Outcome, took: float) -> None:
        hold.finish = finish  # type: ignore[method-assign]
        raise MemoryError

    if where == "after":
        hold.finish = failing  # type: ignore[assignment]
    crew.start()
    hold.hand_out(claims("a"), 1)
    eventually(lambda: len(hold._reports) == 1 and not crew.runs)
    hold.hand_out(claims("b", "c", "d"), 1)
    eventually(lambda: len(runner.ran) == (3 if where == "before" else 4) and not crew.runs)
    reports = {report.claim.token: report.outcome for report in hold.reports()}
    assert reports["a"] == (Done("died") if where == "before" else Done())
    assert struck == (["a MemoryError"] * 3 if where == "before" else [])
    assert crew.dead == [], "and both threads live"
    assert not crew.busy


def test_a_thread_that_has_ended_all_the_same_is_told_and_keeps_nobody_busy(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolq.crew._MENDS", 0)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def fatal(token: str) -> None:
        raise MemoryError

    hold = Hold(crew, Fixed(fatal), lambda: None)
    crew.start()
    hold.hand_out(claims("a"), 1)
    eventually(lambda: crew.dead)
    assert not crew.busy
    assert tokens(hold.take_back_running()) == ["a"]
    crew.end()
    assert crew.dead == []
