"""What to say while Redis is away: what is safe, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from spoolq.cli.faults import CANT_CREATE, UNREACHABLE, Fault
from spoolq.errors import SpoolqError, StoreFull, StoreUnavailable
from spoolq.facts import TO_CONNECT
from spoolq.places import there
from spoolq.units import kept

if TYPE_CHECKING:
    from spoolq.app import SpoolQ


@contextmanager
def asking_primary(q: SpoolQ, otherwise: str = "") -> Iterator[None]:
    """Around what needs the primary: says what is safe and what to do when it can't be reached; `otherwise` is what this
    command can do without it."""
    try:
        yield
    except StoreUnavailable as error:
        raise primary_away(q, error, otherwise) from error


def connect(q: SpoolQ) -> None:
    """Connect before the deadline of a call begins; never raises for a primary that is away."""
    if q.breaker.allows():  # else another process of this host has met the outage: it isn't waited for again
        with suppress(StoreUnavailable):
            q.primary.ready(TO_CONNECT)


def primary_away(q: SpoolQ, error: StoreUnavailable, otherwise: str = "") -> Fault:
    """The fault of a primary that can't be reached: what happened, what was kept safe, what to do next."""
    if q.settings.sqlite_path is not None:
        return Fault(str(error), CANT_CREATE)
    return Fault(f"{error}\n{safe(q, full=isinstance(error, StoreFull))}{otherwise and f' {otherwise}'}", UNREACHABLE)


def safe(q: SpoolQ, *, full: bool = False) -> str:
    """A sentence on what is safe in the spool while Redis is away, and what to do next. Makes no file and never raises."""
    path = q.settings.spool_path
    try:
        if not there(path):
            return f"Nothing was spooled on this host: no spool at {path}."
        count = q.spool.waiting() if q.spool is not None else 0
    except SpoolqError as error:
        return f"What is in the spool isn't known: {error}."
    if not count:
        return f"No job waits in the spool {path}."
    return waiting(q, count, full=full)


def waiting(q: SpoolQ, count: int, *, full: bool = False) -> str:
    """A sentence on that many jobs in the spool. `full`: Redis answers, and has no room."""
    goes, runs = ("it goes on", "runs") if count == 1 else ("they go on", "run")
    if full:  # workers take from Redis then, which makes room, and leave the spool alone
        return f"{kept(count)} in the spool {q.settings.spool_path}; {goes} when Redis has room (`spoolq drain`)."
    return (
        f"{kept(count)} in the spool {q.settings.spool_path}; {goes} when Redis answers (`spoolq drain`), "
        f"or {runs} here with `spoolq worker`."
    )
