"""The rows that a drainer has in its hand: taken, put into the primary, deleted. At full speed the last ones are deleted, and the
next ones taken, in one commit, while the primary is busy with those in between."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

from spoolq.errors import LeaseLost
from spoolq.handoffs import relayed
from spoolq.job import Handoff
from spoolq.meanwhile import Meanwhile
from spoolq.store.base import Spool, Store, WorkerInfo
from spoolq.store.effects import NONE, Effects


class Batch(NamedTuple):
    """Rows that may be put until `not_after`, on the primary's clock: the time that each of them notes."""

    handoffs: list[Handoff]
    not_after: float


_NOTHING = Batch([], 0.0)


class _Reach(NamedTuple):
    done: Sequence[Handoff]
    not_after: float
    exchanged: Meanwhile[tuple[list[Handoff], tuple[str, ...]]]


class Hand:
    """That of one drainer; `timeout` is what a put may take, in seconds. Each row goes its way as if it were alone: taken, with
    its time written, then sent, then deleted by the token under which it was taken. For one thread."""

    def __init__(self, spool: Spool, primary: Store, timeout: float) -> None:
        self._spool, self._primary, self._timeout = spool, primary, timeout
        self.drop()

    def drop(self) -> None:
        """Know nothing of what it holds: that stays claimed until the lease is over under which it was taken."""
        self._owed: list[Handoff] = []  # the primary has them
        self._known: set[str] = set()  # and had those, by their tokens, before
        self._ahead = _NOTHING  # not sent yet
        self._reach: _Reach | None = None

    @property
    def empty(self) -> bool:
        """Whether no row is in it."""
        return not (self._owed or self._ahead.handoffs or self._reach)

    @property
    def reaching(self) -> bool:
        """Whether the next are being taken."""
        return self._reach is not None

    def next(self, worker: WorkerInfo, rows: int, size: int) -> Batch:
        """What is to be put now: what was taken ahead, else up to so many rows, and bytes, of the spool's."""
        batch, self._ahead = self._ahead, _NOTHING
        if batch.handoffs and batch.not_after - self._primary.now() < self._timeout / 2:  # those before took long
            self._spool.give_back(batch.handoffs, applied="no")
            batch = _NOTHING
        if batch.handoffs:
            return batch
        self.settle()
        not_after = self._primary.now() + self._timeout
        return Batch(self._spool.take(worker, rows, size, not_after), not_after)

    def reach(self, worker: WorkerInfo, rows: int, size: int) -> None:
        """Begin to delete what the primary has, and to take the next, until `grasp`."""
        done, known, self._owed, self._known = self._owed, self._known, [], set()
        not_after = self._primary.now() + self._timeout
        exchange = partial(self._spool.exchange, done, worker, rows, size, not_after, known=known)
        self._reach = _Reach(done, not_after, Meanwhile(exchange))

    def grasp(self) -> None:
        """Wait for what `reach` has begun. Where nothing was taken all that the primary has is deleted."""
        reach, self._reach = self._reach, None
        if reach is not None:
            taken, lost = reach.exchanged.result()
            self._ahead = Batch(taken, reach.not_after)
            self._forget(reach.done, lost)
        if not self._ahead.handoffs:
            self.settle()

    def put(self, handoffs: Sequence[Handoff], known: Collection[str]) -> None:
        """The primary has these, and had `known` of them before: they are to be deleted."""
        self._owed += handoffs
        self._known.update(known)

    def settle(self, effects: Effects = NONE) -> None:
        """Delete what the primary has."""
        done, known, self._owed, self._known = self._owed, self._known, [], set()
        if not done:
            return
        lost: tuple[str, ...] = ()
        try:
            self._spool.handed_over(done, effects, known=known)
        except LeaseLost as error:
            lost = error.tokens
        self._forget(done, lost)

    def open(self) -> None:
        """Delete what the primary has, and give back what was not sent."""
        self.grasp()
        ahead, self._ahead = self._ahead.handoffs, _NOTHING
        self.settle()
        if ahead:
            self._spool.give_back(ahead, applied="no")

    def _forget(self, done: Sequence[Handoff], lost: Collection[str]) -> None:
        """Their ids may go with their rows. Not of one that another drainer has taken over: its put is answered "dup", and it
        deletes the row."""
        self._primary.forget(
            [(h.message.id, h.not_after) for h in done if h.token not in lost and not h.message.given and not relayed(h)]
        )
