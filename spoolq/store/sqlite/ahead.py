"""Write-ahead: rows that stay although the primary has them, until it is sure not to lose them. Each verb within the transaction
of its caller.

Who watches holds nothing: rows are named by their number and their watch, and one that has gone another way is passed over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from spoolq.job import Handoff
from spoolq.store.base import Kept, Life, Watch
from spoolq.store.sqlite import effects, settling
from spoolq.store.sqlite import handoffs as spooling
from spoolq.store.sqlite.rows import GIVEN
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.statements import statements

SQL = statements("ahead")
_SECOND = 1_000_000


def keep(
    session: Session, handoffs: Sequence[Handoff], life: Life, also: effects.Prepared, known: Collection[str] = ()
) -> tuple[str, ...]:
    """As `Spool.keep`. Returns the tokens no longer held; when that is all, the effects don't happen."""
    longest = max(handoff.message.keep for handoff in handoffs)
    until = -(-(session.now + int(longest * _SECOND)) // _SECOND) * _SECOND
    key = (*life, until)
    session.execute(SQL["watch"], (session.fence(), *key))
    number = session.scalar(SQL["watch_of"], key)
    lost = settling.each(session, [handoff.token for handoff in handoffs], SQL["keep"], number)
    spooling.counted(session, handoffs, lost, known)
    if len(lost) == len(handoffs):
        session.execute(SQL["end_watch"], (number,))
    else:
        effects.apply(session, also)
    return lost


def watches(session: Session) -> list[Watch]:
    """As `Spool.watches`."""
    return [
        Watch(number, Life(run, line, progress), session.now >= until)
        for number, run, line, progress, until in session.all(SQL["watches"])
    ]


def kept(session: Session, watch: Watch, limit: int) -> list[Kept]:
    """As `Spool.kept`."""
    rows = [
        Kept(seq, id, remember == GIVEN, not_after / 1e6)
        for seq, id, remember, not_after in session.all(SQL["kept"], (watch.number, limit))
    ]
    if not rows:
        session.execute(SQL["end_watch"], (watch.number,))
    return rows


def let_go(session: Session, watch: Watch, rows: Sequence[Kept]) -> list[Kept]:
    """As `Spool.let_go`."""
    return [one for one in rows if session.execute(SQL["let_go"], (watch.number, one.row)).rowcount]


def send_again(session: Session, watch: Watch, rows: Sequence[Kept]) -> None:
    """As `Spool.send_again`."""
    for one in rows:
        for (queue,) in session.all(SQL["send_again"], (watch.number, one.row, session.now)):
            session.tally("again", queue)
            session.woke = True
