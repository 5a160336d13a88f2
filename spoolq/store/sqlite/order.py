"""Order of hand-over (`ordering="fifo"`): nobody takes a row of a queue while another of it is claimed, nor, to run it here,
behind one in doubt. docs/hand-off.md says why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements

SQL = statements("order")


def kept(session: Session) -> bool:
    """Whether this file keeps it: a process that is set to spooled into it, and it wasn't seen empty since by one that isn't."""
    return session.one(SQL["marked"]) is not None


def mark(session: Session) -> None:
    """From now on it is kept. In the transaction that spools."""
    session.execute(SQL["mark"])


def holds(session: Session, queues: Iterable[str]) -> bool:
    """As `Spool.holds`."""
    return any(session.scalar(SQL["holds"], (queue,)) for queue in queues)


def head(session: Session, queue: str) -> int | None:
    """The row of the queue that a local worker may take now."""
    found: int | None = session.scalar(SQL["head"], (queue,))
    return found


def claim_head(session: Session, queue: str, number: int, fence: int) -> list[Any]:
    """Claim it: one row, or none."""
    seq = head(session, queue)
    return [] if seq is None else session.all(SQL["claim"], (seq, number, fence))
