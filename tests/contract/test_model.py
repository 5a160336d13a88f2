"""Random calls on a store and on a few dictionaries that say what it should hold; compared after each step.

Order has its own tests; here it counts what is where, who holds it, and that nothing is lost or doubled. Leases are long.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from spoolq import wire
from spoolq.errors import GuardHeld, LeaseLost, StaleCall
from spoolq.job import Claim
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.backends import Backend
from tests.contract.hands import LONG, Hand, failure, id_of, message

QUEUES = ("q", "r")
WORKERS = ("w1", "w2", "w3")
GIVEN = ("g1", "g2", "g3", "g4")

queues = st.sampled_from(QUEUES)
workers = st.sampled_from(WORKERS)


@dataclass
class Model:
    ready: dict[str, set[str]] = field(default_factory=lambda: {queue: set() for queue in QUEUES})
    held: dict[str, dict[str, Claim]] = field(default_factory=lambda: {worker: {} for worker in WORKERS})
    failed: dict[str, str] = field(default_factory=dict)  # id to queue
    given: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    counter: int = 0
    forgotten: int = 0
    guard: str | None = None


class StoreMachine(RuleBasedStateMachine):
    """One store against one model. The test says how a store of an example's own is opened."""

    open: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.store = type(self).open()
        self.model = Model()
        self.hands = {name: Hand(self.store, name, queues=QUEUES) for name in WORKERS}
        self.settled: list[Claim] = []
        self.numbers = itertools.count()

    def teardown(self) -> None:
        self.store.close()

    # putting

    @rule(queue=queues, count=st.integers(1, 3), hold=st.booleans(), counted=st.booleans(), front=st.booleans())
    def put(self, queue: str, count: int, hold: bool, counted: bool, front: bool) -> None:
        batch = [message(f"id{next(self.numbers)}", queue, at_front=front and n % 2 == 0) for n in range(count)]
        effects = Effects(counters=(("seen", 1),)) if counted else Effects()
        assert self.store.put(batch, effects, hold=hold) == [True] * count
        self.model.ready[queue].update(m.id for m in batch)
        self.model.counter += counted

    @rule(queue=queues, ids=st.lists(st.sampled_from(GIVEN), min_size=1, max_size=3), front=st.booleans())
    def put_given(self, queue: str, ids: list[str], front: bool) -> None:
        expected = [id not in self.model.given and id not in ids[:n] for n, id in enumerate(ids)]
        assert self.store.put([message(id, queue, given=True, at_front=front) for id in ids]) == expected
        self.model.ready[queue].update(id for id, new in zip(ids, expected, strict=True) if new)
        self.model.given.update(ids)

    @rule(holder=st.sampled_from(["x", "y"]))
    def put_under_a_guard(self, holder: str) -> None:
        id = f"id{next(self.numbers)}"
        effects = Effects(acquire=(("lock", holder, LONG),), counters=(("seen", 1),))
        if self.model.guard not in (None, holder):
            with pytest.raises(GuardHeld):
                self.store.put([message(id)], effects)
            return
        assert self.store.put([message(id)], effects) == [True]
        self.model.guard = holder
        self.model.ready["q"].add(id)
        self.model.counter += 1

    @rule(holder=st.sampled_from(["x", "y"]))
    def release_the_guard(self, holder: str) -> None:
        self.store.put([], Effects(release=(("lock", holder),)))
        if self.model.guard == holder:
            self.model.guard = None

    # claiming

    @rule(worker=workers, order=st.permutations(QUEUES), limit=st.integers(0, 4), again=st.booleans(), ack=st.booleans())
    def claim(self, worker: str, order: list[str], limit: int, again: bool, ack: bool) -> None:
        hand, held = self.hands[worker], self.model.held[worker]
        done = list(held.values())[:2] if ack else []
        lost = self.settled[-1:] if ack else []
        hand.call += 1
        effects = Effects(counters=(("seen", 1),)) if done else Effects()
        claimed = self.store.claim(hand.info, hand.call, order, limit, ack=done + lost, effects=effects)
        if again:
            assert self.store.claim(hand.info, hand.call, order, limit, ack=done + lost, effects=effects) == claimed
        assert set(claimed.lost) == {claim.token for claim in lost}
        self.model.counter += bool(done)
        for claim in done:
            self._settle(worker, claim)
            self.model.done.add(id_of(claim))
        left = limit
        for queue in order:
            taken = [claim for claim in claimed.claims if claim.queue == queue]
            assert len(taken) == min(left, len(self.model.ready[queue]))
            assert {id_of(claim) for claim in taken} <= self.model.ready[queue]
            self.model.ready[queue] -= {id_of(claim) for claim in taken}
            left -= len(taken)
        held.update({claim.token: claim for claim in claimed.claims})

    @rule(worker=workers)
    def call_out_of_date(self, worker: str) -> None:
        hand = self.hands[worker]
        if hand.call > 1:
            with pytest.raises(StaleCall):
                self.store.claim(hand.info, hand.call - 1, QUEUES, 3)

    @rule(worker=workers)
    def reconcile(self, worker: str) -> None:
        hand = self.hands[worker]
        hand.call += 1
        assert {claim.token: claim for claim in self.store.reconcile(hand.info, hand.call)} == self.model.held[worker]

    # settling

    def _settle(self, worker: str, claim: Claim) -> None:
        del self.model.held[worker][claim.token]
        self.settled.append(claim)

    def _holding(self) -> list[tuple[str, Claim]]:
        return [(worker, claim) for worker, held in self.model.held.items() for claim in held.values()]

    @precondition(lambda self: self._holding())
    @rule(data=st.data(), verb=st.sampled_from(["ack", "release", "retry", "fail", "rescue"]), chained=st.booleans())
    def settle(self, data: st.DataObject, verb: str, chained: bool) -> None:
        worker, claim = data.draw(st.sampled_from(self._holding()))
        id, queue = id_of(claim), claim.queue
        following = f"id{next(self.numbers)}"
        effects = Effects(put=(message(following, "r"),), counters=(("seen", 1),)) if chained else Effects()
        if verb == "rescue":
            self._rescue(worker)
            return
        if verb == "ack":
            self.store.ack([claim], effects)
            self.model.done.add(id)
        elif verb == "release":
            self.store.release([claim])
            self.model.ready[queue].add(id)
        elif verb == "retry":
            job = wire.decode(claim.payload, queue)
            self.store.retry(claim, wire.attempted(claim.payload, job), 0.0, effects)
            self.store.promote(10)
            self.model.ready[queue].add(id)
        else:
            self.store.fail(claim, failure(claim), effects)
            self.model.failed[id] = queue
        self._settle(worker, claim)
        if chained and verb != "release":
            self.model.ready["r"].add(following)
            self.model.counter += 1

    def _rescue(self, worker: str) -> None:
        """The worker ends; another takes all of its claims."""
        other = next(name for name in WORKERS if name != worker)
        dead = self.model.held[worker]
        self.store.unregister(self.hands[worker].info)
        taken = self.store.rescue(self.hands[other].info, 100)
        assert sorted(map(id_of, taken)) == sorted(map(id_of, dead.values()))
        self.settled.extend(dead.values())
        self.model.held[worker] = {}
        self.model.held[other].update({claim.token: claim for claim in taken})
        self.hands[worker] = Hand(self.store, f"{worker}-{next(self.numbers)}", queues=QUEUES)

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), verb=st.sampled_from(["ack", "release", "retry", "fail"]))
    def settle_again(self, data: st.DataObject, verb: str) -> None:
        claim = data.draw(st.sampled_from(self.settled))
        effects = Effects(put=(message(f"id{next(self.numbers)}"),), counters=(("seen", 1),))
        calls: dict[str, Callable[[], None]] = {
            "ack": lambda: self.store.ack([claim], effects),
            "release": lambda: self.store.release([claim]),
            "retry": lambda: self.store.retry(claim, claim.payload, 0.0, effects),
            "fail": lambda: self.store.fail(claim, failure(claim), effects),
        }
        with pytest.raises(LeaseLost):
            calls[verb]()

    # failures and the rest

    @precondition(lambda self: self.model.failed)
    @rule(data=st.data(), verb=st.sampled_from(["retry", "remove"]))
    def mend_a_failure(self, data: st.DataObject, verb: str) -> None:
        id = data.draw(st.sampled_from(sorted(self.model.failed)))
        assert getattr(self.store.failures, verb)([id, "absent"]) == 1
        queue = self.model.failed.pop(id)
        if verb == "retry":
            self.model.ready[queue].add(id)
        else:
            self.model.forgotten += 1

    @rule(queue=queues)
    def purge(self, queue: str) -> None:
        assert self.store.purge(queue) == len(self.model.ready[queue])
        self.model.ready[queue].clear()

    @invariant()
    def each_job_is_where_it_should_be(self) -> None:
        claimed = {queue: sum(claim.queue == queue for _, claim in self._holding()) for queue in QUEUES}
        found = {depth.queue: (depth.ready, depth.scheduled, depth.claimed) for depth in self.store.depths()}
        for queue in QUEUES:
            assert found.get(queue, (0, 0, 0)) == (len(self.model.ready[queue]), 0, claimed[queue])
        assert self.store.failures.count() == len(self.model.failed)
        assert self.store.counters().get("seen", 0) == self.model.counter

    @invariant()
    def it_balances(self) -> None:
        queues = self.store.tally().queues
        assert {name: one.left for name, one in queues.items() if one.left} == {}
        failed = sum(one.counts.get("failed", 0) - one.counts.get("retried", 0) for one in queues.values())
        assert failed == len(self.model.failed) + self.model.forgotten
        assert sum(one.sum(("done",)) for one in queues.values()) == len(self.model.done)

    @invariant()
    def each_worker_holds_what_it_should(self) -> None:
        for worker, hand in self.hands.items():
            assert hand.holds() == len(self.model.held[worker])


def test_a_store_behaves_as_its_model(backend: Backend) -> None:
    fresh = itertools.count()

    class Machine(StoreMachine):
        @staticmethod
        def open() -> Store:
            return backend.anew(next(fresh))

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )
