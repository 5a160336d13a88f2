"""Counters in Redis that somebody wrote over: no job waits for that, and they are counted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spoolq.accounting import accounts
from spoolq.job import Claim
from spoolq.store.quota import Quota
from spoolq.store.redis import RedisStore
from tests.contract.hands import Hand, failure, message, messages
from tests.servers import Server

COUNTS, TALLY = "resque:spoolq:counts", "resque:spoolq:tally"
TEXTS = ["x", "", "1.5", "--5", "nan", "-1", "9" * 5000, str(2**63 - 1)]
LATER = 3600.0

Verb = Callable[[RedisStore, Hand, Claim], object]


@pytest.fixture
def control(server: Server) -> Iterator[Any]:
    with server.client(decode_responses=True) as client:
        yield client


@pytest.fixture
def store(server: Server) -> Iterator[RedisStore]:
    one = RedisStore(server.url, deadline=20.0, timeout=20.0)
    yield one
    one.close()


@pytest.fixture
def hand(store: RedisStore) -> Hand:
    return Hand(store)


@pytest.fixture
def claim(store: RedisStore, hand: Hand) -> Claim:
    """One of three that were claimed, of five that were ready, two being delayed."""
    store.put([*messages(*"abcde"), *(message(id, run_at=store.now() + LATER) for id in "xy")])
    return hand.claim(3)[0]


def overwrite(control: Any, key: str, text: str | None) -> None:
    """Put that text in the place of all numbers there, or (None) of the whole hash."""
    fields = control.hkeys(key)
    assert fields
    if text is None:
        control.set(key, "no hash")
    else:
        control.hset(key, mapping=dict.fromkeys(fields, text))


def there(store: RedisStore) -> tuple[int, int, int]:
    (depth,) = store.depths()
    return depth.ready, depth.scheduled, depth.claimed


VERBS: dict[str, tuple[Verb, tuple[int, int, int]]] = {
    "delay": (lambda store, hand, claim: store.put([message("z", run_at=store.now() + LATER)]), (2, 3, 3)),
    "claim": (lambda store, hand, claim: hand.claim(1), (1, 2, 4)),
    "claim and ack": (lambda store, hand, claim: hand.claim(1, ack=[claim]), (1, 2, 3)),
    "ack": (lambda store, hand, claim: store.ack([claim]), (2, 2, 2)),
    "retry": (lambda store, hand, claim: store.retry(claim, claim.payload, store.now() + LATER), (2, 3, 2)),
    "fail": (lambda store, hand, claim: store.fail(claim, failure(claim)), (2, 2, 2)),
    "release": (lambda store, hand, claim: store.release([claim]), (3, 2, 2)),
}


@pytest.mark.parametrize("text", [*TEXTS[:-1], None])
@pytest.mark.parametrize("verb", VERBS)
def test_counts_that_are_none_keep_no_job_from_its_way_and_are_counted_anew(
    store: RedisStore, control: Any, hand: Hand, claim: Claim, verb: str, text: str | None
) -> None:
    overwrite(control, COUNTS, text)
    what, then = VERBS[verb]
    what(store, hand, claim)
    assert there(store)[0] == then[0]
    store.tally()  # what the verb didn't touch
    assert there(store) == then
    assert accounts(store.tally()).total.missing == 0


@pytest.mark.parametrize("text", [*TEXTS, "1000", None])
def test_a_queue_with_a_limit_goes_on_once_it_is_counted_anew(
    store: RedisStore, control: Any, hand: Hand, claim: Claim, text: str | None
) -> None:
    overwrite(control, COUNTS, text)
    quota = Quota("q", most=4)
    taken = hand.claim(5, quotas=[quota])
    store.sample()  # a worker's bookkeeper, once a minute
    assert there(store) == (2 - len(taken), 2, 3 + len(taken))
    hand.claim(5, quotas=[quota])
    assert there(store) == (1, 2, 4)


def test_delayed_jobs_are_promoted_whatever_their_count_says(store: RedisStore, control: Any, claim: Claim) -> None:
    control.zadd("resque:spoolq:delayed", dict.fromkeys(control.zrange("resque:spoolq:delayed", 0, -1), 1))
    overwrite(control, COUNTS, "x")
    assert store.promote(10) == 2
    assert there(store) == (4, 0, 3)


def test_a_step_that_is_taken_back_is_counted_as_taken_back(store: RedisStore, control: Any, claim: Claim) -> None:
    overwrite(control, COUNTS, "x")
    control.set("resque:queue:r", "no list")
    with pytest.raises(Exception, match="wrongtype"):
        store.put([message("z", run_at=store.now() + LATER), message("r", "r")])
    assert {depth.queue: depth.scheduled for depth in store.depths()} == {"q": 2}


@pytest.mark.parametrize("text", [*TEXTS, None])
def test_a_tally_that_is_none_begins_anew(store: RedisStore, control: Any, text: str | None) -> None:
    store.put(messages("a"))
    overwrite(control, TALLY, text)
    store.put(messages("b"))
    store.put(messages("c", "d"))
    store.tally()  # where it was no hash
    store.put(messages("e"))
    store.put(messages("f", "g"))
    store.sample()
    put = store.counts()["q"]["put"]
    assert put == {None: 3, "-1": 5, TEXTS[-1]: 6}.get(text, 6)
    found = store.tally()
    assert (found.queues["q"].counts["put"], found.queues["q"].ready) == (put, 7)
    assert accounts(found).total.balances


@pytest.mark.parametrize("text", ["x", "", "1e400", "9" * 5000])
def test_what_is_known_of_a_tally_is_no_reason_to_fail(store: RedisStore, control: Any, text: str) -> None:
    control.hset(TALLY, mapping=dict.fromkeys(("birth", "since", "others", "recounted", "nothing:q", "put:q"), text))
    found = store.tally()
    assert (found.since, found.others) == (0.0, 0)
    assert store.sample() is not None


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_counted_anew_where_nobody_wrote(store: RedisStore, hand: Hand, claim: Claim, verb: str) -> None:
    what, then = VERBS[verb]
    what(store, hand, claim)
    assert (there(store), store.tally().recounted) == (then, 0)
    store.purge("q")
    assert store.tally().recounted == 0


def test_that_they_were_counted_anew_is_told(store: RedisStore, control: Any, claim: Claim) -> None:
    """The control."""
    overwrite(control, COUNTS, "1000")
    assert (store.tally().recounted, store.tally().recounted, there(store)) == (1, 1, (2, 2, 3))
