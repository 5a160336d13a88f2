"""`wait`: an idle worker sleeps in the store and is woken by a job."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from spoolq.store.base import Store
from tests.contract.hands import Hand, message, messages

numbers = itertools.count()


def test_waiting_for_nothing_ends_with_the_time(store: Store, hand: Hand) -> None:
    began = time.monotonic()
    assert store.wait(hand.info, ["q"], 0.2) is False
    assert 0.1 <= time.monotonic() - began < 30.0


def test_a_job_that_is_there_already_ends_the_wait(store: Store, hand: Hand) -> None:
    store.put(messages("a"))
    began = time.monotonic()
    assert store.wait(hand.info, ["q"], 60.0) is True
    assert time.monotonic() - began < 30.0


def test_a_job_that_comes_ends_the_wait(open_store: Callable[[], Store]) -> None:
    waiter, putter = open_store(), open_store()
    hand = Hand(waiter)
    waiter.register(hand.info)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(waiter.wait(hand.info, ["other", "q"], 80.0)))
    thread.start()
    began = time.monotonic()
    putter.put([message("a")])
    thread.join(50.0)
    assert answers == [True]
    assert time.monotonic() - began < 40.0


def test_a_wait_takes_nothing(store: Store, hand: Hand) -> None:
    store.put(messages("a", "b"))
    store.wait(hand.info, ["q"], 1.0)
    assert len(hand.claim()) == 2


def test_waiting_again_and_again_wakes_for_each_job(open_store: Callable[[], Store]) -> None:
    waiter, putter = open_store(), open_store()
    hand = Hand(waiter)
    for n in range(5):
        putter.put(messages(f"id{n}"))
        deadline = time.monotonic() + 60.0
        while not (claims := hand.claim()):
            assert waiter.wait(hand.info, ["q"], 30.0), "slept through a job"
            assert time.monotonic() < deadline
        waiter.ack(claims)
    assert waiter.wait(hand.info, ["q"], 0.05) in (True, False)  # may wake once more for a token that was left


def test_a_queue_that_appears_ends_the_wait_of_who_waits_for_that(open_store: Callable[[], Store]) -> None:
    waiter, putter = open_store(), open_store()
    hand = Hand(waiter)
    waiter.register(hand.info)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(waiter.wait(hand.info, ["q"], 30.0, appear=True)))
    thread.start()
    while not answers and thread.is_alive():  # what came before the wait began is not what it waits for
        putter.put([message(f"a{next(numbers)}", f"new{next(numbers)}")])
        thread.join(0.2)
    assert answers == [True]


def test_a_queue_that_appears_is_nothing_to_who_waits_for_names_alone(store: Store, hand: Hand) -> None:
    store.put(messages("a", queue="new"))
    assert store.wait(hand.info, ["q"], 0.05) is False
    assert store.wait(hand.info, ["q"], 0.05, appear=True) is False
