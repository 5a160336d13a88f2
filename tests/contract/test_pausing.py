"""`pause`: no claim takes from a queue that an operator stopped, in whatever process the worker is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from spoolq.store.base import EVERY_QUEUE, Store
from tests.contract.hands import Hand, ids, message, messages


def test_nothing_is_taken_from_a_paused_queue_until_it_is_resumed(open_store: Callable[[], Store], hand: Hand) -> None:
    operator = open_store()
    operator.put([*messages("a", "b", queue="low"), message("c", "high")])
    assert operator.pause("low") is True
    assert ids(hand.claim(queues=["low", "high"])) == ["c"]
    assert hand.claim(queues=["low"]) == ()
    assert operator.resume("low") is True
    assert ids(hand.claim(queues=["low"])) == ["a", "b"]


def test_a_claim_says_which_of_its_queues_are_paused(store: Store, hand: Hand) -> None:
    assert hand.ask(queues=["low", "high"]).paused == ()
    store.pause("low")
    store.pause("other")
    assert hand.ask(queues=["low", "high"]).paused == ("low",)
    store.pause(EVERY_QUEUE)
    assert hand.ask(queues=["low", "high"]).paused == (EVERY_QUEUE,)
    store.resume(EVERY_QUEUE)
    assert hand.ask(queues=["low", "high"]).paused == ("low",)


def test_what_was_claimed_before_goes_on_and_is_settled_by_the_next_call(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    claims = hand.claim(limit=1)
    store.pause("q")
    assert hand.ask(ack=claims).lost == ()
    assert [(d.ready, d.claimed) for d in store.depths()] == [(1, 0)]


def test_scheduled_jobs_and_retries_of_a_paused_queue_come_due_and_wait(store: Store, hand: Hand) -> None:
    store.put([message("a", run_at=time.time() - 1.0)])
    store.pause("q")
    store.promote(10)
    assert hand.claim() == ()
    store.resume("q")
    store.promote(10)
    assert ids(hand.claim()) == ["a"]


def test_all_queues_are_paused_at_once_and_each_alone_stays_paused_after_it(store: Store, hand: Hand) -> None:
    store.put([message("a", "low"), message("b", "high")])
    store.pause("low")
    assert store.pause(EVERY_QUEUE) is True
    assert hand.claim(queues=["low", "high"]) == ()
    assert store.resume(EVERY_QUEUE) is True
    assert ids(hand.claim(queues=["low", "high"])) == ["b"]
    assert list(store.paused()) == ["low"]


def test_pauses_are_told_with_their_times_and_set_once(open_store: Callable[[], Store]) -> None:
    store, other = open_store(), open_store()
    assert store.paused() == {}
    before = time.time()
    assert store.pause("low") is True
    since = other.paused()["low"]
    assert before - 5.0 < since < time.time() + 5.0
    assert other.pause("low") is False
    assert store.paused() == {"low": since}
    assert store.pause(EVERY_QUEUE) is True
    assert other.pause(EVERY_QUEUE) is False
    assert set(other.paused()) == {"low", EVERY_QUEUE}
    assert (other.resume("low"), store.resume("low")) == (True, False)
    assert (other.resume(EVERY_QUEUE), store.resume(EVERY_QUEUE)) == (True, False)
    assert store.paused() == {}


def test_many_who_claim_while_it_is_paused_and_resumed_take_each_job_once(open_store: Callable[[], Store]) -> None:
    store = open_store()
    store.put(messages(*(f"j{n}" for n in range(200))))
    taken: list[str] = []
    done = threading.Event()

    def work(key: str) -> None:
        hand = Hand(open_store(), key)
        while not done.is_set():
            claims = hand.claim(limit=5)
            taken.extend(ids(claims))
            hand.store.ack(claims)

    threads = [threading.Thread(target=work, args=(key,)) for key in ("w1", "w2")]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60.0
    while len(taken) < 200 and time.monotonic() < until:
        store.pause("q")
        store.resume("q")
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"j{n}" for n in range(200))
