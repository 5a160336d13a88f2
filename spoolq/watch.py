"""Write-ahead, its second half: the rows that the primary has already, watched until it is sure not to lose them.

A row that is kept goes when its time is up, the primary says that it has persisted what it took (where it can say so), and it
still remembers the id. The row goes back to be sent again when the primary comes back in another life, or has forgotten the id:
its marker answers "dup" where nothing was lost. Anybody may watch any row, several at once: nothing is claimed.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from spoolq.store.base import MAX_ROWS, Kept, Life, Spool, Store, Watch

log = logging.getLogger("spoolq.watch")


class Watcher:
    """Watches over the kept rows of a spool, whoever handed them over.

    replica   whether a row waits for a replica to have it, instead of the primary's own disk
    timeout   seconds that one question to the primary may take
    idle      seconds between looks
    """

    def __init__(
        self,
        spool: Spool,
        primary: Store,
        *,
        replica: bool = False,
        timeout: float = 2.0,
        idle: float = 1.0,
        rng: random.Random | None = None,
    ) -> None:
        self._spool, self._primary = spool, primary
        self._replica, self._timeout, self._idle = replica, timeout, idle
        self._rng = rng or random.Random()
        self._told = False

    def turn(self) -> float:
        """One look at every kept row's batch. Returns the seconds to the next one. Raises StoreUnavailable: nothing is known
        then, and every row stays."""
        pause = self._idle * self._rng.uniform(0.8, 1.2)  # the processes of a host needn't all look at once
        watches = self._spool.watches()
        if not watches:
            return pause
        life = self._primary.life(self._timeout)
        gone = [watch for watch in watches if not life.continues(watch.life)]
        for watch in gone:
            self._send_again(watch)
        due = [watch for watch in watches if watch.due and watch not in gone]
        if due and self._persisted():
            for watch in due:
                self._end(watch, life)
        return pause

    def _persisted(self) -> bool:
        """Whether what was handed over until now is persisted; where nobody can tell, time alone decides."""
        said = self._primary.persisted(replica=self._replica, timeout=self._timeout)
        if said is None and not self._told:
            self._told = True
            log.info("Redis can't tell what it has persisted (no WAITAOF, no append-only file): rows are kept for a time alone")
        return said is not False

    def _send_again(self, watch: Watch) -> None:
        sent = 0
        while rows := self._spool.kept(watch, MAX_ROWS):
            self._spool.send_again(watch, rows)
            sent += len(rows)
        if sent:
            log.warning(
                "Redis was restarted, failed over or went back since it took %d job(s): they are sent again from the spool, "
                "and queued again where it has lost them",
                sent,
            )

    def _end(self, watch: Watch, life: Life) -> None:
        """Let the rows go whose ids the primary still has, and send the others again; all as of one life, in which it said that
        it has persisted them."""
        while rows := self._spool.kept(watch, MAX_ROWS):
            there = self._primary.remembers([row.id for row in rows])
            if not self._primary.life(self._timeout).continues(life):
                return  # the next turn sees to it
            self._let_go(watch, [row for row, known in zip(rows, there, strict=True) if known])
            lost = [row for row, known in zip(rows, there, strict=True) if not known]
            self._spool.send_again(watch, lost)
            if lost:
                log.warning("Redis has lost %d job(s) that it had taken: they are sent again from the spool", len(lost))

    def _let_go(self, watch: Watch, rows: Sequence[Kept]) -> None:
        # Not the ids of those that another has sent again meanwhile: their ids, in Redis, belong to the attempts that follow
        gone = self._spool.let_go(watch, rows)
        self._primary.forget([(row.id, row.not_after) for row in gone if not row.given])
