"""Countdowns in a spool: its own local workers may end some members of a batch, and those of the primary the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from spoolq.job import Claim, Handoff
from spoolq.store.base import Spool, Store
from spoolq.store.effects import Countdown, Effects, decode
from tests.contract.hands import LONG, Hand, claimable, id_of, ids, message, worker

DRAINER = worker("drainer", kind="drainer")


def member(id: str, size: int) -> Effects:
    return Effects(countdown=(Countdown("b1", id, size, message("then", "after", given=True), LONG),))


def end_here(spool: Spool, claims: Sequence[Claim], size: int) -> None:
    for claim in claims:
        spool.ack([claim], member(id_of(claim), size))


def hand_over(spool: Spool, primary: Store, limit: int = 100) -> list[Handoff]:
    """As a drainer does. Returns what was no job."""
    not_after = primary.now() + 5.0
    taken = spool.take(DRAINER, limit, 1 << 20, not_after)
    relayed = [one for one in taken if one.message.queue == "spoolq:relay"]
    effects = Effects()
    for one in relayed:
        effects |= decode(one.message.payload)
    primary.put([one.message for one in taken if one not in relayed], effects, not_after=not_after, hold=True)
    spool.handed_over(taken)
    return relayed


@pytest.fixture
def local(spool: Spool) -> Hand:
    """A worker of this host, that runs the spool's own jobs."""
    return Hand(spool, "local")


def test_a_batch_that_ends_here_goes_on_here(spool: Spool, local: Hand) -> None:
    spool.spool([message(id) for id in ("m1", "m2", "m3")])
    end_here(spool, local.claim(2), 3)
    assert claimable(spool, "after") == []
    assert spool.waiting() == 3  # one member, and that two have ended
    assert (spool.info().rows, spool.info(1).rows) == (1, 1)  # of which only the member is a job
    assert [depth.queue for depth in spool.depths()] == ["q"]
    end_here(spool, local.claim(), 3)
    assert claimable(spool, "after") == ["then"]
    assert spool.waiting() == 1  # nobody else is to be told


def test_those_that_end_here_are_counted_in_the_primary_with_the_others(spool: Spool, local: Hand, store: Store) -> None:
    spool.spool([message(id) for id in ("m1", "m2", "m3")])
    end_here(spool, local.claim(1), 3)
    assert len(hand_over(spool, store)) == 1
    assert spool.waiting() == 0
    claims = Hand(store, "w").claim()
    assert ids(claims) == ["m2", "m3"]
    end_here(store, claims[:1], 3)  # type: ignore[arg-type]  # a store as well
    assert claimable(store, "after") == []
    end_here(store, claims[1:], 3)  # type: ignore[arg-type]
    assert claimable(store, "after") == ["then"]
    assert claimable(spool, "after") == []


def test_the_last_one_may_be_one_that_ended_here(spool: Spool, local: Hand, store: Store) -> None:
    store.put([], member("m1", 2))
    spool.spool([message("m2")])
    end_here(spool, local.claim(), 2)
    assert claimable(spool, "after") == claimable(store, "after") == []
    hand_over(spool, store)
    assert claimable(store, "after") == ["then"]


def test_told_twice_it_counts_once(spool: Spool, local: Hand, store: Store) -> None:
    """A drainer died between its two steps."""
    spool.spool([message("m1")])
    end_here(spool, local.claim(), 2)
    [handoff] = spool.take(DRAINER, 10, 1 << 20, store.now() + 5.0)
    store.put([], decode(handoff.message.payload))
    spool.give_back([handoff], applied="maybe")
    hand_over(spool, store)
    assert spool.waiting() == 0
    assert claimable(store, "after") == []
    store.put([], member("m2", 2))
    assert claimable(store, "after") == ["then"]


@pytest.mark.parametrize("how", ["told", "perhaps told", "held by a drainer", "surely not told"])
def test_where_the_primary_may_have_been_told_of_one_the_callback_is_its_own(
    spool: Spool, local: Hand, store: Store, how: str
) -> None:
    """Or it could put a second one when a member that failed is run again there."""
    spool.spool([message("m1")])
    end_here(spool, local.claim(), 3)
    held: list[Handoff] = []
    if how == "told":
        hand_over(spool, store)
    else:
        held = spool.take(DRAINER, 10, 1 << 20, store.now() + 5.0)
    if how.endswith("told"):
        spool.give_back(held, applied="maybe" if how.startswith("perhaps") else "no")
    spool.spool([message(id) for id in ("m2", "m3")])
    end_here(spool, local.claim(), 3)
    own = how == "surely not told"
    assert claimable(spool, "after") == ["then"] * own
    spool.give_back(held if how.startswith("held") else [], applied="no")
    hand_over(spool, store)
    assert claimable(store, "after") == ["then"]
    store.put([], member("m1", 3))  # it runs again
    store.put([], member("m3", 3))
    assert claimable(store, "after") == ["then"]
    assert spool.waiting() == 0


def test_no_worker_takes_what_is_told_to_the_primary(spool: Spool, local: Hand) -> None:
    spool.spool([message("m1")])
    end_here(spool, local.claim(), 2)
    assert spool.queues() == []
    assert spool.depths() == []
    assert spool.waiting() == 1


def test_a_file_that_is_no_spool_tells_nobody(spool: Spool, store: Store) -> None:
    store.put([], member("m1", 2))
    assert store.queues() == []
    assert claimable(store, "spoolq:relay") == []


def test_in_a_spool_that_keeps_order_nobody_waits_behind_what_is_told(tmp_path: Path, store: Store) -> None:
    from spoolq.store.sqlite import SQLiteStore

    with closing(SQLiteStore(tmp_path / "ordered.db", role="spool", ordered=True, timeout=20.0)) as spool:
        local = Hand(spool, "local")
        spool.spool([message(id) for id in ("m1", "m2", "m3", "m4")])
        for _ in range(2):
            end_here(spool, local.claim(), 4)
        assert not spool.holds(["after"])
        hand_over(spool, store)
        assert spool.waiting() == 0
        end_here(store, Hand(store, "w").claim(), 4)  # type: ignore[arg-type]  # a store as well
        assert claimable(store, "after") == ["then"]


def test_of_many_who_end_the_last_ones_at_once_one_is_the_last(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(4)]
    stores[0].put([message(f"m{n}") for n in range(40)])
    hands = [Hand(one, f"w{n}") for n, one in enumerate(stores)]
    claims = [hand.claim(10) for hand in hands]
    ready = threading.Barrier(len(hands))

    def end(store: Store, mine: Sequence[Claim]) -> None:
        ready.wait(30)
        for claim in mine:
            store.ack([claim], member(id_of(claim), 40))

    with ThreadPoolExecutor() as threads:
        for ended in [threads.submit(end, hand.store, mine) for hand, mine in zip(hands, claims, strict=True)]:
            ended.result(60)
    assert claimable(stores[0], "after") == ["then"]
