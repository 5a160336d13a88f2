"""Settling claims, each verb within the transaction of its caller. A token that is no longer held settles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from spoolq.job import Claim
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.rows import SQL, checksum
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.tokens import split
from spoolq.store.tally import ending

_FAILURES = statements("failures")


def each(session: Session, tokens: Sequence[str], *steps: tuple[str, tuple[object, ...]]) -> tuple[str, ...]:
    """Run the steps (statement, values after seq and fence) for every token. Returns the tokens whose last step changed no row.

    All are first tried in one go, several times faster; only when one was lost are they done again one by one, to tell which.
    """
    keys = [split(token) for token in tokens]
    if len(keys) > 1:
        session.execute("SAVEPOINT many")
        for sql, values in steps:
            changed = session.executemany(sql, [(*key, *values) for key in keys] if values else keys).rowcount
        if changed < len(keys):
            session.execute("ROLLBACK TO many")
        session.execute("RELEASE many")
        if changed == len(keys):
            return ()
    lost = []
    for token, key in zip(tokens, keys, strict=True):
        for sql, values in steps:
            changed = session.execute(sql, (*key, *values)).rowcount
        if not changed:
            lost.append(token)
    return tuple(lost)


def ack(session: Session, claims: Sequence[Claim], also: effects.Prepared) -> tuple[str, ...]:
    """These are done. Returns the tokens no longer held. When that is all of them, the effects don't happen."""
    lost = _delete(session, claims)
    counted(session, claims, lost, ending(also.effects.counters, "done"))
    if len(lost) < len(claims) or not claims:
        effects.apply(session, also)
    return lost


def counted(session: Session, claims: Iterable[Claim], lost: Iterable[str], word: str) -> None:
    """In the tally, those that were not lost."""
    over = Counter(lost)
    for claim in claims:
        if over[claim.token]:
            over[claim.token] -= 1  # a token that was named twice is lost once
        else:
            session.tally(word, claim.queue)


def fail(session: Session, claim: Claim, failed: tuple[str, int, bytes], also: effects.Prepared) -> bool:
    """Out of the queue and into the log (id, time, entry). Returns False, and does nothing, when it is no longer held."""
    if _delete(session, [claim]):
        return False
    session.tally("failed", claim.queue)
    session.execute(_FAILURES["add"], failed)
    effects.apply(session, also)
    return True


def retry(session: Session, claim: Claim, payload: bytes, at: float, also: effects.Prepared) -> bool:
    """Back into its queue with this payload. Returns False, and does nothing, when it is no longer held."""
    seq, fence = split(claim.token)
    held = session.one(SQL["held"], (seq, fence))
    if held is None:
        return False
    run_at = max(0, micros(at))
    session.execute(SQL["retry"], (seq, fence, payload, checksum(held[0], held[1], payload), run_at, session.now))
    session.woke = session.woke or run_at <= session.now
    effects.apply(session, also)
    return True


def release(session: Session, claims: Sequence[Claim]) -> tuple[str, ...]:
    """Back where they were: their number in the order of arrival puts them at the front. Returns the tokens no longer held."""
    lost = each(session, [claim.token for claim in claims], (SQL["release"], (session.now,)))
    session.woke = session.woke or len(lost) < len(claims)
    return lost


def _delete(session: Session, claims: Sequence[Claim]) -> tuple[str, ...]:
    """The rows, gone; their ids remembered where that is due."""
    settings = session.settings
    session.woke = session.woke or settings.role == "spool"  # where order is kept, the next of the queue may go
    until = session.now + micros(settings.remember)
    return each(
        session,
        [claim.token for claim in claims],
        (SQL["remember"], (until, int(settings.role == "spool"))),
        (SQL["delete"], ()),
    )
