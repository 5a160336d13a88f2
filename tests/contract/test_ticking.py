"""The ticker on every store: each tick one job, whoever enqueues it, and whatever happened before."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from spoolq import pauses, ticker, wire
from spoolq.errors import ConfigError, NotStored, StoreUnavailable
from spoolq.job import Job
from spoolq.periodic import LATE, Entry, Missed, timing
from spoolq.store.base import Spool, Store
from spoolq.ticker import Ticker
from tests.clock import Clock
from tests.contract.hands import claimable

MINUTE = 60.0
START = 1_800_000_030.0  # half past a minute


class Scene:
    """Some tickers, which share a store, and a clock."""

    def __init__(self, open_store: Callable[[], Store], spool: Spool) -> None:
        self.open_store, self.spool = open_store, spool
        self.clock = Clock(START)
        self.store = open_store()
        self.made: list[str] = []
        self.new: list[str] = []

    def entry(self, when: object = 60, missed: Missed = "latest", name: str = "e") -> Entry:
        return Entry(name, timing(when), lambda id: Job(id, "t", "q", given=True), missed)

    def submit(self, jobs: Sequence[Job]) -> None:
        """As an application does, without a way around an outage."""
        ids = [job.id for job in jobs]
        self.made += ids
        fresh = self.store.put([wire.message(job) for job in jobs], timeout=10.0)
        self.new += [id for id, new in zip(ids, fresh, strict=True) if new]

    def spooled(self, jobs: Sequence[Job]) -> None:
        self.made += [job.id for job in jobs]
        self.spool.spool([wire.message(job) for job in jobs])

    def ticker(self, *entries: Entry, store: Any = None, **more: Any) -> Ticker:
        more = {"submit": self.submit, **more}
        return Ticker(
            entries or (self.entry(),), store or self.leader(), now=self.clock, rng=random.Random(1), spool=self.spool, **more
        )

    def leader(self) -> Store:
        store = self.open_store()
        store.promote(1)
        return store

    def queued(self) -> list[float]:
        """The minutes since the first full one of the ticks whose jobs are in the queue, in its order."""
        return [self.minute(id) for id in claimable(self.store)]

    @staticmethod
    def minute(id: str) -> float:
        from spoolq import stamps

        return (stamps.epoch(id.partition("@")[2]) - (START + 30)) / MINUTE


class Shaky:
    """A store that is away when a test says so."""

    def __init__(self, store: Store) -> None:
        self.store, self.away = store, False

    def __getattr__(self, name: str) -> Any:
        if self.away and name != "now":
            raise StoreUnavailable("gone", reason="refused")
        return getattr(self.store, name)


@pytest.fixture
def scene(open_store: Callable[[], Store], spool: Spool) -> Scene:
    return Scene(open_store, spool)


def test_each_tick_is_enqueued_when_it_is_due_and_a_new_schedule_has_no_past(scene: Scene) -> None:
    one = scene.ticker()
    assert 0 < one.turn() <= 1.2
    assert scene.queued() == []
    scene.clock.later(29.5)
    assert one.turn() == pytest.approx(0.5)
    assert scene.queued() == []
    scene.clock.later(0.5)
    one.turn()
    one.turn()
    assert scene.queued() == [0]
    for _ in range(3):
        scene.clock.later(MINUTE)
        one.turn()
    assert scene.queued() == [0, 1, 2, 3]
    assert len(scene.made) == 4


def test_a_schedule_that_nothing_is_due_of_asks_the_store_for_nothing(scene: Scene) -> None:
    store = Shaky(scene.leader())
    one = scene.ticker(scene.entry("@yearly"), store=store)
    one.turn()
    store.away = True
    scene.clock.later(3600)
    one.turn()
    assert not one._away


def test_any_number_of_tickers_makes_each_tick_once(scene: Scene) -> None:
    many = [scene.ticker() for _ in range(4)]
    for _ in range(40):
        scene.clock.later(10)
        for one in many:
            one.turn()
    assert scene.queued() == list(range(7))
    assert len(scene.new) == 7


def test_who_does_not_lead_waits_a_few_seconds_and_then_does_it(scene: Scene) -> None:
    class Led(Shaky):
        def leads(self) -> bool:
            return False  # also in a file, where any may

    follower = scene.ticker(store=Led(scene.store))
    follower.turn()
    scene.clock.later(31)
    follower.turn()
    assert scene.queued() == [], "the leader's time"
    scene.clock.later(5)
    follower.turn()
    assert scene.queued() == [0], "one that is dead, or of an older version, or node's"
    leader = scene.ticker()
    leader.turn()
    scene.clock.later(54)
    leader.turn()
    assert scene.queued() == [0, 1]
    made = len(scene.made)
    scene.clock.later(6)
    follower.turn()
    assert len(scene.made) == made, "the note says that it was done"


def test_who_dies_between_enqueue_and_note_is_followed_without_a_second_job(scene: Scene) -> None:
    class Death(Exception):
        pass

    class Mortal(Shaky):
        def set_meta(self, *args: Any, **more: Any) -> bool:
            if self.away:
                raise Death
            return self.store.set_meta(*args, **more)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

    mortal = Mortal(scene.leader())
    one = scene.ticker(store=mortal)
    one.turn()
    scene.clock.later(31)
    mortal.away = True
    with pytest.raises(Death):
        one.turn()
    heir = scene.ticker()
    scene.clock.later(10)
    heir.turn()
    assert scene.queued() == [0]
    assert len(scene.made) == 2


@pytest.mark.parametrize(
    ("missed", "expected"), [("latest", [120]), ("all", [0, 30, 60, 90, 120]), ("skip", []), ("latest after a fresh one", [150])]
)
def test_ticks_that_nobody_enqueued_in_time_go_by_the_policy(scene: Scene, missed: str, expected: list[float]) -> None:
    policy, _, fresh = missed.partition(" after ")
    entry = scene.entry(1800, policy)  # type: ignore[arg-type]
    scene.ticker(entry).turn()
    base = next(iter(entry.when.after(START)))
    scene.clock.now = base + 2 * 3600 + (1800 + 10 if fresh else LATE + 1)
    scene.ticker(entry).turn()
    offset = (base - (START + 30)) / MINUTE
    assert [minute - offset for minute in scene.queued()] == expected


def test_a_clock_that_is_set_back_makes_nothing_twice_and_goes_on(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    one = scene.ticker()
    one.turn()
    scene.clock.later(7200)  # ahead for a while
    one.turn()
    ahead = scene.queued()
    assert ahead[-1] == 119
    scene.clock.later(-7170)
    one.turn()
    assert "a clock was wrong" in caplog.text
    assert 0 in scene.queued(), "the tick of then"
    for _ in range(3):
        scene.clock.later(MINUTE)
        one.turn()
    assert len(scene.new) == len(set(scene.new))
    assert {0, 1, 2, 3} <= set(scene.queued())


def test_a_clock_that_is_set_back_a_little_makes_nothing_twice(scene: Scene) -> None:
    one = scene.ticker()
    one.turn()
    for step in (150, -100, 50, 60, 30):
        scene.clock.later(step)
        one.turn()
    assert scene.queued() == [0, 1, 2]


def test_in_an_outage_every_host_spools_and_afterwards_each_tick_is_there_once(scene: Scene) -> None:
    store = Shaky(scene.leader())
    one = scene.ticker(store=store, submit=lambda jobs: (scene.spooled if store.away else scene.submit)(jobs))
    one.turn()
    scene.clock.later(31)
    one.turn()
    store.away = True
    for _ in range(9):
        scene.clock.later(MINUTE)
        assert one.turn() <= 1.2
    assert scene.spool.waiting() == 9
    store.away = False
    one.turn()  # the primary's note is nine minutes old
    drainer = Hand_over(scene.spool, scene.store)
    drainer()
    assert sorted(scene.queued()) == list(range(10))


@pytest.mark.parametrize("noticed", [True, False])
def test_a_primary_that_comes_back_empty_loses_no_tick_that_is_still_to_come(scene: Scene, noticed: bool) -> None:
    store = Shaky(scene.leader())
    one = scene.ticker(store=store)
    one.turn()
    scene.clock.later(31)
    one.turn()
    scene.clock.later(MINUTE)
    if noticed:
        store.away = True
        one._submit = lambda jobs: 1 / 0
        one.turn()
        one._submit, store.away = scene.submit, False
    assert scene.store.set_meta("periodic:e", None)
    one.turn()
    assert scene.queued() == [0, 1]


def test_a_pause_is_known_before_an_outage_also_where_nothing_was_due_since(scene: Scene) -> None:
    store = Shaky(scene.leader())
    one = scene.ticker(scene.entry(86_400), store=store, submit=scene.spooled)
    one.turn()
    assert pauses.pause(scene.store, "e", START)
    scene.clock.later(70)
    one.turn()
    store.away = True
    scene.clock.later(86_400)
    one.turn()
    assert scene.made == []


def test_a_host_that_wakes_in_an_outage_spools_nothing_that_others_may_have_enqueued_too_long_ago(scene: Scene) -> None:
    """Which the primary may have forgotten: it would be a job once more."""
    entry = scene.entry(3600, "all")
    store = Shaky(scene.leader())
    asleep = scene.ticker(entry, store=store, submit=scene.spooled)
    asleep.turn()
    store.away = True
    scene.clock.later(8 * 86_400)
    asleep.turn()
    assert len(scene.made) == 24
    store.away = False
    asleep.turn()
    assert len(set(scene.made)) == 8 * 24, "the primary's note is of when nobody ran"


def test_who_starts_in_an_outage_takes_the_ticks_of_the_last_five_minutes_and_knows_what_is_paused(scene: Scene) -> None:
    running, quiet = scene.entry(), scene.entry(name="quiet")
    store = Shaky(scene.leader())
    assert pauses.pause(scene.store, "quiet", START)
    scene.ticker(running, quiet, store=store).turn()
    store.away = True
    scene.clock.later(20 * MINUTE)
    after = scene.ticker(running, quiet, store=store, submit=scene.spooled)
    after.turn()
    assert [scene.minute(id) for id in scene.made] == [15, 16, 17, 18, 19]
    assert {id.partition("@")[0] for id in scene.made} == {"e"}
    scene.clock.later(MINUTE)
    after.turn()
    assert [scene.minute(id) for id in scene.made][5:] == [20]


def test_a_schedule_that_is_new_in_an_outage_has_no_past_either(scene: Scene) -> None:
    store = Shaky(scene.leader())
    store.away = True
    one = scene.ticker(store=store, submit=scene.spooled)
    one.turn()
    scene.clock.later(MINUTE)
    one.turn()
    assert [scene.minute(id) for id in scene.made] == [0]
    scene.clock.later(-20)
    scene.ticker(scene.entry(60, name="seen"), store=scene.store).turn()
    scene.clock.later(MINUTE)
    scene.ticker(scene.entry(60, name="seen"), store=store, submit=scene.spooled).turn()
    assert scene.made[1:] == [scene.entry(60, name="seen").id(int(START + 90))], "not before it was first seen"


def test_a_paused_schedule_lets_its_ticks_pass_and_none_is_made_up_for(scene: Scene) -> None:
    entry = scene.entry(missed="all")
    one = scene.ticker(entry)
    one.turn()
    assert ticker.last(scene.store, entry) is None, "seen, and nothing enqueued"
    assert pauses.pause(scene.store, "e", 5.0)
    assert not pauses.pause(scene.store, "e", 6.0)
    assert pauses.paused(scene.store) == {"e": 5.0}
    scene.clock.later(31 + 5 * MINUTE)
    one.turn()
    assert scene.queued() == []
    assert pauses.resume(scene.store, "e")
    assert not pauses.resume(scene.store, "e")
    assert scene.store.meta(pauses.PAUSED) is None
    scene.clock.later(MINUTE)
    one.turn()
    assert scene.queued() == [6]
    assert ticker.last(scene.store, entry) == START + 30 + 6 * MINUTE


def test_pauses_of_two_operators_at_once_are_both_kept(scene: Scene) -> None:
    class Overtaken(Shaky):
        def set_meta(self, *args: Any, **more: Any) -> bool:
            if not self.away:
                self.away = True
                assert pauses.pause(self.store, "other", 1.0)
            return self.store.set_meta(*args, **more)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.store, name)

    assert pauses.pause(Overtaken(scene.store), "mine", 2.0)  # type: ignore[arg-type]
    assert pauses.paused(scene.store) == {"other": 1.0, "mine": 2.0}


def test_what_somebody_else_wrote_there_stops_nothing(scene: Scene) -> None:
    scene.store.set_meta("periodic:e", "yesterday")
    for broken in ("[1]", "{", '{"e": null}', "5", '{"e": 1' + "0" * 400 + "}", "[" * 100_000 + "]" * 100_000):
        scene.store.set_meta(pauses.PAUSED, broken)
        assert pauses.paused(scene.store) == {}
    one = scene.ticker()
    one.turn()
    scene.clock.later(31)
    one.turn()
    assert scene.queued() == [0]
    assert pauses.pause(scene.store, "e", 1.0)
    assert pauses.paused(scene.store) == {"e": 1.0}


def test_one_that_can_not_be_enqueued_is_told_once_tried_again_and_keeps_nothing_from_the_others(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def submit(jobs: Sequence[Job]) -> None:
        if broken and jobs[0].id.startswith("bad"):
            raise NotStored("both are full", not_stored=[job.id for job in jobs])
        scene.submit(jobs)

    one = scene.ticker(scene.entry(name="bad"), scene.entry(name="good"), submit=submit)
    one.turn()
    for _ in range(3):
        scene.clock.later(31)
        one.turn()
    assert [id.partition("@")[0] for id in scene.new] == ["good", "good"]
    assert caplog.text.count("schedule bad: 1 tick(s) can't be enqueued: both are full") == 1
    broken = False
    one.turn()
    assert sorted(id.partition("@")[0] for id in scene.new) == ["bad", "bad", "good", "good"]


def test_without_a_reader_of_cron_a_worker_says_so_as_it_begins(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from spoolq import periodic

    monkeypatch.setitem(sys.modules, "cronsim", None)
    periodic._parsed.cache_clear()
    entry = scene.entry("17 3 * * *")
    with pytest.raises(ConfigError, match=r"pip install 'spoolq\[worker\]'"):
        scene.ticker(entry)


class Hand_over:  # noqa: N801
    """A drainer's work in three lines."""

    def __init__(self, spool: Spool, primary: Store) -> None:
        self.spool, self.primary = spool, primary

    def __call__(self) -> None:
        from tests.contract.hands import worker

        taken = self.spool.take(worker("d", kind="drainer"), 100, 1 << 20, self.primary.ready(5.0) + 60)
        self.primary.put([one.message for one in taken], hold=True, timeout=10.0)
        self.spool.handed_over(taken)
