"""What one scrape is made of: the state of both stores, and what processes have counted, read at one moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from spoolq.bookkeeping import remembered
from spoolq.errors import SpoolqError
from spoolq.facts import Facts, Side, gather, spool_side
from spoolq.stamps import moment
from spoolq.store.base import DRAINED_AT, Spool

if TYPE_CHECKING:
    from spoolq.accounting import Known
    from spoolq.app import SpoolQ
    from spoolq.store.tally import Ledger

T = TypeVar("T")

OUTAGES = 1000
"""Outages whose seconds are added up: more than a journal keeps."""

_MOST = 100_000  # what the facts count up to: how many jobs there are, the ledgers say
_TIMEOUT = 1.0  # seconds for each question


@dataclass(frozen=True, slots=True)
class Look:
    """`facts` None: the primary was not asked; `side` is this host's spool, None where there is none. Of a ledger and of series
    None: that store could not be asked. `remembered`: what this host knows of the primary. `outage`: seconds of all outages of
    this host; `drained_at`: epoch seconds, 0 for never. `own`: of one process, whose own counts the series are."""

    facts: Facts | None = None
    side: Side | None = None
    primary: Ledger | None = None
    spool: Ledger | None = None
    primary_series: Mapping[str, int] | None = None
    spool_series: Mapping[str, int] | None = None
    remembered: Known | None = None
    outage: float = 0.0
    drained_at: float = 0.0
    own: bool = False
    at: float = field(default_factory=time.time)


def take(q: SpoolQ) -> Look:
    """Ask both stores. Never raises for one that is away."""
    facts = gather(q, _TIMEOUT, connect=_TIMEOUT, most=_MOST)
    primary = spool = memory = None
    primary_series = spool_series = None
    outage = drained_at = 0.0
    here = q.spool
    # the spool first: what is handed over in between is then counted in both, and isn't missing
    if here is not None and facts.spool is not None and facts.spool.state == "up":
        spool, spool_series = known(here.tally), known(lambda: here.series(timeout=_TIMEOUT))
        memory = known(lambda: remembered(here))
        outage, drained_at = known(lambda: _outages(here, facts.at)) or 0.0, known(lambda: _drained_at(here)) or 0.0
    if facts.primary.state in ("up", "refusing"):
        primary = known(q.primary.tally)
        primary_series = known(lambda: q.primary.series(timeout=_TIMEOUT))
    return Look(facts, facts.spool, primary, spool, primary_series, spool_series, memory, outage, drained_at, at=facts.at)


def take_own(q: SpoolQ) -> Look:
    """What a process shows of itself: its own counts, and this host's spool. The primary is not asked: a web server's page is no
    reason to."""
    here, now = q.spool, time.time()
    if here is None:
        return Look(primary_series=q.counts.totals(), own=True)
    side = spool_side(q, here, _TIMEOUT, _MOST)
    tally = outage = drained_at = None
    if side.state == "up":
        tally, outage, drained_at = known(here.tally), known(lambda: _outages(here, now)), known(lambda: _drained_at(here))
    return Look(None, side, None, tally, q.counts.totals(), None, None, outage or 0.0, drained_at or 0.0, own=True, at=now)


def known(ask: Callable[[], T]) -> T | None:
    """The answer, None where it can't be had."""
    with contextlib.suppress(SpoolqError):
        return ask()
    return None


def _outages(spool: Spool, now: float) -> float:
    return sum(one.seconds(now) for one in spool.events.outages(OUTAGES))


def _drained_at(spool: Spool) -> float:
    return moment(spool.meta(DRAINED_AT) or "")
