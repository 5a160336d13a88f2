"""`/livez` and `/readyz`: what an orchestrator asks of a process, answered in bounded time.

Redis down while the spool works is *ready*, state `degraded`: a probe that failed there would take web servers out of service for
the very fault that spoolq absorbs. Not ready is who would lose a job that is given to it now, or can't tell.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from spoolq.facts import Facts
from spoolq.latest import Latest
from spoolq.verdict import CRITICAL, UNKNOWN, UNSURE, Verdict, judge

log = logging.getLogger("spoolq.probes")


class Answer(NamedTuple):
    """An HTTP status (200, or 503 for no) and the document that goes with it."""

    status: int
    body: dict[str, object]

    @property
    def yes(self) -> bool:
        """Whether the probe passes."""
        return self.status == 200


def livez() -> Answer:
    """That the process answers, and nothing more: a restart mends no Redis and no disk."""
    return Answer(200, {"schema": 1, "live": True})


def workers_live(silent: Mapping[str, float], limit: float = 30.0) -> Answer:
    """Whether workers of this host live: there is one, and each main loop (`silent`: seconds since it told of itself, by name)
    has gone round within `limit` seconds. An outage and a long job keep none from that."""
    stuck = sorted(name for name, seconds in silent.items() if seconds > limit)
    says = f"silent for more than {limit:g} s: {', '.join(stuck)}" if stuck else "" if silent else "no worker runs here"
    return Answer(
        503 if says else 200, {"schema": 1, "live": not says, "workers": len(silent), "summary": says or "all go round"}
    )


def readyz(facts: Facts) -> Answer:
    """Whether a job that is given to this host now is safe: 200 where all is well and where it is degraded, 503 where new jobs
    are refused or that can't be told. A queue whose file isn't there yet is ready: the first job makes it."""
    verdict = judge(facts)
    unmade = verdict.level == UNKNOWN and facts.primary.state == "absent"
    return _answer(verdict, ready=verdict.level < CRITICAL or unmade)


def _answer(verdict: Verdict, *, ready: bool) -> Answer:
    body = {"schema": 1, "ready": ready, "state": verdict.word, "lost": verdict.lost, "summary": verdict.sentence}
    return Answer(200 if ready else 503, body)


class Readiness:
    """Answers `/readyz` within `wait` seconds, however long the stores take: it looks on a thread aside, one look at a time, and
    answers by the newest one. Safe to share between threads.

    gather   finds the facts; may take long, or hang with a disk
    wait     seconds that an answer may take; below the probe's own time-out (Kubernetes: 1 s)
    fresh    seconds for which a look serves
    stale    seconds after which it serves no more: then the answer is no, unknown
    """

    def __init__(
        self,
        gather: Callable[[], Facts],
        *,
        wait: float = 0.5,
        fresh: float = 1.0,
        stale: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gather, self._wait, self._stale, self._clock = gather, wait, stale, clock
        self._latest = Latest(self._look, fresh=fresh, name="spoolq-probe", clock=clock)
        self._began = clock()

    def readyz(self) -> Answer:
        """The answer now."""
        seen, now = self._latest.get(self._wait), self._clock()
        if seen is not None and now - seen[0] <= self._stale:
            return seen[1]
        since = now - (self._began if seen is None else seen[0])
        what = f"nothing has been found out about the stores for {since:.1f} s: does the disk hang?"
        return _answer(Verdict(UNKNOWN, UNSURE, what), ready=False)

    def _look(self) -> Answer:
        try:
            return readyz(self._gather())
        except Exception as error:
            log.exception("a probe: an error of our own")
            return _answer(Verdict(UNKNOWN, UNSURE, f"an error of spoolq's own: {type(error).__name__}"), ready=False)
