"""What has come into a store and gone out of it since its count began, per queue. The docstrings are the specification.

Each number is changed by the very step that changes the rows: in the same script, or in the same transaction. So for each queue

    what came = what went + what is there

at any moment, and what that doesn't hold for was lost by the store, or touched by others (`spoolq.accounting` says which).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

IN = ("put", "drained", "found", "retried", "imported", "again", "moved_in")
"""How a job comes in.

put       put here: by a producer, by another job, by a schedule
drained   put here out of a spool
found     pushed into Redis by others, and claimed (or called back, or purged) by us
retried   launched again out of the failure log
imported  taken in out of an export, or saved out of a damaged file
again     handed over and kept, and taken for lost by the primary: to be handed over once more
moved_in  out of another queue of this store
"""

OUT = (
    "done",
    "failed",
    "expired",
    "discarded",
    "cancelled",
    "purged",
    "moved",
    "exported",
    "handed_over",
    "duplicate",
    "given_on",
    "written_off",
)
"""How a job goes out.

done         it ran to its end
failed       into the failure log
expired      it was too old to be worth running
discarded    its task, or middleware, gave it up; or it was unique, and an equal one was there
cancelled    it was called back, waiting or running
purged       deleted by an operator, out of a queue or out of quarantine
moved        put into another queue by an operator: it comes in there (`moved_in`)
exported     moved into a file
handed_over  the primary took it out of this spool, and hadn't had it
duplicate    out of this spool, since the primary had it already
given_on     handed over as Resque's own, without an id (`delayed="resque"`): it will be found
written_off  missing, and an operator knows that
"""

WORDS = IN + OUT

OURS = b'],"id":"'
"""What is in a payload that spoolq wrote, behind the arguments, and hardly in another's. In Redis those with it are counted when
they are put, all others when they are taken: nobody tells when they were pushed. (Said once more in lib.lua and put.lua.)"""

PLACES = ("ready", "scheduled", "claimed", "in_doubt", "quarantined")
# What a sample names by its number, in the order in which they came to be: new ones go to the end
_NAMES = (
    *("ready", "scheduled", "claimed", "in_doubt", "quarantined"),
    *("put", "drained", "found", "retried", "imported", "again", "moved_in"),
    *("done", "failed", "expired", "discarded", "cancelled", "purged", "moved", "exported", "handed_over", "duplicate"),
    *("given_on", "written_off"),
)

ENDINGS: Mapping[str, str] = {
    "processed": "done",
    "expired": "expired",
    "discarded": "discarded",
    "unique": "discarded",
    "cancelled": "cancelled",
    "duplicates": "duplicate",
}
"""How a job that is acknowledged, or taken away, went, by the counter that is added up in the same step."""

Span = Literal["minute", "hour"]
KEPT: Mapping[Span, int] = {"minute": 1440, "hour": 2160}
"""How many samples are kept: a day of minutes, ninety days of hours."""
SECONDS: Mapping[Span, int] = {"minute": 60, "hour": 3600}

APART: Mapping[Span, int] = {"minute": 4, "hour": 2}
"""Of how many queues a sample tells apart: of those into which most has come. About a megabyte for all samples."""

COUNTED = 10_000
"""How many rows are counted by who looks unasked, each minute and more often: a few milliseconds."""

ALL = "*"
"""In the place of a queue's name: all of them together."""


def ending(counters: Iterable[tuple[str, int]], default: str) -> str:
    """The word of `OUT` for jobs that go with these counters."""
    return next((ENDINGS[name] for name, _ in counters if name in ENDINGS), default)


class Tally(NamedTuple):
    """One queue at one moment: `counts` by the words of `IN` and `OUT` (absent: 0), and the jobs that are there, each in one
    place. `in_doubt` are rows of a spool that the primary may have too, whatever else they are; kept rows are in the primary and
    counted there. Not `counted`: there are too many, and by the counts as many are there as came and didn't go."""

    queue: str
    counts: Mapping[str, int]
    ready: int = 0
    scheduled: int = 0
    claimed: int = 0
    in_doubt: int = 0
    quarantined: int = 0
    counted: bool = True

    @property
    def there(self) -> int:
        """Jobs that are here."""
        return self.ready + self.scheduled + self.claimed + self.in_doubt + self.quarantined

    def sum(self, words: Iterable[str]) -> int:
        """These counts together."""
        return sum([self.counts.get(word, 0) for word in words])

    @property
    def left(self) -> int:
        """What came, less what went and what is there: 0 where nothing was lost."""
        return self.sum(IN) - self.sum(OUT) - self.there


class Ledger(NamedTuple):
    """All queues of a store by name, each as it was at one moment.

    birth      the count's own name; with another one, or none, the store has lost the count that there was
    since      when it began (epoch seconds; 0.0: not known)
    others     how many jobs other workers than spoolq's have ended since, as far as they have counted that, or are at
    recounted  how often there were not as many jobs somewhere as the store had counted, so that it counted them anew
    """

    queues: Mapping[str, Tally]
    birth: str = ""
    since: float = 0.0
    others: int = 0
    recounted: int = 0


class Sample(NamedTuple):
    """The counts at one moment: of all queues together (`ALL`) and of the few with the most traffic. Totals, not differences:
    where a sample is missing, those beside it still tell what happened. `rows` maps a queue to {word or place: number}, the
    places as in `Tally`, 0 left out."""

    at: float
    rows: Mapping[str, Mapping[str, int]]


def sampled(ledger: Ledger, at: float, span: Span) -> Sample:
    """The sample of a moment: all queues together, and by itself each of the few into which most has come."""
    busiest = sorted(ledger.queues.values(), key=lambda one: (-one.sum(IN), one.queue))[: APART[span]]
    total: dict[str, int] = {}
    for one in ledger.queues.values():
        for name, n in _row(one).items():
            total[name] = total.get(name, 0) + n
    return Sample(at, {ALL: total} | {one.queue: _row(one) for one in busiest if one.queue != ALL})


def _row(one: Tally) -> dict[str, int]:
    numbers = dict(one.counts) | {place: getattr(one, place) for place in PLACES}
    return {name: n for name, n in numbers.items() if n}


def write(sample: Sample) -> str:
    """A sample as JSON text, a few hundred bytes. Words are written as their numbers."""
    rows = [
        [queue, [n for name, value in row.items() for n in (_NAMES.index(name), value)]] for queue, row in sample.rows.items()
    ]
    return json.dumps([int(sample.at), rows], separators=(",", ":"), ensure_ascii=False)


def read(text: str | bytes) -> Sample | None:
    """What `write` wrote; None for what is none, or has words of a newer spoolq."""
    try:
        at, rows = json.loads(text)
        return Sample(
            float(at),
            {str(queue): {_NAMES[name]: int(n) for name, n in zip(flat[::2], flat[1::2], strict=True)} for queue, flat in rows},
        )
    except (ValueError, TypeError, IndexError, RecursionError):
        return None
