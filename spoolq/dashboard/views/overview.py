"""The first page: one sentence, the numbers, what was done lately and where enqueues went, and pausing all queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from spoolq import facts
from spoolq.choosing import JobChoice, look
from spoolq.dashboard import flow, journal
from spoolq.dashboard.asking import Action, Answer, Ask, Confirm, Done, View
from spoolq.dashboard.changing import both
from spoolq.errors import SpoolqError
from spoolq.store.base import EVERY_QUEUE, Store
from spoolq.store.events import Outage
from spoolq.store.tally import Sample
from spoolq.units import when

LOOKED_AT = 500
"""Scheduled jobs among which those that are tried again are counted: where more wait, the number is "at least"."""

T = TypeVar("T")


class Number(NamedTuple):
    """One of the numbers: `least`: there may be more; None: not known. `kind` colours it."""

    word: str
    n: int | None
    path: str = ""
    kind: str = ""
    least: bool = False
    hint: str = ""


class Reads:
    """What the stores say, as it was a moment ago. One that didn't answer is asked nothing more for this page."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.known = ask.facts.primary.state in ("up", "refusing")
        self.spooled = ask.facts.spool is not None and ask.facts.spool.info is not None

    def there(self, name: object, get: Callable[[Store], T], fresh: float = 2.0) -> T | None:
        """Of the primary; None where it doesn't answer."""
        found = self._get(name, self.known, lambda: self.ask.q.primary, get, fresh)
        self.known = self.known and found is not None
        return found

    def here(self, name: object, get: Callable[[Store], T], fresh: float = 2.0) -> T | None:
        """Of this host's spool; None where there is none."""
        return self._get(name, self.spooled, lambda: self.ask.q.spool, get, fresh)

    def _get(
        self, name: object, known: bool, of: Callable[[], Store | None], get: Callable[[Store], T], fresh: float
    ) -> T | None:
        if not known or (store := of()) is None:
            return None
        try:
            return self.ask.desk.cached.get((name, id(store)), fresh, lambda: get(store))
        except SpoolqError:
            return None


def show(ask: Ask) -> Answer:
    """The overview; `span` of the query is how far back the charts look."""
    key = ask.query.get("span", "1h")
    stretch = flow.STRETCHES.get(key) or flow.STRETCHES["1h"]
    reads = Reads(ask)
    shown, samples = numbers(reads), _samples(reads, stretch)
    done, came = worked(ask, stretch, samples), enqueued(ask, stretch, samples)
    outage = _latest_outage(ask)
    shows = {
        "numbers": shown,
        "stretch": stretch,
        "stretches": flow.STRETCHES,
        "since": flow.begin(ask.facts.at - stretch.seconds + stretch.step, stretch.step),
        "until": flow.begin(ask.facts.at, stretch.step) + stretch.step,
        "done": done,
        "came": [row[:2] for row in came] if ask.facts.spool is None else came,  # a queue's file has no spool beside it
        "outage": outage,
        "paused": EVERY_QUEUE in {**ask.facts.primary.paused, **(ask.facts.spool.paused if ask.facts.spool else {})},
        "alone": ask.facts.spool is None,
        "partial": not reads.known and ask.facts.spool is not None,
    }
    judged = ask.desk.judge(ask.facts)
    document = {
        "state": judged.word,
        "lost": judged.lost,
        "do": judged.todo,
        "sentence": judged.sentence,
        "numbers": {one.word.lower(): one.n for one in shown},
        "done": [{"at": when(at), "done": done, "failed": failed} for at, done, failed in done],
        "enqueued": [{"at": when(at), "redis" if ask.facts.spool else "file": there, "spool": here} for at, there, here in came],
    }
    return Answer("overview.html", "Overview", shows, {**document, **facts.document(ask.facts)})


