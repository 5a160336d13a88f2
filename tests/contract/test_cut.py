"""The contract when the network lies: requests and replies cut, held back and spoilt between a RedisStore and a real server.

Whatever the caller saw: an attempt whose outcome isn't known says so and names the time after which it can't be applied any
more, and the same call again, put or claim, never doubles anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import get_args

import pytest

from spoolq.errors import LeaseLost, StoreUnavailable
from spoolq.store.base import Store
from spoolq.store.effects import NONE, Effects
from tests.contract.backends import PATIENT
from tests.contract.hands import Hand, claimable, ids, message, messages
from tests.faults.app import at_once
from tests.proxy import Action, Proxy, Rule
from tests.servers import Server
from tests.waiting import eventually

LATE = 2.0  # when even a starved caller has given up
TIMEOUT = 1.0  # in which a starved proxy still passes the request on
SLACK = 1.0  # seconds a call may be late
APPLIED = {"cut_reply", "fin_reply", "part_reply", "swallow", "late", "dribble", "garbage", "wrong_type"}
CERTAIN = Effects(counters=(("done", 1),))


@pytest.fixture(params=get_args(Action))
def action(request: pytest.FixtureRequest) -> Action:
    chosen: Action = request.param
    return chosen


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as between:
        yield between


@pytest.fixture
def open_redis() -> Iterator[Callable[[str], Store]]:
    from spoolq.store.redis import RedisStore

    with ExitStack() as opened:
        yield lambda url: warm(opened.enter_context(closing(RedisStore(url, deadline=PATIENT))))


def warm(store: Store) -> Store:
    """Connected, and every script known to the server: the answer that is lost must not be the one that asks for the script."""
    hand = Hand(store, "warmer")
    store.put(messages("w1"))
    store.put(messages("w2", "w3"), Effects(counters=(("warm", 1),)))
    acked, *released = hand.claim()
    store.ack([acked])
    store.release(released)
    store.purge("q")
    store.unregister(hand.info)
    return store


@pytest.fixture
def store(open_redis: Callable[[str], Store], proxy: Proxy) -> Store:
    """A store whose connection passes the proxy, and is open already."""
    return open_redis(proxy.url)


@pytest.fixture
def witness(open_redis: Callable[[str], Store], server: Server) -> Store:
    """A store beside the proxy, that sees what the server has."""
    return open_redis(server.url)


def unknown(call: Callable[[], object], rule: Rule | None = None) -> StoreUnavailable:
    """The call fails within its time and doesn't know whether it was applied. Made again where the rule met nothing of it: who
    gets no core for the whole of its time has sent nothing, and knows it."""
    for _ in range(5):
        with at_once(TIMEOUT + SLACK), pytest.raises(StoreUnavailable) as raised:
            call()
        if raised.value.maybe_applied or rule is None or rule.fired:
            break
    assert raised.value.maybe_applied
    return raised.value


@pytest.mark.parametrize("effects", [NONE, CERTAIN], ids=["one", "with effects"])
def test_a_put_whose_answer_is_lost_is_put_once(
    store: Store, witness: Store, proxy: Proxy, action: Action, effects: Effects
) -> None:
    store.put(messages("first"))
    before = store.now()
    rule = proxy.rule(b"job-in-doubt", action, delay=TIMEOUT * 0.6 if action == "dribble" else LATE)
    error = unknown(lambda: store.put(messages("job-in-doubt"), effects, timeout=TIMEOUT, hold=True), rule)
    assert before < error.not_after < store.now() + TIMEOUT + 0.1
    rule.wait()
    eventually(lambda: witness.ready(PATIENT) > error.not_after)
    new = eventually(lambda: put_again(store, "job-in-doubt", effects))
    assert new == [action not in APPLIED]
    assert claimable(witness) == ["first", "job-in-doubt"]


def put_again(store: Store, id: str, effects: Effects) -> list[bool] | None:
    try:
        return store.put(messages(id), effects, timeout=PATIENT, hold=True)
    except StoreUnavailable:
        return None  # the connection is being made anew


def test_a_put_that_arrives_too_late_is_not_applied(store: Store, witness: Store, proxy: Proxy) -> None:
    """A time-out isn't the end of a request: this one reaches the server after the caller has spooled the job."""
    with Proxy(proxy.port) as _:  # a second proxy in front changes nothing: only the holding back does
        rule = proxy.rule(b"zombie", "late_request", delay=LATE)
        error = unknown(lambda: store.put(messages("zombie"), timeout=TIMEOUT), rule)
        rule.wait()
    eventually(lambda: witness.ready(PATIENT) > error.not_after + 1.2)
    assert claimable(witness) == []
    assert witness.put(messages("zombie")) == [True]


