"""What is counted with each verb, in the very step, so that for each queue what came is what went and what is there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

import pytest

from spoolq.accounting import accounts
from spoolq.errors import GuardHeld, LeaseLost
from spoolq.job import Message
from spoolq.store.base import Spool, Store
from spoolq.store.effects import Countdown, Effects
from spoolq.store.tally import KEPT, PLACES, WORDS, Ledger, Sample, Tally, read, sampled, write
from spoolq.store.waiting import Move
from tests.contract.hands import Hand, failure, message, messages, worker


def counts(store: Store, queue: str = "q") -> Mapping[str, int]:
    """What is counted of the queue. Whatever it is, it balances."""
    queues = store.tally().queues
    assert {name: one.left for name, one in queues.items()} == dict.fromkeys(queues, 0)
    return {word: n for word, n in queues[queue].counts.items() if n} if queue in queues else {}


def test_nothing_is_nothing(store: Store) -> None:
    assert store.tally().queues == {}


def test_a_put_counts_what_is_new_by_queue(store: Store) -> None:
    store.put([message("a")])
    store.put([*messages("b", "c"), message("d", "r")])
    store.put([message("e", run_at=time.time() + 60)])
    assert (counts(store), counts(store, "r")) == ({"put": 4}, {"put": 1})
    one = store.tally().queues["q"]
    assert (one.ready, one.scheduled, one.claimed) == (3, 1, 0)


def test_an_id_that_is_there_is_not_counted_again(store: Store) -> None:
    """So neither is the second attempt of a put whose answer was lost."""
    for _ in range(3):
        store.put([message("a", given=True)])
        store.put([message("b", given=True), message("c", given=True)])
    assert counts(store) == {"put": 3}


def test_what_a_drainer_puts_is_told_apart(store: Store) -> None:
    store.put([message("a"), message("b", run_at=time.time() + 60)], hold=True)
    store.put([message("a")], hold=True)
    assert counts(store) == {"drained": 2}


def test_effects_and_countdowns_put(store: Store) -> None:
    store.put([message("a")], Effects(put=(message("b", "r"),)))
    for member in "xyx":
        store.put([], Effects(countdown=(Countdown("k", member, 2, message("then", "s"), 60.0),)))
    assert [counts(store, queue) for queue in "qrs"] == [{"put": 1}] * 3


def test_a_put_that_is_refused_counts_nothing(store: Store) -> None:
    store.put([], Effects(acquire=(("lock", "x", 60.0),)))
    with pytest.raises(GuardHeld):
        store.put([message("a")], Effects(acquire=(("lock", "y", 60.0),)))
    assert counts(store) == {}


@pytest.mark.parametrize("by", ["claim", "ack"])
@pytest.mark.parametrize(
    ("counter", "word"),
    [
        ("processed", "done"),
        ("expired", "expired"),
        ("discarded", "discarded"),
        ("cancelled", "cancelled"),
        ("unique", "discarded"),
    ],
)
def test_what_ends_is_counted_as_its_counter_says(store: Store, hand: Hand, by: str, counter: str, word: str) -> None:
    store.put(messages("a", "b", "c"))
    claims, effects = hand.claim(2), Effects(counters=((counter, 2), ("more", 1)))
    assert counts(store) == {"put": 3}
    if by == "ack":
        store.ack(claims, effects)
        with pytest.raises(LeaseLost):
            store.ack(claims, effects)
        with pytest.raises(LeaseLost):
            store.ack([*hand.claim(1), claims[0]], effects)
    else:
        for _ in range(2):
            store.claim(hand.info, hand.call + 1, ["q"], 0, ack=claims, effects=effects)
        store.claim(hand.info, hand.call + 2, ["q"], 1, ack=claims)
        hand.call += 2
        [claim] = hand.store.reconcile(hand.info, hand.call)
        store.ack([claim, claim][:1], effects)
    assert counts(store) == {"put": 3, word: 3}


def test_a_token_that_is_named_twice_is_one_job(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    [claim] = hand.claim(1)
    with suppress(LeaseLost):
        store.ack([claim, claim])
    assert counts(store) == {"put": 1, "done": 1}


def test_failures_and_their_way_back(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    for claim in hand.claim(2):
        store.fail(claim, failure(claim))
    assert counts(store) == {"put": 2, "failed": 2}
    assert store.failures.retry(["a", "a"]) == 1
    assert store.failures.remove(["b"]) == 1
    assert counts(store) == {"put": 2, "failed": 2, "retried": 1}
    store.ack(hand.claim(1))
    assert counts(store) == {"put": 2, "failed": 2, "retried": 1, "done": 1}


def test_what_goes_back_has_neither_come_nor_gone(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b", "c"))
    one, two, three = hand.claim(3)
    store.release([one])
    store.retry(two, two.payload, 0.0)
    store.retry(three, three.payload, time.time() + 60)
    store.promote(10)
    assert counts(store) == {"put": 3}
    hand.claim(1)
    store.unregister(hand.info)
    other = Hand(store, "w2")
    assert len(store.rescue(other.info, 10)) == 1
    assert counts(store) == {"put": 3}


def test_purging_counts_what_was_ready(store: Store, hand: Hand) -> None:
    store.put([*messages("a", "b", "c"), message("d", run_at=time.time() + 60)])
    hand.claim(1)
    store.purge("q")
    assert counts(store) == {"put": 4, "purged": 2}


@pytest.mark.parametrize("later", [0.0, 60.0])
def test_one_that_is_taken_away_goes_as_its_counter_says(store: Store, later: float) -> None:
    store.put([message(id, run_at=later and time.time() + later) for id in "ab"])
    for id, effects in (("a", Effects(counters=(("cancelled", 1),))), ("b", Effects())):
        [job] = store.waiting_jobs.find(id)
        assert store.waiting_jobs.remove(job, effects)
        assert not store.waiting_jobs.remove(job, effects)
    assert counts(store) == {"put": 2, "cancelled": 1, "purged": 1}


@pytest.mark.parametrize("later", [0.0, 60.0])
def test_moving_takes_from_one_queue_to_another(store: Store, later: float) -> None:
    store.put([message(id, run_at=later and time.time() + later) for id in "ab"])
    [a], [b] = store.waiting_jobs.find("a"), store.waiting_jobs.find("b")
    moves = [Move(a, "r", message("a", "r").payload), Move(b, "q", b.payload, front=True), Move(a, "r", a.payload)]
    assert store.waiting_jobs.move(moves) == [True, True, False]
    assert (counts(store), counts(store, "r")) == ({"put": 2, "moved": 1}, {"moved_in": 1})
    total = accounts(store.tally()).total
    assert (dict(total.came), dict(total.went), total.missing, total.balances) == ({"put": 2}, {}, 0, True)


def test_the_history_has_one_sample_a_minute_and_an_hour(store: Store) -> None:
    assert store.history("minute", 0.0) == []
    store.put(messages("a", "b"))
    first = store.sample()
    assert first is not None
    assert first.birth == store.tally().birth != ""
    store.put(messages("c"))
    for span in KEPT:
        assert [one.rows for one in store.history(span, 0.0)] == [{"*": {"put": 2, "ready": 2}, "q": {"put": 2, "ready": 2}}]
        assert store.history(span, time.time() + 7200) == []


def test_a_sample_is_a_few_hundred_bytes_and_comes_back_as_it_was() -> None:
    every = Sample(1.0, {"q": dict.fromkeys((*WORDS, *PLACES), 1)})
    assert read(write(every)) == every
    rows = {
        name: {"put": 10**9, "done": 10**9, "failed": 10**6, "retried": 10**5, "ready": 10**6, "claimed": 100} for name in "*abcd"
    }
    sample = Sample(1.8e9, rows)
    assert read(write(sample)) == sample
    ledger = Ledger(
        {name: Tally(name, {"put": 10**6, "done": 10**6, "failed": 10**5}, ready=10**5, claimed=100) for name in "abcdefg"}
    )
    assert sum(len(write(sampled(ledger, 1.8e9, span))) * kept for span, kept in KEPT.items()) < 1 << 20
    assert [len(sampled(ledger, 1.8e9, span).rows) for span in KEPT] == [5, 3]
    assert [read(text) for text in ("", "[]", "[1,[[2]]]", '[1,[["q",[99,1]]]]', "null")] == [None] * 5


# a spool


def spooled(spool: Spool, *ids: str, **options: float) -> None:
    spool.spool(messages(*ids), **options)


def test_a_spools_rows_are_in_doubt_once(spool: Spool) -> None:
    spooled(spool, "a", "b")
    spooled(spool, "c", not_after=time.time())
    spooled(spool, "a", not_after=time.time())
    one = spool.tally().queues["q"]
    assert (counts(spool), one.ready, one.in_doubt) == ({"put": 3}, 1, 2)
    assert len(spool.take(worker("d", kind="drainer"), 10, 1 << 20, time.time())) == 3
    one = spool.tally().queues["q"]
    assert (counts(spool), one.claimed, one.in_doubt) == ({"put": 3}, 0, 3)


def test_handing_over_and_duplicates(spool: Spool) -> None:
    spooled(spool, "a", "b", "c", "d")
    a, b, c, d = spool.take(worker("d", kind="drainer"), 10, 1 << 20, time.time())
    spool.handed_over([a, b], known={b.claim.token})
    with pytest.raises(LeaseLost):
        spool.handed_over([a])
    spool.give_back([c], applied="maybe")
    spool.quarantine(d, "why")
    one = spool.tally().queues["q"]
    assert (counts(spool), one.in_doubt, one.quarantined) == ({"put": 4, "handed_over": 1, "duplicate": 1}, 1, 1)


def test_kept_rows_are_the_primarys(spool: Spool) -> None:
    spool.spool([message(id)._replace(keep=0.001) for id in "abc"])
    handoffs = spool.take(worker("d", kind="drainer"), 10, 1 << 20, time.time())
    spool.keep(handoffs, spool.life(1.0), known={handoffs[2].claim.token})
    assert counts(spool) == {"put": 3, "handed_over": 2, "duplicate": 1}
    [watch] = spool.watches()
    one, two, three = spool.kept(watch, 10)
    spool.let_go(watch, [three])
    spool.send_again(watch, [one, two, three])
    assert counts(spool) == {"put": 3, "handed_over": 2, "duplicate": 1, "again": 2}
    assert spool.tally().queues["q"].in_doubt == 2


def test_what_is_exported_and_imported_and_dropped(spool: Spool) -> None:
    spooled(spool, "a", "b")
    page = spool.upkeep.page("job")
    assert counts(spool) == {"put": 2}
    spool.upkeep.remove("job", [key for key, _ in page])
    assert counts(spool) == {"put": 2, "exported": 2}
    spool.upkeep.add([one for _, one in page])
    spool.upkeep.add([one for _, one in page])
    assert counts(spool) == {"put": 2, "exported": 2, "imported": 2}
    for handoff in spool.take(worker("d", kind="drainer"), 10, 1 << 20, time.time()):
        spool.quarantine(handoff, "why")
    spool.upkeep.release(["a"])
    assert spool.upkeep.drop(["a", "b"]) == 1
    assert counts(spool) == {"put": 2, "exported": 2, "imported": 2, "purged": 1}


def test_rows_that_are_no_jobs_are_not_counted(spool: Spool) -> None:
    spooled(spool, "a")
    spool.put([], Effects(countdown=(Countdown("k", "x", 2, message("then"), 60.0),)))
    assert set(spool.tally().queues) == {"q"}
    spool.handed_over(spool.take(worker("d", kind="drainer"), 10, 1 << 20, time.time()))
    assert counts(spool) == {"put": 1, "handed_over": 1}


def test_where_rows_are_not_all_counted_what_is_there_is_what_came_and_did_not_go(spool: Spool) -> None:
    spool.spool([message(f"{queue}{n}", queue) for queue in ("q", "r") for n in range(5)])
    spool.ack(Hand(spool, "local", queues=("q",)).claim(3)[:1])
    for most, counted in ((0, set()), (3, set()), (8, {"q"}), (9, {"q", "r"}), (None, {"q", "r"})):
        found = spool.tally(most)
        assert {name: one.there for name, one in found.queues.items()} == {"q": 4, "r": 5}, most
        assert {name for name, one in found.queues.items() if one.counted} == counted, most
        assert accounts(found).total.counted == (len(counted) == 2)


# the control, and what others do


def test_a_job_that_is_lost_behind_the_back_is_missing(backend: object, store: Store) -> None:
    """And only that is."""
    store.put(messages("a", "b", "c"))
    if not hasattr(store, "_names"):
        import sqlite3

        with sqlite3.connect(store.path) as raw:  # type: ignore[attr-defined]
            raw.execute("DELETE FROM jobs WHERE id = 'b'")
    else:
        store._command(b"RPOP", store._names.queue("q"))
    found = accounts(store.tally())
    assert (found.total.missing, found.queues[0].missing, found.total.balances) == (1, 1, True)


def test_unreadable_messages_balance_too(store: Store, hand: Hand) -> None:
    """In Redis a payload that bears nothing of ours counts when it is taken, whoever put it."""
    store.put([Message(id, "q", b"x") for id in "abc"])
    one, two, _ = hand.claim(3)
    store.release([one])
    store.retry(two, b"y", 0.0)
    store.ack(hand.claim(5))
    found = accounts(store.tally()).total
    assert (found.all_came, found.missing, found.unexplained) == (3, 0, 0)


def test_what_is_written_off_is_missing_no_longer(store: Store) -> None:
    store.put(messages("a"))
    store.write_off({"q": 1, "r": 2})
    store.write_off({"r": -2, "q": -1})
    store.write_off({"q": 3})
    assert store.tally().queues["q"].left == -3
