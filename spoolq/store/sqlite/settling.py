"""Settling claims, each verb within the transaction of its caller. A token that is no longer held settles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spoolq.job import Claim
from spoolq.store.sqlite import effects
from spoolq.store.sqlite.rows import SQL, checksum
from spoolq.store.sqlite.session import Session, micros
from spoolq.store.sqlite.statements import statements
from spoolq.store.sqlite.tokens import form, split
from spoolq.store.tally import ending

_FAILURES = statements("failures")


class Held(NamedTuple):
    """Of some tokens: the rows that still show theirs, as runs (first, last, fence) without a gap; the tokens that no row shows;
    and whether one of the rows has an id that is to be remembered."""

    runs: list[tuple[int, int, int]]
    lost: tuple[str, ...]
    keep: bool


def held(session: Session, tokens: Sequence[str]) -> Held:
    """Which of them are. One that is named twice is held once.

    What was claimed together mostly lies together and is settled together, and a run of rows costs little more than one row.
    """
    runs: list[tuple[int, int, int]] = []
    rows = keep = 0
    for first, last, fence in _runs(tokens):
        found, kept = session.one(SQL["held_between"], (first, last, fence))
        if found == last - first + 1:
            runs.append((first, last, fence))
        elif found:
            some = ((seq, seq, fence) for seq in range(first, last + 1))
            runs += [one for one in some if session.one(SQL["held_between"], one)[0]]
        rows, keep = rows + found, keep or kept
    if rows == len(tokens):
        return Held(runs, (), bool(keep))
    left = {(seq, fence) for first, last, fence in runs for seq in range(first, last + 1)}
    lost: list[str] = []
    for token in tokens:
        if (key := split(token)) in left:
            left.remove(key)
        else:
            lost.append(token)
    return Held(runs, tuple(lost), bool(keep))


def _runs(tokens: Sequence[str]) -> Sequence[Sequence[int]]:
    if len(tokens) > 1:
        seq, fence = split(tokens[0])
        token, last = form(fence), seq + len(tokens) - 1
        if tokens[-1] == token % last and list(tokens) == [token % one for one in range(seq, last + 1)]:
            return [(seq, last, fence)]  # as most are: said without a look at each
    runs: list[list[int]] = []
    before = -2, 0  # neighbour of none
    for seq, fence in sorted({split(token) for token in tokens}):
        if before == (seq - 1, fence):
            runs[-1][1] = seq
        else:
            runs.append([seq, seq, fence])
        before = seq, fence
    return runs


def each(session: Session, tokens: Sequence[str], sql: str, *values: object) -> tuple[str, ...]:
    """Change the row of every token: `sql` is given a run (first, last, fence) and the values. Returns the tokens no longer
    held."""
    found = held(session, tokens)
    session.executemany(sql, [(*run, *values) for run in found.runs])
    return found.lost


def ack(session: Session, claims: Sequence[Claim], also: effects.Prepared) -> tuple[str, ...]:
    """These are done. Returns the tokens no longer held. When that is all of them, the effects don't happen."""
    lost = _delete(session, claims)
    counted(session, claims, lost, ending(also.effects.counters, "done"))
    if len(lost) < len(claims) or not claims:
        effects.apply(session, also)
    return lost


def counted(session: Session, claims: Sequence[Claim], lost: Iterable[str], word: str) -> None:
    """In the tally, those that were not lost: a token that was named twice is lost once."""
    tokens = Counter(lost)
    queues = Counter([claim.queue for claim in claims])
    for claim in claims if tokens else ():
        if tokens[claim.token]:
            tokens[claim.token] -= 1
            queues[claim.queue] -= 1
    for queue, jobs in queues.items():
        session.tally(word, queue, jobs)


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
    lost = each(session, [claim.token for claim in claims], SQL["release"], session.now)
    session.woke = session.woke or len(lost) < len(claims)
    return lost


def _delete(session: Session, claims: Sequence[Claim]) -> tuple[str, ...]:
    """The rows, gone; their ids remembered where that is due."""
    settings = session.settings
    session.woke = session.woke or settings.role == "spool"  # where order is kept, the next of the queue may go
    found = held(session, [claim.token for claim in claims])
    if found.keep or settings.role == "spool":
        until = session.now + micros(settings.remember)
        session.executemany(SQL["remember"], [(*run, until, int(settings.role == "spool")) for run in found.runs])
    session.executemany(SQL["delete"], found.runs)
    return found.lost
