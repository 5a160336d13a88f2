"""The jobs that wait in a store, one by one: to be shown, and to be called back. The docstrings are the specification."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from spoolq.store.effects import NONE, Effects

Holder = Literal["", "worker", "drainer"]


class WaitingJob(NamedTuple):
    """A job that waits, or is in somebody's hands, as it was found.

    run_at    when it is due, in epoch seconds; 0.0 of one that is ready
    place     the store's own word for where it is
    holder    who has it, the empty text for nobody
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


class WaitingJobs(Protocol):
    """Those of one store."""

    def find(self, id: str) -> list[WaitingJob]:
        """Those of this job id that wait. A store that sees at once who has a job lists that too.

        In Redis every queue is gone through, page by page, so that the time it takes grows with what waits. A job that waits all
        the while is found, also where others come and go; it may be listed twice. Passed over it is only where hundreds are
        removed from its queue between two pages, and not by workers, which take them from the other end.
        """

    def page(self, queue: str | None = None, *, scheduled: bool = False, after: Any = None, limit: int = 100) -> Page:
        """Up to `limit` of those that are ready in a queue, or (`scheduled`) that wait for their time, of one queue or (None) of
        all; and what the next page begins `after`, None at the end. Of what comes and goes meanwhile, some may be seen twice or
        passed over. Ready ones come in the order in which they will be taken, scheduled ones in that of their time."""

    def remove(self, job: WaitingJob, effects: Effects = NONE) -> bool:
        """Take it away, with these effects, in one step, if it waits still where and as it was found. Else nothing happens, and
        False is returned: somebody took it, moved it on, or brought it into doubt."""

    def held(self, id: str) -> bool:
        """Whether a worker has a job of this id in its hands."""

    def refuse(self, id: str) -> bool:
        """From now on, and for the horizon, a put of this id is answered as if it were there. Returns False where it was put
        before, and that is remembered still."""


Page = tuple[list[WaitingJob], Any]
