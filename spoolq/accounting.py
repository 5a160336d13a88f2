"""Does it balance? What came, what went, what is there, and what is missing: per queue and over all. Pure arithmetic.

Over all stores each job counts once: what a spool handed over, the primary has taken in, so the two cancel out, and a row that
the primary had already was no second job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

from spoolq.store.tally import ALL, IN, OUT, Ledger, Tally

_BETWEEN = ("drained", "again", "handed_over", "duplicate")  # words of the way from a spool to the primary


class Known(NamedTuple):
    """What a host remembers of its primary, to see what that has lost with the very count of it.

    birth    the name of the count that was seen last; empty: none was seen
    base     how much of the hand-over isn't in that count: handed over less drained, as it began or was first seen
    came     jobs that had come in at the last look, by that count, those of others left out
    there    jobs that should have been there then
    at       when that was, in epoch seconds
    again    how many the spool had taken back by then, to hand them over again
    lost     jobs that went with earlier counts, or were put back to an earlier state, as far as the last looks told; less those
             that the spool has sent again
    """

    birth: str = ""
    base: int = 0
    came: int = 0
    there: int = 0
    at: float = 0.0
    again: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """One queue, or (`queue` "*") all of them, at about one moment. Numbers of jobs.

    came, went   by the words of `spoolq.store.tally`; the ways between a spool and the primary cancel out, and what is left of
                 them is in `put`
    waiting, scheduled, claimed   in the primary
    spooled      in this host's spool, and surely not in the primary; `in_doubt`: perhaps there too; `quarantined`: set aside
    taken        gone, and explained by other workers than spoolq's, who have counted so many jobs. They don't say of which
                 queues: of one queue it is a guess, over all it is what they say, as far as something is gone at all
    missing      gone, and explained by nothing
    unexplained  more there, or gone some way, than ever came: mostly jobs of other producers that nobody has taken yet
    counted      whether all rows of files were: else what is there is what came and didn't go, and none can be missing
    """

    queue: str
    came: Mapping[str, int] = field(default_factory=dict)
    went: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    scheduled: int = 0
    claimed: int = 0
    spooled: int = 0
    in_doubt: int = 0
    quarantined: int = 0
    taken: int = 0
    missing: int = 0
    unexplained: int = 0
    counted: bool = True

    @property
    def all_came(self) -> int:
        """Jobs that came, whichever way."""
        return sum(self.came.values())

    @property
    def all_went(self) -> int:
        """Jobs that went, whichever way."""
        return sum(self.went.values())

    @property
    def there(self) -> int:
        """Jobs that are somewhere now."""
        return self.waiting + self.scheduled + self.claimed + self.spooled + self.in_doubt + self.quarantined

    @property
    def balances(self) -> bool:
        """Whether the sum holds; it does by construction, `missing` and `unexplained` included."""
        return self.all_came + self.unexplained == self.all_went + self.there + self.taken + self.missing


class Accounts(NamedTuple):
    """All queues together, and each by itself, by name."""

    total: Account
    queues: tuple[Account, ...]

    @property
    def uncounted(self) -> int:
        """How many of those that are missing the primary lost together with its count, so that nobody knows of which queues."""
        return self.total.missing - sum(one.missing for one in self.queues)


def accounts(primary: Ledger | None, spool: Ledger | None = None, known: Known | None = None) -> Accounts:
    """The accounts of a primary (None: it can't be read) and this host's spool (None: there is none). Read the spool first:
    what is handed over in between is then in both, and never in neither.

    `known` is what this host remembers of the primary; without it what the primary lost together with its count isn't seen.
    """
    names = sorted({*(primary.queues if primary else ()), *(spool.queues if spool else ())})
    found = [_account(name, _of(primary, name), _of(spool, name)) for name in names]
    queues = _explained(found, primary.others if primary else 0)
    total = _sum(queues)
    if known is not None and primary is not None and (lost := loss(known, primary, spool)):
        total = replace(total, came=_added(total.came, {"put": lost}), missing=total.missing + lost)
    return Accounts(total, tuple(queues))


def loss(known: Known, primary: Ledger, spool: Ledger | None = None) -> int:
    """How many jobs this host knows the primary to have lost together with its count of them, and not to have got again.

    What is known must be older than what was read, and the spool read before the primary.
    """
    lost = known.lost
    if known.birth and known.birth != primary.birth:
        lost += known.there
    elif known.birth:
        lost += max(0, known.came - came(primary), handed_over(spool) - drained(primary) - known.base)
    return max(0, lost - max(0, _spooled(spool, "again") - known.again)) if known.birth else lost


def looked(known: Known, primary: Ledger, spool: Ledger | None, at: float, *, after: Ledger | None = None) -> Known:
    """What is to be remembered after this look, at `at` epoch seconds. A count that is seen for the first time begins here.

    `after` is the spool as it was after the primary was read (`spool`: before): what is on its way just then must be no loss
    later, so what may be counted as drained and not yet as handed over, which is all that is in doubt, counts for that.
    """
    lost, base = loss(known, primary, spool), known.base
    if known.birth != primary.birth or lost > known.lost:
        then = after or spool
        base = handed_over(then) - drained(primary) + (sum(one.in_doubt for one in then.queues.values()) if then else 0)
    there = sum(one.there + max(0, one.left) for one in primary.queues.values())
    return Known(primary.birth, base, came(primary), there, at, _spooled(spool, "again"), lost)


def came(ledger: Ledger) -> int:
    """All that has come into a store, but for what was found, which is taken back where that goes back: this never gets less."""
    return sum(one.sum(IN) - one.sum(("found",)) for one in ledger.queues.values())


def drained(ledger: Ledger) -> int:
    """What a primary has taken out of spools, those of all hosts."""
    return sum(one.sum(("drained",)) for one in ledger.queues.values())


def handed_over(spool: Ledger | None) -> int:
    """What a spool handed over, less what it has taken back to hand it over again."""
    return _spooled(spool, "handed_over") - _spooled(spool, "again")


def _spooled(spool: Ledger | None, word: str) -> int:
    return sum(one.sum((word,)) for one in spool.queues.values()) if spool else 0


def _of(ledger: Ledger | None, name: str) -> Tally:
    return (ledger.queues.get(name) if ledger else None) or Tally(name, {})


def _account(name: str, primary: Tally, spool: Tally) -> Account:
    came = {word: n for word in IN if word not in _BETWEEN and (n := primary.sum((word,)) + spool.sum((word,)))}
    went = {word: n for word in OUT if word not in _BETWEEN and (n := primary.sum((word,)) + spool.sum((word,)))}
    over = primary.sum(("drained", "again")) - primary.sum(("handed_over", "duplicate"))  # of a file that is a primary: drained
    over += spool.sum(("drained", "again")) - spool.sum(("handed_over", "duplicate"))
    came["put"] = came.get("put", 0) + over
    left = primary.left + spool.left
    return Account(
        name,
        came,
        went,
        primary.ready,
        primary.scheduled,
        primary.claimed,
        spool.ready + spool.scheduled + spool.claimed,
        primary.in_doubt + spool.in_doubt,
        primary.quarantined + spool.quarantined,
        missing=max(0, left),
        unexplained=max(0, -left),
        counted=primary.counted and spool.counted,
    )


def _explained(found: list[Account], others: int) -> list[Account]:
    """With what other workers took: those queues first from which most is gone."""
    taken: dict[str, int] = {}
    for one in sorted(found, key=lambda one: -one.missing):
        taken[one.queue] = min(one.missing, others)
        others -= taken[one.queue]
    return [replace(one, taken=taken[one.queue], missing=one.missing - taken[one.queue]) for one in found]


def _sum(queues: list[Account]) -> Account:
    """Jobs that were moved have only changed their queues."""
    total: dict[str, Any] = {"came": {}, "went": {}} | dict.fromkeys(_NUMBERS, 0)
    for one in queues:
        total["came"], total["went"] = _added(total["came"], one.came), _added(total["went"], one.went)
        for name in _NUMBERS:
            total[name] += getattr(one, name)
    moved = min(total["came"].get("moved_in", 0), total["went"].get("moved", 0))
    total["came"] = {word: n for word, n in _added(total["came"], {"moved_in": -moved}).items() if n}
    total["went"] = {word: n for word, n in _added(total["went"], {"moved": -moved}).items() if n}
    return Account(ALL, **total, counted=all(one.counted for one in queues))


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {word: one.get(word, 0) + other.get(word, 0) for word in {**one, **other}}


_NUMBERS = [one.name for one in fields(Account) if one.name not in ("queue", "came", "went", "counted")]


def document(found: Accounts) -> dict[str, Any]:
    """The accounts for JSON: over all, then by queue."""
    return {"total": _shown(found.total), "queues": [_shown(one) for one in found.queues]}


def _shown(one: Account) -> dict[str, Any]:
    numbers = {name: getattr(one, name) for name in _NUMBERS}
    return {"queue": one.queue, "came": dict(one.came), "went": dict(one.went), **numbers, "counted": one.counted}
