"""The jobs that wait in a store, one by one: to be shown, and to be called back. The docstrings are the specification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from spoolq.store.effects import NONE, Effects

Holder = Literal["", "worker", "drainer"]


class WaitingJob(NamedTuple):
    """A job that waits, or is in somebody's hands, as it was found.

    run_at    when it is due, in epoch seconds; 0.0 of one that is ready
    place     the store's own word for where it is
    holder    who has it, the empty text for nobody
    kept      of a spool's row: it is in the primary, and here until that has persisted it
    worker    the key of the worker that has it, where that is known
    in_doubt  of a spool's row: the primary may have it too
    aside     it is set aside, in quarantine, and nobody takes it
    """

    queue: str
    payload: bytes
    run_at: float = 0.0
    place: Any = None
    holder: Holder = ""
    in_doubt: bool = False
    aside: bool = False
    kept: bool = False
    worker: str = ""


class Move(NamedTuple):
    """Where a job that waits is to go: to the end of that queue, with this payload; to its `front`; or among those that wait for
    their time, `run_at` (epoch seconds; 0.0 or one that has passed: it is ready)."""

    job: WaitingJob
    queue: str
    payload: bytes
    run_at: float = 0.0
    front: bool = False


class WaitingJobs(Protocol):
    """Those of one store."""

    def find(self, id: str) -> list[WaitingJob]:
        """Those of this job id that wait. A store that sees at once who has a job lists that too.

        In Redis every queue is gone through, page by page, so that the time it takes grows with what waits. A job that waits all
        the while is found, also where others come and go; it may be listed twice. Passed over it is only where hundreds are
        removed from its queue between two pages, and not by workers, which take them from the other end.
        """

    def search(self, id: str, after: Any = None) -> Page:
        """One step of `find`, which costs the same however much there is, and what the next one begins `after`, None once all was
        looked through."""

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """Up to `limit` of those that are ready in a queue, or (`scheduled`) that wait for their time, of one queue or (None) of
        all; and what the next page begins `after`, None at the end. Of what comes and goes meanwhile, some may be seen twice or
        passed over. Ready ones come in the order in which they will be taken, scheduled ones in that of their time.

        A page costs the same however many there are: it has fewer, even none before the end, where they are large (about 1 MiB
        in all, and at least one) or of other queues. `after` survives JSON; for another
        list's it raises ValueError.
        """

    def claimed(self, after: Any = None, limit: int = 100) -> Page:
        """A page of those in somebody's hands, in no order that means anything, bounded as `page`."""

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """Take it away, with these effects, in one step, if it waits still where and as it was found. Else nothing happens, and
        False is returned: somebody took it, moved it on, or brought it into doubt."""

    def move(self, moves: Sequence[Move]) -> list[bool]:
        """Each, in this order, away from where it was found and to where it is to go, all in one step. Returns for each whether
        it waited still as it was found; one that didn't stays where it is. Its id goes along, and when it was enqueued."""

    def held(self, id: str) -> list[WaitingJob]:
        """What workers have of this id in their hands."""

    def refuse(self, id: str, effects: Effects = NONE) -> bool:
        """From now on, and for the horizon, a put of this id is answered as if it were there; in the same step these effects
        happen. Returns False where it was put or refused before, and that is remembered still: then nothing happens."""


def placed(after: Any, *kinds: type) -> Any:
    """What a page begins after, as a list gave it: of these kinds. Raises ValueError for anything else."""
    if not isinstance(after, list | tuple) or len(after) != len(kinds):
        raise ValueError(f"{after!r:.100} is no place in this list")
    if not all(type(one) is kind for one, kind in zip(after, kinds, strict=True)):
        raise ValueError(f"{after!r:.100} is no place in this list")
    return after


Page = tuple[list[WaitingJob], Any]
