"""Random steps on a primary and the spool beside it, a hand-over's every end among them: after each, both balance, and over all
each job is counted once. The control loses one behind their backs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from spoolq.accounting import accounts, drained, handed_over
from spoolq.errors import LeaseLost
from spoolq.job import Handoff, Message
from spoolq.store.base import Store
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore
from tests.contract.backends import Backend
from tests.contract.hands import Hand, failure, message, worker

QUEUES = ("q", "r")
DRAINER = worker("d", kind="drainer")
FAR = 4e9

queues = st.sampled_from(QUEUES)
few = st.integers(1, 4)


class BalanceMachine(RuleBasedStateMachine):
    """A model of nothing but how many jobs there have ever been."""

    open: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.primary, self.numbers = type(self).open(), itertools.count()
        self.spool = SQLiteStore(Path(self.folder.name, "spool.db"), role="spool", min_free=0, timeout=20.0)
        self.hand, self.local = Hand(self.primary, queues=QUEUES), Hand(self.spool, "local", queues=QUEUES)
        self.held: list[Handoff] = []
        self.jobs = 0

    def teardown(self) -> None:
        self.primary.close()
        self.spool.close()
        self.folder.cleanup()

    def new(self, queue: str, count: int) -> list[Message]:
        self.jobs += count
        return [message(f"id{next(self.numbers)}", queue) for _ in range(count)]

    # where jobs come from

    @rule(queue=queues, count=few)
    def put(self, queue: str, count: int) -> None:
        self.primary.put(self.new(queue, count))

    @rule(queue=queues, count=few, keep=st.sampled_from([0.0, 0.000001]))
    def spooled(self, queue: str, count: int, keep: float) -> None:
        self.spool.spool([one._replace(keep=keep) for one in self.new(queue, count)])

    @rule(queue=queues, applied=st.booleans())
    def spooled_in_doubt(self, queue: str, applied: bool) -> None:
        """A put whose answer was lost: the primary has it, or not."""
        several = self.new(queue, 1)
        if applied:
            self.primary.put(several, hold=True)
            self.jobs += 1  # for the moment: the same job twice, until it is told apart
        self.spool.spool(several, not_after=0.0)

    # the way between

    @rule(count=few)
    def take(self, count: int) -> None:
        self.held += self.spool.take(DRAINER, count, 1 << 20, FAR)

    @rule(answered=st.booleans(), keeps=st.booleans())
    def hand_over(self, answered: bool, keeps: bool) -> None:
        handoffs, self.held = self.held, []
        if not handoffs:
            return
        new = self.primary.put([one.message for one in handoffs], hold=True)
        if not answered:
            self.jobs += sum(new)
            self.spool.give_back(handoffs, applied="maybe")
            return
        known = {one.claim.token for one, fresh in zip(handoffs, new, strict=True) if not fresh}
        self.jobs -= len(known)
        kept = [one for one in handoffs if keeps and one.message.keep]
        if kept:
            self.spool.keep(kept, self.primary.life(5.0), known=known)
        if rest := [one for one in handoffs if one not in kept]:
            self.spool.handed_over(rest, known=known)

    @rule(verb=st.sampled_from(["give_back", "quarantine", "handed_over_again"]))
    def other_ends(self, verb: str) -> None:
        if not self.held:
            return
        one = self.held.pop()
        if verb == "give_back":
            self.spool.give_back([one], applied="no")
        elif verb == "quarantine":
            self.spool.quarantine(one, "why")
        else:
            self.spool.give_back([one], applied="no")
            with pytest.raises(LeaseLost):
                self.spool.handed_over([one])

    @rule(again=st.booleans())
    def watch(self, again: bool) -> None:
        for watch in self.spool.watches():
            kept = self.spool.kept(watch, 10)
            if again:
                self.jobs += len(kept)  # until they are known to be there
                self.spool.send_again(watch, kept)
            else:
                self.spool.let_go(watch, kept)

    # what operators do

    @rule(moved=st.booleans())
    def export(self, moved: bool) -> None:
        page = self.spool.upkeep.page("job", limit=3)
        if moved:
            self.spool.upkeep.remove("job", [key for key, _ in page])
            self.jobs += self.spool.upkeep.add([one for _, one in page]).added
        else:
            assert self.spool.upkeep.add([one for _, one in page]).added == 0

    @rule(drop=st.booleans())
    def quarantine_ends(self, drop: bool) -> None:
        ids = [one.id for _, one in self.spool.upkeep.quarantined()][:2]
        (self.spool.upkeep.drop if drop else self.spool.upkeep.release)(ids)

    @rule(queue=queues, store=st.booleans())
    def purge(self, queue: str, store: bool) -> None:
        (self.primary if store else self.spool).purge(queue)

    # work

    @rule(count=few, end=st.sampled_from(["processed", "expired", "cancelled", "fail", "retry", "release"]), store=st.booleans())
    def work(self, count: int, end: str, store: bool) -> None:
        hand = self.hand if store else self.local
        claims = hand.claim(count)
        if end == "release":
            hand.store.release(claims)
        elif end in ("fail", "retry"):
            for claim in claims:
                if end == "fail":
                    hand.store.fail(claim, failure(claim))
                else:
                    hand.store.retry(claim, claim.payload, 0.0)
        elif claims:
            hand.store.ack(claims, Effects(counters=((end, len(claims)),)))

    @invariant()
    def it_balances(self) -> None:
        spool, primary = self.spool.tally(), self.primary.tally()
        lefts = {one.queue: one.left for ledger in (spool, primary) for one in ledger.queues.values() if one.left}
        total = accounts(primary, spool).total
        assert lefts == {}
        assert (total.missing, total.unexplained) == (0, 0)
        assert total.all_came == self.jobs
        assert handed_over(spool) <= drained(primary)
        assert (spool.recounted, primary.recounted) == (0, 0)
        for store, whole in ((self.spool, spool), (self.primary, primary)):
            some = store.tally(1)
            assert [(name, one.there) for name, one in sorted(some.queues.items())] == [
                (name, one.there) for name, one in sorted(whole.queues.items())
            ]
            assert all(one == whole.queues[one.queue] for one in some.queues.values() if one.counted)
            assert not any(one.left for one in some.queues.values())


def machine(backend: Backend) -> type[BalanceMachine]:
    fresh = itertools.count(1000)

    class Machine(BalanceMachine):
        @staticmethod
        def open() -> Store:
            return backend.anew(next(fresh))

    return Machine


OPTIONS = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


def test_a_primary_and_its_spool_balance_after_each_step(backend: Backend) -> None:
    run_state_machine_as_test(machine(backend), settings=OPTIONS)


def test_a_row_that_is_lost_is_seen(backend: Backend) -> None:
    """The control, in steps that don't depend on luck."""
    steps = machine(backend)()
    try:
        steps.spooled("q", 3, 0.0)
        steps.it_balances()
        steps.spool._run(lambda session: session.execute("DELETE FROM jobs WHERE seq = (SELECT max(seq) FROM jobs)"))
        with pytest.raises(AssertionError):
            steps.it_balances()
    finally:
        steps.teardown()
