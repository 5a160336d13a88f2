"""A full Redis takes no job, loses none, and is still drained by its workers; one that is started then works too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from spoolq.cancelling import Canceller
from spoolq.errors import StoreFull
from spoolq.job import Claim
from spoolq.store.base import Store
from spoolq.store.effects import Countdown, Effects
from tests.contract.backends import PATIENT
from tests.contract.hands import SHORT, Hand, claimable, failure, ids, message, messages, worker
from tests.servers import Server
from tests.waiting import eventually


@pytest.fixture
def store(fresh_server: Server) -> Iterator[Store]:
    from spoolq.store.redis import RedisStore

    store = RedisStore(fresh_server.url, deadline=PATIENT)
    yield store
    store.close()


@pytest.mark.parametrize("effects", [Effects(), Effects(counters=(("seen", 1),))], ids=["one message", "with effects"])
def test_a_full_store_refuses_and_applies_nothing(store: Store, fresh_server: Server, effects: Effects) -> None:
    store.put(messages("before"))
    with fresh_server.full():
        for batch in (messages("a"), messages("b", "c")):
            with pytest.raises(StoreFull) as full:
                store.put(batch, effects)
            assert not full.value.maybe_applied
        with pytest.raises(StoreFull):
            store.ready(PATIENT)
    assert claimable(store) == ["before"]
    assert "seen" not in store.counters()
    assert store.put(messages("a", "b", "c")) == [True, True, True]


def test_markers_to_free_do_not_open_a_full_store(store: Store, fresh_server: Server) -> None:
    """Redis looks at its memory before a script's first write only: a removal in front would let everything in."""
    store.put(messages("a", "b"))
    store.put(messages("c"), hold=True)
    store.forget([("c", store.now() - 10.0)])
    with fresh_server.full():
        for _ in range(3):
            with pytest.raises(StoreFull):
                store.put(messages("d"))
            with pytest.raises(StoreFull):
                store.put(messages("e", "f"))
    assert claimable(store) == ["a", "b", "c"]


def test_workers_drain_a_full_store(store: Store, fresh_server: Server) -> None:
    names = [f"id{n}" for n in range(8)]
    store.put(messages(*names))
    with fresh_server.full():
        hand = Hand(store, "started-when-full")
        store.register(hand.info)
        assert not store.wait(hand.info, ["absent"], 0.05)
        acked, failed, retried, released = hand.claim(4)
        assert hand.holds() == 4
        store.ack([acked])
        store.fail(failed, failure(failed))
        store.retry(retried, message("id2", attempt=1).payload, 0.0)
        store.release([released])
        store.promote(10)
        rest = hand.claim(10)
        assert sorted(ids(rest)) == ["id2", "id3", "id4", "id5", "id6", "id7"]
        assert ids(hand.claim(1, ack=rest)) == []
        assert hand.holds() == 0
        assert [kept.id for kept in store.failures.page()] == ["id1"]
        store.unregister(hand.info)
    assert all((depth.ready, depth.scheduled, depth.claimed) == (0, 0, 0) for depth in store.depths())


def test_failures_are_retried_and_removed_on_a_full_store(store: Store, fresh_server: Server) -> None:
    store.put(messages("a", "b"))
    hand = Hand(store)
    for claim in hand.claim():
        store.fail(claim, failure(claim))
    with fresh_server.full():
        assert store.failures.retry(["a"]) == 1
        assert store.failures.remove(["b"]) == 1
        assert ids(hand.claim()) == ["a"]
    assert store.failures.count() == 0


def test_scheduled_jobs_come_due_on_a_full_store(store: Store, fresh_server: Server) -> None:
    store.put([message("soon", run_at=store.ready(PATIENT) + 0.1)])
    hand = Hand(store)

    def due() -> tuple[Claim, ...]:
        store.promote(10)
        return hand.claim()

    with fresh_server.full():
        assert ids(eventually(due)) == ["soon"]


def test_the_dead_are_rescued_on_a_full_store(store: Store, fresh_server: Server) -> None:
    store.put(messages("a", "b"))
    rescuer = worker("rescuer")
    with fresh_server.full():
        Hand(store, "silent", lease=SHORT).claim()
        taken: list[Claim] = []
        while len(taken) < 2:
            taken += eventually(lambda: store.rescue(rescuer, 10))
        store.ack(taken)
        assert store.heartbeat(rescuer) == 0


@pytest.mark.parametrize("verb", ["ack", "retry", "fail"])
def test_effects_of_settling_on_a_full_store_are_applied_or_refused_whole(store: Store, fresh_server: Server, verb: str) -> None:
    """A chain's next job needs room; whichever way the server decides, the claim isn't settled without it."""
    store.put(messages("a"))
    hand = Hand(store)
    [claim] = hand.claim()
    effects = Effects(put=(message("next"),), counters=(("done", 1),))
    calls: dict[str, Callable[[], None]] = {
        "ack": lambda: store.ack([claim], effects),
        "retry": lambda: store.retry(claim, message("a", attempt=1).payload, 0.0, effects),
        "fail": lambda: store.fail(claim, failure(claim), effects),
    }
    with fresh_server.full():
        try:
            calls[verb]()
            applied = True
        except StoreFull:
            applied = False
    store.promote(10)
    assert hand.holds() == (0 if applied else 1)
    assert ("next" in claimable(store)) is applied
    assert store.counters().get("done", 0) == int(applied)


def test_the_last_of_a_batch_on_a_full_store_puts_what_comes_then_or_is_not_settled(store: Store, fresh_server: Server) -> None:
    def done(id: str) -> Effects:
        return Effects(countdown=(Countdown("b", id, 2, message("then", "after", given=True), 60.0),))

    store.put(messages("a", "b"))
    hand = Hand(store)
    claims = hand.claim()
    store.ack(claims[:1], done("a"))
    with fresh_server.full():
        try:
            store.ack(claims[1:], done("b"))
            applied = True
        except StoreFull:
            applied = False
    assert (hand.holds(), claimable(store, "after")) == ((0, ["then"]) if applied else (1, []))
    if not applied:
        store.ack(claims[1:], done("b"))
    assert claimable(store, "after") == ["then"]


def test_locks_that_a_worker_needs_for_a_job_are_acquired_on_a_full_store(store: Store, fresh_server: Server) -> None:
    """Else the jobs of exclusive tasks would never run there, and never make room."""
    store.put(messages("a"), Effects(acquire=(("lock:t:q:[]", "a", 60.0),)))
    with fresh_server.full():
        store.put((), Effects(acquire=(("workerslock:t:q:[]", "a", 60.0),), release=(("lock:t:q:[]", "a"),)))
        assert [(guard.key, guard.holder) for guard in store.guards()] == [("workerslock:t:q:[]", "a")]
        with pytest.raises(StoreFull):
            store.put(messages("b"), Effects(acquire=(("lock:t:q:[]", "b", 60.0),)))
        assert len(store.guards()) == 1
        store.put((), Effects(release=(("workerslock:t:q:[]", "a"),)))
    assert store.guards() == []


def test_a_result_is_kept_on_a_full_store(store: Store, fresh_server: Server) -> None:
    store.put(messages("a"))
    hand = Hand(store)
    with fresh_server.full():
        store.ack(hand.claim(), Effects(values=(("job:a", b"{}", 60.0), ("queued:a", b"", 0.0))))
    assert store.value("job:a") == b"{}"
    assert hand.holds() == 0


def test_what_waits_can_be_cancelled_on_a_full_store(store: Store, fresh_server: Server) -> None:
    store.put([*messages("a", "b"), message("later", run_at=store.ready(PATIENT) + 3600.0)])
    canceller = Canceller(store, None)
    with fresh_server.full():
        assert canceller.cancel("a").outcome == "removed"
        assert canceller.cancel("later").outcome == "removed"
        assert canceller.cancel("never").outcome == "away"
    assert claimable(store) == ["b"]
    assert store.counters()["cancelled"] == 2