def test_a_claim_whose_answer_is_lost_is_had_by_calling_again(store: Store, witness: Store, proxy: Proxy, action: Action) -> None:
    store.put(messages("a", "b", "c"))
    hand = Hand(store, "cut-worker")
    [done] = hand.claim(1)
    rule = proxy.rule(done.token.encode(), action, delay=TIMEOUT * 0.6 if action == "dribble" else LATE)
    unknown(lambda: store.claim(hand.info, 2, ["q"], 1, ack=[done], effects=CERTAIN, timeout=TIMEOUT), rule)
    rule.wait()
    claimed = eventually(lambda: claim_again(store, hand, done))
    assert ids(claimed.claims) == ["b"]
    assert claimed.lost == ()
    assert witness.heartbeat(hand.info) == 1
    assert witness.counters()["done"] == 1
    assert claimable(witness) == ["c"]


def claim_again(store: Store, hand: Hand, done: object) -> object:
    try:
        return store.claim(hand.info, 2, ["q"], 1, ack=[done], effects=CERTAIN, timeout=PATIENT)  # type: ignore[list-item]
    except StoreUnavailable:
        return None


def test_a_claim_that_arrives_too_late_takes_nothing(store: Store, witness: Store, proxy: Proxy) -> None:
    """Else a worker's own heartbeat would keep alive, for ever, a claim that it doesn't know of."""
    store.put(messages("a"))
    hand = Hand(store, "late-worker")
    store.register(hand.info)
    rule = proxy.rule(b"late-worker", "late_request", delay=TIMEOUT + 0.4)
    unknown(lambda: store.claim(hand.info, 1, ["q"], 1, timeout=TIMEOUT), rule)
    rule.wait()
    now = witness.ready(PATIENT)
    eventually(lambda: witness.ready(PATIENT) > now + 0.8)
    assert witness.heartbeat(hand.info) == 0
    assert claimable(witness) == ["a"]


def test_a_lost_claim_is_found_by_reconciling(store: Store, proxy: Proxy) -> None:
    store.put(messages("a"))
    hand = Hand(store, "cut-worker")
    store.register(hand.info)
    rule = proxy.rule(b"cut-worker", "cut_reply")
    unknown(lambda: store.claim(hand.info, 1, ["q"], 1, timeout=TIMEOUT), rule)
    assert eventually(lambda: holds(store, hand)) == 1
    assert ids(store.reconcile(hand.info, 2)) == ["a"]


def holds(store: Store, hand: Hand) -> int | None:
    try:
        return store.heartbeat(hand.info)
    except StoreUnavailable:
        return None


@pytest.mark.parametrize("verb", ["ack", "release"])
def test_a_settling_whose_answer_was_lost_is_found_done(store: Store, witness: Store, proxy: Proxy, verb: str) -> None:
    store.put(messages("a"))
    hand = Hand(store, "w")
    claims = hand.claim(1)
    proxy.rule(claims[0].token.encode(), "cut_reply")
    unknown(lambda: getattr(store, verb)(claims))
    assert eventually(lambda: witness.heartbeat(hand.info) == 0)
    with pytest.raises(LeaseLost):
        getattr(witness, verb)(claims)
    assert claimable(witness) == ([] if verb == "ack" else ["a"])


def test_a_refused_connection_is_surely_not_applied(store: Store, witness: Store, proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(StoreUnavailable):  # may have gone out on the connection that was just reset
        store.put(messages("a"), timeout=TIMEOUT)
    with pytest.raises(StoreUnavailable) as refused:
        store.put(messages("b"), timeout=TIMEOUT)
    assert not refused.value.maybe_applied
    assert refused.value.server_wide
    with pytest.raises(StoreUnavailable):
        store.ready(TIMEOUT)
    proxy.heal()
    assert eventually(lambda: put_again(store, "b", NONE)) == [True]
    assert "b" in claimable(witness)


def test_a_server_that_never_reads_costs_no_more_than_the_time_given(store: Store, proxy: Proxy) -> None:
    proxy.behave("silent")
    error = unknown(lambda: store.put([message("a")], timeout=TIMEOUT))
    assert error.not_after > 0
    with at_once(TIMEOUT + SLACK), pytest.raises(StoreUnavailable):
        store.put([message("b")], timeout=TIMEOUT)


@pytest.mark.parametrize("action", ["garbage", "wrong_type"])
def test_an_answer_that_is_not_the_scripts_own_is_not_believed(store: Store, proxy: Proxy, action: Action) -> None:
    """For every verb: what a broken middle-box answers must not look like success."""
    store.put(messages("a", "b"))
    hand = Hand(store, "w")
    claim, _ = hand.claim(2)
    proxy.rule(b"EVALSHA", action, times=-1)
    for call in (
        lambda: store.ack([claim]),
        lambda: store.heartbeat(hand.info),
        lambda: store.retry(claim, claim.payload, 0.0),
        lambda: store.rescue(hand.info, 1),
        lambda: store.promote(1),
        lambda: store.reconcile(hand.info, 9),
    ):
        with pytest.raises(StoreUnavailable) as raised:
            call()
        assert raised.value.maybe_applied
