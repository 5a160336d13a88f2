"""A job is called back by its id, wherever it is; what is reported as removed doesn't run, and every put of it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spoolq import chains, tracking, wire
from spoolq.breaker import Breaker
from spoolq.cancelling import Cancellation, Canceller
from spoolq.drain import Drainer
from spoolq.errors import StoreFull, StoreUnavailable
from spoolq.job import Job, Member, Message
from spoolq.store.base import CANCELS, Spool, Store
from spoolq.store.sqlite import SQLiteStore
from tests.contract.hands import Hand, claimable, message, messages, worker


def tracked(id: str, **more: Any) -> Message:
    return wire.message(Job(id, "t", "q", (), track=60.0, **more))


def state(store: Store, id: str) -> str:
    return tracking.read(store.values(tracking.keys(id)))


def cancel(store: Store, id: str, spool: Spool | None = None) -> Cancellation:
    """With no patience for a drainer: nobody else moves on while this waits."""
    ticks = iter(range(1000))
    return Canceller(store, spool, monotonic=lambda: float(next(ticks)), sleep=lambda seconds: None).cancel(id)


def drainer(spool: Spool, store: Store) -> Drainer:
    return Drainer(spool, store, Breaker(), worker("drainer", kind="drainer"), timeout=20.0)


def test_a_job_that_waits_is_removed_and_counted(store: Store) -> None:
    store.put([tracked("a"), message("b")])
    assert cancel(store, "a").outcome == "removed"
    assert claimable(store) == ["b"]
    assert store.counters()["cancelled"] == 1
    assert state(store, "a") == "cancelled"


def test_a_job_for_later_is_removed(store: Store) -> None:
    store.put([tracked("a", run_at=store.ready(5.0) + 3600)])
    assert cancel(store, "a")
    assert sum(depth.scheduled for depth in store.depths()) == 0
    assert state(store, "a") == "cancelled"


def test_a_job_in_a_workers_hands_is_asked_to_stop(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    hand.claim()
    assert cancel(store, "a").outcome == "asked"
    assert store.value(tracking.cancel_key("a")) is not None
    assert "cancelled" not in store.counters()
    assert hand.holds() == 1


def test_a_job_that_is_done_or_never_was_is_told(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    store.ack(hand.claim())
    assert cancel(store, "a").outcome == "late"
    assert not cancel(store, "never")
    assert "cancelled" not in store.counters()


def test_one_that_is_on_its_way_is_not_queued_any_more(store: Store) -> None:
    assert cancel(store, "a").outcome == "late"
    assert store.put([message("a", given=True)]) == [False]
    assert claimable(store) == []


def test_the_last_of_a_batch_that_is_cancelled_calls_its_callback(store: Store) -> None:
    then = Job("then", "t", "q", ())
    store.put([wire.message(Job("a", "t", "q", (), batch=Member("b1", 1, "complete", then)))])
    assert cancel(store, "a")
    assert claimable(store) == ["then"]


# from a spool


def test_a_row_that_is_surely_not_in_the_primary_is_removed_without_asking_it(spool: Spool) -> None:
    spool.spool([tracked("a")])
    assert cancel(Away(), "a", spool).outcome == "removed"
    assert spool.waiting() == 0
    assert spool.counters()["cancelled"] == 1
    assert state(spool, "a") == "cancelled"


def test_a_row_in_doubt_that_was_never_applied_is_removed_for_good(spool: Spool, store: Store) -> None:
    spool.spool(messages("a"), not_after=spool.now() + 60)
    assert cancel(store, "a", spool).outcome == "removed"
    assert spool.waiting() == 0
    assert store.put(messages("a"), hold=True) == [False], "the attempt that was on its way"
    assert claimable(store) == []


def test_a_row_in_doubt_that_was_applied_is_removed_in_both_places(spool: Spool, store: Store) -> None:
    store.put([tracked("a")], hold=True)
    spool.spool([tracked("a")], not_after=spool.now() + 60)
    assert cancel(store, "a", spool).outcome == "removed"
    assert (spool.waiting(), claimable(store)) == (0, [])
    assert store.counters()["cancelled"] == 1
    assert "cancelled" not in spool.counters()


def test_a_rerun_in_doubt_that_was_applied_is_removed_in_both_places(spool: Spool, store: Store) -> None:
    store.put([tracked("a", run=1)], hold=True)
    spool.spool([tracked("a", run=1)], not_after=spool.now() + 60)
    assert cancel(store, "a", spool).outcome == "removed"
    assert (spool.waiting(), claimable(store)) == (0, [])


def test_a_rerun_on_its_way_is_refused_when_its_row_is_called_back(spool: Spool, store: Store) -> None:
    spool.spool([tracked("a", run=1)], not_after=spool.now() + 60)
    cancel(Away(), "a", spool)
    assert drainer(spool, store).run_once(wait=lambda seconds: None).cancelled == 1
    assert store.put([tracked("a", run=1)], hold=True) == [False]
    assert claimable(store) == []


def test_a_row_in_doubt_that_was_applied_and_has_run_is_too_late(spool: Spool, store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    spool.spool(messages("a"), not_after=spool.now() + 60)
    store.ack(hand.claim())
    assert cancel(store, "a", spool).outcome == "late"
    assert spool.waiting() == 0


def test_a_row_in_doubt_is_called_back_at_the_hand_over_where_the_primary_is_away(spool: Spool, store: Store) -> None:
    spool.spool([*messages("b"), tracked("a")], not_after=spool.now() + 60)
    asked = cancel(Away(), "a", spool)
    assert (asked.outcome, spool.waiting()) == ("asked", 2)
    done = drainer(spool, store).run_once(wait=lambda seconds: None)
    assert (done.cancelled, done.moved, done.left) == (1, 1, 0)
    assert claimable(store) == ["b"]
    assert store.counters()["cancelled"] == 1
    assert state(store, "a") == "cancelled"


def test_a_member_that_is_called_back_is_counted_though_the_primary_goes_away_in_between(spool: Spool, store: Store) -> None:
    members = [Job(id, "t", "q", (), batch=Member("b1", 2, "complete", Job("then", "t", "q", ()))) for id in ("a", "b")]
    store.put([wire.message(members[1])])
    spool.spool([wire.message(members[0])], not_after=spool.now() + 60)
    cancel(Away(), "a", spool)
    flaky: Any = Flaky(store)
    one = drainer(spool, flaky)
    one.turn()
    assert spool.waiting() == 1, "it was refused, and then nobody answered"
    assert one.run_once(wait=lambda seconds: None).cancelled == 1
    store.ack(Hand(store, "w").claim(), chains.following(members[1], "done", store.now()))
    assert claimable(store) == ["then"]
    assert store.counters()["cancelled"] == 1


def test_a_member_in_doubt_that_is_called_back_twice_is_counted_once(spool: Spool, store: Store) -> None:
    job = Job("a", "t", "q", (), batch=Member("b1", 1, "complete", Job("then", "t", "q", ())))
    spool.spool([wire.message(job)], not_after=spool.now() + 60)
    flaky: Any = Flaky(spool)
    assert Canceller(store, flaky).cancel("a").outcome == "away"
    assert spool.waiting() == 1, "it was refused, and not removed"
    assert Canceller(store, spool).cancel("a").outcome == "late"
    assert (spool.waiting(), claimable(store)) == (0, ["then"])
    assert store.counters()["cancelled"] == 1


def test_a_row_in_doubt_that_runs_already_is_asked_to_stop_at_the_hand_over(spool: Spool, store: Store, hand: Hand) -> None:
    store.put(messages("a"), hold=True)
    spool.spool(messages("a"), not_after=spool.now() + 60)
    cancel(Away(), "a", spool)
    hand.claim()
    done = drainer(spool, store).run_once(wait=lambda seconds: None)
    assert (done.cancelled, done.left) == (1, 0)
    assert store.value(tracking.cancel_key("a")) is not None


def test_a_row_in_a_drainers_hands_is_called_back_when_that_is_dead(spool: Spool, store: Store) -> None:
    spool.spool(messages("a"))
    dead = worker("dead", kind="drainer")
    spool.take(dead, 10, 1 << 20, spool.now() + 5)
    assert cancel(store, "a", spool).outcome == "asked"
    spool.unregister(dead)
    assert drainer(spool, store).run_once(wait=lambda seconds: None).cancelled == 1
    assert claimable(store) == []


def test_a_row_that_a_drainer_hands_over_meanwhile_is_removed_from_the_primary(spool: Spool, store: Store) -> None:
    spool.spool(messages("a"))
    handoffs = spool.take(worker("d", kind="drainer"), 10, 1 << 20, spool.now() + 60)

    def hand_over(seconds: float) -> None:
        store.put([handoff.message for handoff in handoffs], hold=True)
        spool.handed_over(handoffs)

    assert Canceller(store, spool, sleep=hand_over).cancel("a").outcome == "removed"
    assert claimable(store) == []


def test_a_job_that_runs_on_this_host_is_asked_to_stop(spool: Spool, store: Store) -> None:
    spool.spool(messages("a"))
    Hand(spool, "local").claim()
    assert cancel(store, "a", spool).outcome == "asked"
    assert spool.value(tracking.cancel_key("a")) is not None


def test_a_job_of_this_host_that_goes_back_to_its_queue_is_called_back_at_the_hand_over(spool: Spool, store: Store) -> None:
    """Its worker was killed, say, or ended before it began it."""
    spool.spool([tracked("a")])
    claims = Hand(spool, "local").claim()
    assert cancel(store, "a", spool).outcome == "asked"
    spool.release(claims)
    assert drainer(spool, store).run_once(wait=lambda seconds: None).cancelled == 1
    assert claimable(store) == []
    assert state(store, "a") == "cancelled"


def test_words_for_drainers_end_with_their_time(tmp_path: Path, store: Store) -> None:
    now = [1_800_000_000.0]
    spool = SQLiteStore(tmp_path / "timed.db", role="spool", clock=lambda: now[0], timeout=20.0)
    spool.set_meta(CANCELS, str(now[0] - 1))
    spool.spool(messages("a"))
    one = Drainer(spool, store, Breaker(), worker("d", kind="drainer"), timeout=20.0, wall=lambda: now[0])
    assert one.run_once(wait=lambda seconds: None).left == 0
    assert spool.meta(CANCELS) is None
    assert claimable(store) == ["a"]
    spool.close()


def test_a_time_that_no_store_can_count_keeps_no_job_from_its_end(store: Store, hand: Hand) -> None:
    job = Job("a", "t", "q", (), track=1e300)
    store.put([wire.message(job)])
    store.ack(hand.claim(), tracking.done(job, None, store.now()))
    assert state(store, "a") == "done"


def test_a_job_that_goes_back_to_its_queue_when_that_has_been_searched_is_removed(
    store: Store, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(messages("a"))
    [claim] = hand.claim()
    searches = type(store.waiting_jobs)
    search, searched = searches.find, list[str]()

    def find(jobs: Any, id: str) -> Any:
        found = search(jobs, id)
        if not searched:
            store.retry(claim, claim.payload, 0.0)
        searched.append(id)
        return found

    monkeypatch.setattr(searches, "find", find)
    assert cancel(store, "a").outcome == "removed"
    assert claimable(store) == []


class Away(SQLiteStore):
    """A primary that doesn't answer."""

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise StoreUnavailable("it is gone", reason="refused")

    def put(self, *given: Any, **options: Any) -> list[bool]:
        raise StoreUnavailable("it is gone", reason="refused")


