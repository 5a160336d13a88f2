"""What Redis has to do for a job, and what travels for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spoolq import SpoolQ
from spoolq.job import Claim
from spoolq.tasks import Task
from tests.contract.hands import Hand
from tests.servers import Server

JOBS = 100
TRIPS = frozenset({"evalsha", "eval", "script"})
"""What a client sends: the caller waits for each. All others are called by the scripts."""
ENQUEUE = dict.fromkeys(("evalsha", "time", "rpush", "zadd", "sadd", "hincrby", "spop", "zrem"), 1)
BATCH = ENQUEUE | {"zmscore": 1}
CLAIM = {"evalsha": 1, "time": 1, "get": 1, "hmget": 1, "hgetall": 1, "lpop": 1, "hset": 2, "zadd": 1, "hincrby": 1, "del": 1}
ACK = {"evalsha": 1, "time": 1, "hexists": 1, "hget": 1, "hdel": 1, "hincrby": 2, "del": 1}
ENVELOPE = 370
"""Bytes of a request beyond the payload: names of keys, the id twice, the not-after."""


@dataclass(frozen=True)
class Traffic:
    """Commands by name, and bytes in each direction, the server's view."""

    commands: Counter[str]
    received: int
    sent: int

    @property
    def trips(self) -> int:
        return sum(count for name, count in self.commands.items() if name in TRIPS)


class Meter:
    """Reads the server's own counters; what its own questions cost is taken off."""

    def __init__(self, server: Server, control: Any) -> None:
        self.server, self._control = server, control

    def of(self, work: Callable[[], object]) -> Traffic:
        """What the server did for this."""
        first, before = self._read(), self._read()
        work()
        after = self._read()
        return Traffic(
            after.commands - before.commands,
            after.received - before.received - (before.received - first.received),
            after.sent - before.sent - (before.sent - first.sent),
        )

    def _read(self) -> Traffic:
        said = self._control.info("all")
        calls = {name.removeprefix("cmdstat_"): said[name]["calls"] for name in said if name.startswith("cmdstat_")}
        calls.pop("info", None)
        return Traffic(Counter(calls), said["total_net_input_bytes"], said["total_net_output_bytes"])


@pytest.fixture
def meter(fresh_server: Server) -> Iterator[Meter]:
    with fresh_server.client() as control:
        yield Meter(fresh_server, control)


@pytest.fixture
def q(fresh_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SpoolQ]:
    with SpoolQ(fresh_server.url, spool=tmp_path / "spool.db", spool_min_free=0, deadline=30.0) as q:
        monkeypatch.setattr(q._teller, "begin", lambda: None)  # it would tell after 5 s: in the midst of what is metered
        yield q


@pytest.fixture
def send(q: SpoolQ) -> Task[..., Any]:
    """Connected, and its scripts known."""

    @q.task(queue="mail")
    def send(to: str) -> None: ...

    for _ in range(2):  # the second frees the first one's marker, as all after it will
        assert send.enqueue("a@example.com").route == "primary"
    return send


@pytest.fixture
def hand(q: SpoolQ, send: Task[..., Any]) -> Hand:
    """A worker that is known, at a queue of 500; it has claimed and settled, and holds one claim more."""
    fill(q, send, 5 * JOBS)
    hand = Hand(q.primary, queues=("mail",))
    q.primary.ack(hand.claim(2)[:1])
    return hand


def fill(q: SpoolQ, send: Task[..., Any], jobs: int) -> None:
    for _ in range(0, jobs, 500):
        q.enqueue_many([send.job("a@example.com") for _ in range(500)])


def each(work: Callable[[], object]) -> Callable[[], None]:
    def repeated() -> None:
        for _ in range(JOBS):
            work()

    return repeated


def by(count: int, commands: dict[str, int]) -> dict[str, int]:
    return {name: calls * count for name, calls in commands.items()}


def test_an_enqueue_is_one_round_trip_of_these_commands(meter: Meter, q: SpoolQ, send: Task[..., Any]) -> None:
    payload = len(q.message(send.job("a@example.com")).payload)
    cost = meter.of(each(lambda: send.enqueue("a@example.com")))
    assert cost.commands == by(JOBS, ENQUEUE)
    assert cost.received <= JOBS * (payload + ENVELOPE)
    assert cost.sent <= JOBS * 6  # `:1\r\n`