def numbers(reads: Reads) -> list[Number]:
    """What was done, and what is where."""
    found = reads.ask.facts
    primary, known = found.primary, reads.known
    info = found.spool.info if found.spool is not None else None
    here = found.spool if info is not None else None
    counts = [reads.there("counts", lambda store: store.counts()), reads.here("counts", lambda store: store.counts())]
    scheduled = primary.total("scheduled") if known else None
    again, whole = _retrying(reads)
    failures = (primary.failures if known else 0) + (here.failures if here is not None else 0)
    return [
        Number("Processed", _sum(counts, "done")),
        Number("Failed", _sum(counts, "failed"), hint="for good, since the count began"),
        Number("Busy", primary.total("claimed") if known else None, "/workers"),
        Number("Queued", primary.total("ready") if known else None, "/queues"),
        Number("Scheduled", scheduled, "/scheduled"),
        Number("Retrying", again, "/retries", "warn" if again else "", not whole),
        Number("Dead", failures if known or here is not None else None, "/failures", "bad" if failures else ""),
        *([] if found.spool is None else [Number("Spooled", info.rows if info else _none(found), "/spool", _spool_kind(found))]),
    ]


def _none(found: facts.Facts) -> int | None:
    return 0 if found.spool is not None and found.spool.state == "absent" else None


def _spool_kind(found: facts.Facts) -> str:
    return "warn" if found.spool is not None and found.spool.info is not None and found.spool.info.rows else ""


def _retrying(reads: Reads) -> tuple[int | None, bool]:
    """How many of the jobs that wait for their time were tried before, and whether that is all of them."""
    choice = JobChoice(retrying=True)
    found = reads.there("retrying", lambda store: look(store, choice, scheduled=True, limit=LOOKED_AT, most=LOOKED_AT))
    return (None, True) if found is None else (len(found[0]), found[1] is None)


Samples = tuple[Sequence[Sample], Sequence[Sample]]


def worked(ask: Ask, stretch: flow.Stretch, samples: Samples) -> list[tuple[int, ...]]:
    """Jobs that were done and that failed for good, step by step, in Redis and in this host's spool."""
    ways = [flow.add(*(flow.flow(some, words, stretch, ask.facts.at) for some in samples)) for words in (("done",), ("failed",))]
    return flow.together(ask.facts.at, stretch, *ways)


def enqueued(ask: Ask, stretch: flow.Stretch, samples: Samples) -> list[tuple[int, ...]]:
    """Jobs that were enqueued, step by step: those of all hosts that went straight into the primary, and those that this host
    spooled."""
    ways = [flow.flow(some, ("put",), stretch, ask.facts.at) for some in samples]
    return flow.together(ask.facts.at, stretch, *ways)


def _samples(reads: Reads, stretch: flow.Stretch) -> Samples:
    since, fresh = reads.ask.facts.at - stretch.seconds - stretch.step, stretch.step / 30
    there = reads.there(stretch, lambda store: store.history(stretch.span, since), fresh)
    here = reads.here(stretch, lambda store: store.history(stretch.span, since), fresh)
    return there or (), here or ()


def _sum(counts: Sequence[Mapping[str, Mapping[str, int]] | None], word: str) -> int | None:
    known = [one for one in counts if one is not None]
    return sum(queue.get(word, 0) for one in known for queue in one.values()) if known else None


def _latest_outage(ask: Ask) -> Outage | None:
    if ask.facts.lasting is not None:
        return ask.facts.lasting
    try:
        log = journal.opened(ask.q)
        found = log.outages(1) if log is not None and ask.facts.spool is not None else []
    except SpoolqError:
        return None
    return found[0] if found else None


def _pause(ask: Ask) -> Done:
    done = both(ask, lambda store: store.pause(EVERY_QUEUE))
    return Done(f"All queues are paused {done}. Jobs are taken in as before.", "/")


def _resume(ask: Ask) -> Done:
    done = both(ask, lambda store: store.resume(EVERY_QUEUE))
    return Done(f"Workers take jobs again {done}.", "/")


def _sure(ask: Ask) -> Confirm:
    return Confirm("Let no worker of any host take another job? What runs is finished; new jobs wait.", "Pause all queues")


VIEWS = (View("overview", "/", show, "Overview"),)
ACTIONS = (
    Action("queues.pause_all", "/pause", _pause, _sure),
    Action("queues.resume_all", "/resume", _resume),
)