class Flaky:
    """A store that goes away for a moment once an id was refused, or before the first removal."""

    def __init__(self, store: Any) -> None:
        self._store, self._jobs, self._away = store, store.waiting_jobs, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def waiting_jobs(self) -> Any:
        return self

    def find(self, id: str) -> Any:
        return self._jobs.find(id)

    def refuse(self, *given: Any) -> bool:
        return bool(self._jobs.refuse(*given))

    def held(self, id: str) -> bool:
        return bool(self._gone() or self._jobs.held(id))

    def remove(self, *given: Any) -> bool:
        return bool(self._gone() or self._jobs.remove(*given))

    def _gone(self) -> None:
        if self._away:
            self._away = False
            raise StoreUnavailable("the connection broke", reason="cut")


class Full:
    """A store that takes nothing more, and lets go of what it has."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, *given: Any, **options: Any) -> list[bool]:
        raise StoreFull("it is full")


def test_a_full_primary_lets_go_of_what_waits(store: Store, hand: Hand) -> None:
    full: Any = Full(store)
    store.put(messages("a", "b"))
    assert cancel(full, "a").outcome == "removed"
    hand.claim()
    assert cancel(full, "b").outcome == "away", "there is no room for the word"


def test_a_spool_that_is_away_is_told_where_the_primary_knows_nothing(store: Store) -> None:
    store.put(messages("a"))
    assert cancel(store, "a", Away()).outcome == "removed"
    told = cancel(store, "b", Away())
    assert (told.outcome, "the spool: it is gone" in told.detail) == ("away", True)


def test_what_was_set_aside_is_too_late(spool: Spool, store: Store) -> None:
    spool.spool(messages("a"))
    [handoff] = spool.take(worker("d", kind="drainer"), 10, 1 << 20, spool.now() + 60)
    spool.quarantine(handoff, "a test")
    told = cancel(store, "a", spool)
    assert (told.outcome, "quarantine" in told.detail) == ("late", True)


def test_a_primary_that_is_away_is_told(spool: Spool) -> None:
    told = cancel(Away(), "a", spool)
    assert (told.outcome, bool(told)) == ("away", False)
    assert "it is gone" in told.detail


@pytest.mark.parametrize("outcome", ["removed", "asked"])
def test_a_cancellation_is_true_where_something_was_done(outcome: Any) -> None:
    assert Cancellation("a", outcome)