def test_a_second_round_trip_is_seen_and_so_are_bytes(meter: Meter, q: SpoolQ, send: Task[..., Any]) -> None:
    """The controls: a look beside each put; a server that has to be sent the whole script."""

    def with_a_look() -> None:
        q.primary.remembers([send.enqueue("a@example.com").id])

    cost = meter.of(each(with_a_look))
    assert cost.commands != by(JOBS, ENQUEUE)
    with meter.server.client() as control:
        control.script_flush()
    payload = len(q.message(send.job("a@example.com")).payload)
    cost = meter.of(lambda: send.enqueue("a@example.com"))
    assert cost.trips == 2
    assert cost.received > payload + 2 * ENVELOPE


def test_many_jobs_are_one_round_trip(meter: Meter, q: SpoolQ, send: Task[..., Any]) -> None:
    jobs = [send.job("a@example.com") for _ in range(JOBS)]
    q.enqueue_many([send.job("a@example.com") for _ in range(JOBS)])  # as all after it: its markers go with the next
    payload = len(q.message(jobs[0]).payload)
    cost = meter.of(lambda: q.enqueue_many(jobs))
    assert cost.commands == BATCH
    assert cost.received <= JOBS * (payload + 150)
    assert cost.sent <= 2 * JOBS


def test_a_claim_and_an_ack_are_one_round_trip_each(meter: Meter, q: SpoolQ, hand: Hand) -> None:
    got: list[Claim] = []
    assert meter.of(lambda: got.extend(hand.claim(1))).commands == CLAIM
    assert meter.of(lambda: q.primary.ack(got)).commands == ACK


def test_the_ack_of_a_batch_and_the_next_claim_are_one_round_trip(meter: Meter, q: SpoolQ, hand: Hand) -> None:
    last = hand.claim(JOBS)
    got: list[Claim] = []
    cost = meter.of(lambda: got.extend(hand.claim(JOBS, ack=last)))
    assert len(got) == JOBS
    assert cost.trips == 1
    assert cost.commands.total() <= 1.6 * JOBS, cost.commands
    assert cost.received <= 20 * JOBS  # the tokens
    # not the first one's by their number: their times differ in digits
    assert cost.sent <= sum(len(claim.payload) for claim in got) + 15 * JOBS  # and the queue
    apart = meter.of(lambda: (q.primary.ack(got), hand.claim(JOBS)))  # the control
    assert apart.trips == 2


def test_no_command_more_where_ten_thousand_jobs_wait(meter: Meter, q: SpoolQ, send: Task[..., Any], hand: Hand) -> None:
    fill(q, send, 10_000)
    q.primary.forget([])  # the markers of all these, which go with the next enqueues otherwise
    send.enqueue("a@example.com")
    assert meter.of(lambda: send.enqueue("a@example.com")).commands == ENQUEUE
    got: list[Claim] = []
    assert meter.of(lambda: got.extend(hand.claim(1))).commands == CLAIM
    assert meter.of(lambda: q.primary.ack(got)).commands == ACK


def test_a_second_of_an_idle_worker(meter: Meter, q: SpoolQ, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asks again and again while there is nothing to do: no script among it."""
    store = q.primary
    hand.claim(5 * JOBS)  # it is empty
    store.promote(1)
    assert not store.wait(hand.info, ("mail",), 0.01)  # noted as idle from here on
    monkeypatch.setattr("spoolq.store.redis.idling.LOOK", 60.0)  # one second of it, however long that takes
    # three seconds: one of a hundredth may be over before it blocks
    assert meter.of(lambda: store.wait(hand.info, ("mail",), 3.0)).commands == {"llen": 1, "blpop": 1}
    assert meter.of(store.due).commands == {"exists": 1}
    assert meter.of(store.paused).commands == {"exists": 1}
    store.pause("mail")
    assert meter.of(store.paused).commands != {"exists": 1}, "the control"
