"""What a job passes before its code runs: held, shut, kept up and given back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolq.errors import StoreUnavailable
from spoolq.gate import AGAIN, Gate, Shut
from spoolq.guards import renewing
from spoolq.job import Job, Unique
from spoolq.retry import RetryPolicy
from spoolq.store.effects import NONE, Effects
from spoolq.store.sqlite import SQLiteStore
from spoolq.tasks import Task
from spoolq.unique import declared

LOCK = "workerslock:t:q:[1]"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "jobs.db", min_free=0, timeout=20.0)
    yield store
    store.close()


def task(unique: Any = None, **options: Any) -> Task[..., Any]:
    said = declared("t", unique, None, None)
    return Task(lambda *args: None, name="t", queue="q", owner=None, policy=RetryPolicy(0), unique=said, **options)  # type: ignore[arg-type]


def job(id: str, *args: Any, unique: Unique | None = None) -> Job:
    return Job(id, "t", "q", args or (1,), unique=unique)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def gate(store: Any, clock: Clock | None = None) -> Gate:
    clock = clock or Clock()
    return Gate(store, 30.0, random.Random(1), clock, clock.sleep)


def held(store: SQLiteStore) -> dict[str, str]:
    return {guard.key: guard.holder for guard in store.guards()}


def test_a_plain_task_asks_nobody() -> None:
    assert gate(None).enter("a", job("a"), task()) is None
    assert gate(None).leave("a") == NONE
    gate(None).keep(lambda: {"a"})


def test_of_equal_jobs_one_is_let_in_and_the_next_when_it_has_left(store: SQLiteStore) -> None:
    one, other, exclusive = gate(store), gate(store), task(exclusive=True)
    assert one.enter("ta", job("a"), exclusive) is None
    assert held(store) == {LOCK: "a"}
    assert other.enter("tb", job("b"), exclusive) == Shut(AGAIN, "an equal job runs (exclusive), that of a")
    assert other.enter("tc", job("c", 2), exclusive) is None
    assert other.leave("tb") == NONE
    effects = one.leave("ta")
    assert effects == Effects(release=((LOCK, "a"),))
    assert one.leave("ta") == NONE
    store.put([], effects)
    assert other.enter("tb", job("b"), exclusive) is None


def test_a_job_that_runs_again_passes_by_its_own_lock(store: SQLiteStore) -> None:
    assert gate(store).enter("t1", job("a"), task(exclusive=True)) is None
    assert gate(store).enter("t2", job("a"), task(exclusive=True)) is None


def test_so_many_of_a_task_are_let_in(store: SQLiteStore) -> None:
    several, three = [gate(store, Clock()) for _ in range(5)], task(concurrency=3)
    shut = [one.enter(f"t{n}", job(f"j{n}", n), three) for n, one in enumerate(several)]
    assert [entered is None for entered in shut] == [True, True, True, False, False]
    assert shut[3] == Shut(AGAIN, "3 job(s) of t run, which is its concurrency")
    assert sorted(held(store)) == ["concurrency:t:0", "concurrency:t:1", "concurrency:t:2"]
    store.put([], several[1].leave("t1"))
    assert gate(store).enter("t4", job("j4", 4), three) is None


def test_a_place_that_comes_free_soon_is_waited_for(store: SQLiteStore) -> None:
    one, first, clock = task(concurrency=1), gate(store), Clock()
    assert first.enter("ta", job("a"), one) is None
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        slept.append(seconds)
        if len(slept) == 3:
            store.put([], first.leave("ta"))

    assert Gate(store, 30.0, clock=clock, sleep=sleep).enter("tb", job("b"), one) is None
    assert len(slept) == 3


def test_of_many_that_wait_for_a_task_one_asks_a_second_and_the_rest_come_later_in_their_order(store: SQLiteStore) -> None:
    clock, one = Clock(), task(concurrency=1)
    assert gate(store).enter("t", job("first"), one) is None
    asked: list[Any] = []
    put = store.put

    class Asked:
        def put(self, *args: Any, **options: Any) -> Any:
            asked.append(args)
            return put(*args, **options)

    busy = gate(Asked(), clock)
    delays = [shut.delay for n in range(1000) if (shut := busy.enter(f"t{n}", job(f"j{n}", n), one)) is not None]
    tries = len(asked)
    assert 1 < tries < 10, "the first one's"
    assert len(delays) == 1000
    assert delays == sorted(delays)
    assert (delays[0], 10 < delays[-1] < 60) == (AGAIN, True)
    clock.now += AGAIN
    assert busy.enter("again", job("again"), one) == Shut(AGAIN, "1 job(s) of t run, which is its concurrency")
    assert tries < len(asked) < 20


def test_both_at_once_are_held_or_neither(store: SQLiteStore) -> None:
    both = task(exclusive=True, concurrency=1)
    assert gate(store).enter("ta", job("a", 1), both) is None
    assert gate(store).enter("tb", job("b", 2), both) is not None
    assert held(store) == {LOCK: "a", "concurrency:t:0": "a"}


def test_what_is_unique_until_it_starts_is_let_go(store: SQLiteStore) -> None:
    unique = Unique("unique:t:1", "start", 60.0)
    store.put([], Effects(acquire=(("unique:t:1", "a", 60.0),)))
    assert gate(store).enter("ta", job("a", unique=unique), task()) is None
    assert held(store) == {}


def test_what_is_unique_until_it_is_done_is_kept(store: SQLiteStore) -> None:
    store.put([], Effects(acquire=(("unique:t:1", "a", 60.0),)))
    assert gate(store).enter("ta", job("a", unique=Unique("unique:t:1", "done", 60.0)), task()) is None
    assert held(store) == {"unique:t:1": "a"}


def test_one_that_must_wait_for_its_turn_lets_nobody_else_in_meanwhile(store: SQLiteStore) -> None:
    """It has not begun, so that an equal one which is enqueued now is still the same."""
    said = Unique("unique:t:1", "start", 60.0)
    store.put([], Effects(acquire=(("unique:t:1", "a", 60.0), (LOCK, "another", 60.0))))
    assert gate(store).enter("ta", job("a", unique=said), task(exclusive=True)) is not None
    assert held(store) == {"unique:t:1": "a", LOCK: "another"}


def test_where_the_store_can_not_be_asked_it_waits() -> None:
    class Away:
        def put(self, *args: Any, **options: Any) -> None:
            raise StoreUnavailable("gone", reason="refused")

    shut = gate(Away()).enter("ta", job("a"), task(exclusive=True))
    assert shut is not None
    assert shut.delay == AGAIN
    assert "gone" in shut.reason


def test_what_runs_is_kept_up_and_what_does_not_is_let_run_out(store: SQLiteStore) -> None:
    one, exclusive = gate(store), task(exclusive=60)
    for n in range(2):
        assert one.enter(f"t{n}", job(f"j{n}", n), exclusive) is None
    store.put([], Effects(acquire=(("workerslock:t:q:[0]", "j0", 5.0), ("workerslock:t:q:[1]", "j1", 5.0))))
    one.keep(lambda: {"t0"})
    left = {guard.holder: guard.left for guard in store.guards()}
    assert left["j0"] > 50
    assert left["j1"] < 6
    assert one.leave("t1") == NONE, "it was taken over: its lock is the next one's"
    assert one.leave("t0") == Effects(release=(("workerslock:t:q:[0]", "j0"),))


def test_what_another_has_taken_is_left_to_it(store: SQLiteStore) -> None:
    one = gate(store)
    assert one.enter("ta", job("a"), task(exclusive=60)) is None
    store.put([], Effects(release=((LOCK, "a"),)))
    store.put([], Effects(acquire=((LOCK, "b", 60.0),)))
    one.keep(lambda: {"ta"})
    assert held(store) == {LOCK: "b"}
    assert one.leave("ta") == NONE


def test_a_job_that_ends_while_its_lock_is_kept_up_leaves_none_behind(store: SQLiteStore) -> None:
    one = gate(store)
    assert one.enter("ta", job("a"), task(exclusive=60)) is None

    def ends() -> set[str]:
        store.put([], one.leave("ta"))
        return {"ta"}

    one.keep(ends)
    assert held(store) == {}


def test_one_that_is_put_back_before_it_began_asks_for_its_guard_again() -> None:
    """The step that was to let go of it may have been applied, though its answer was lost."""
    said = Unique("unique:t:1", "start", 60.0)
    assert renewing(job("a", unique=said), 101.0, 100.0, begun=False) == Effects(acquire=(("unique:t:1", "a", 61.0),))
    assert renewing(job("a", unique=said), 101.0, 100.0) == NONE
    done = Unique("unique:t:1", "done", 60.0)
    assert renewing(job("a", unique=done), 90.0, 100.0) == Effects(acquire=(("unique:t:1", "a", 60.0),))


def test_what_may_have_been_taken_before_the_answer_was_lost_is_given_back_with_the_job(store: SQLiteStore) -> None:
    class Cut:
        def put(self, *args: Any, **options: Any) -> None:
            store.put(*args, **options)
            raise StoreUnavailable("cut", reason="cut", maybe_applied=True)

    shut = gate(Cut())
    assert isinstance(shut.enter("token", job("a"), task(exclusive=True, concurrency=2)), Shut)
    assert len(held(store)) == 2
    store.put([], shut.leave("token"))
    assert held(store) == {}


def test_a_short_time_is_no_shorter_than_what_the_heartbeat_keeps_up(store: SQLiteStore) -> None:
    assert gate(store).enter("token", job("a"), task(exclusive=0.3)) is None
    [guard] = store.guards()
    assert guard.left > 80
