"""Outcomes that a worker can't tell its primary now, in this host's spool as well as in its memory: a worker that is killed takes
none of them along."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from spoolq import wire
from spoolq.errors import ConfigError, StoreError
from spoolq.job import Claim
from spoolq.outcome import Done, Failed, Outcome, RetryLater
from spoolq.store.effects import decode, encode
from spoolq.store.journal import Settlement, Settlements

log = logging.getLogger("spoolq.worker")

LEASE = 8.0
"""Seconds for which whoever holds an entry is left to tell it: longer than a call to a store that doesn't answer takes, and no
longer, since the lease of the claim itself is running out."""

_PATIENCE = 10.0  # seconds until a spool that could not be written is tried again


class Owed(NamedTuple):
    """What the primary is to be told of a claim. `outcome` None: put back."""

    claim: Claim
    outcome: Outcome | None


class Journal:
    """What one worker has written into `book`, under the name `holder`. For one thread.

    Best effort, beside the memory: where the spool can't be written this is told, and the worker goes on without it.
    """

    def __init__(self, book: Settlements, holder: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._book, self._holder, self._clock = book, holder, clock
        self._written: frozenset[str] = frozenset()
        self._hold_again = self._try_again = float("-inf")
        self._failed = False
        self._put_off: dict[str, float] = {}  # tokens of what can't be written for its own sake, and when each is tried again

    @property
    def count(self) -> int:
        """How many outcomes are written down."""
        return len(self._written)

    def keep(self, owed: Sequence[Owed], unsettled: Collection[str], *, last: bool = False) -> None:
        """Write down what of `owed` is not yet, strike out what is no longer among the tokens `unsettled`, and go on holding the
        rest. One commit at most, none where nothing changes; more only to find what can't be written for its own sake. `last`:
        nothing is held any more, others may tell it at once."""
        now = self._clock()
        self._put_off = {token: at for token, at in self._put_off.items() if at > now and not last}
        new = [one for one in owed if one.claim.token not in self._written and one.claim.token not in self._put_off]
        told = self._written.difference(unsettled)
        if not (new or told or (self._written and (last or now >= self._hold_again))) or (now < self._try_again and not last):
            return
        try:
            written = self._write(new, told, lease := 0.0 if last else LEASE)
            if len(written) < len(new) and self._written:
                self._write([], (), lease)  # those that were written before are held, or let go, all the same
            new = written
        except (StoreError, ConfigError) as error:
            if not self._failed:
                log.warning("what became of %d job(s) can't be written down, it is kept in memory: %s", len(unsettled), error)
            self._failed = True
        except Exception:
            log.exception("an error of our own; what became of %d job(s) is kept in memory alone", len(unsettled))
            self._failed = True
        else:
            self._failed = False
        if self._failed:
            self._try_again = self._clock() + _PATIENCE
            return
        if new and not self._written:
            log.info("what became of jobs, and the primary can't be told now, is written down in the spool")
        self._written = self._written.difference(told).union(one.claim.token for one in new)
        self._hold_again = now + LEASE / 3

    def _write(self, new: list[Owed], told: Collection[str], lease: float) -> list[Owed]:
        """In halves, where one has something in it that can't be written. Returns what was. Raises what is no fault of one."""
        try:
            self._book.keep(self._holder, [settlement(one) for one in new], told, lease)
        except (StoreError, ConfigError):
            raise
        except Exception:
            if not new:
                raise
            if not told and len(new) == 1:
                self._put_off[new[0].claim.token] = self._clock() + _PATIENCE
                log.exception("an error of our own; what became of a job of queue %a is kept in memory alone", new[0].claim.queue)
                return []
        else:
            return new
        middle = 0 if told else len(new) // 2
        return [*self._write(new[:middle], told, lease), *self._write(new[middle:], (), lease)]


def settlement(owed: Owed) -> Settlement:
    """As the journal holds it."""
    claim, outcome = owed
    match outcome:
        case None:
            return Settlement(claim, "release")
        case Done(counter, effects):
            return Settlement(claim, "ack", word=counter, effects=encode(effects))
        case RetryLater(payload, at, reason, effects):
            # half of a surrogate pair, as in a file's name that is no UTF-8, is nothing that the spool can hold
            word = reason.encode(errors="backslashreplace").decode()
            return Settlement(claim, "retry", payload, at, word, encode(effects))
        case Failed(failure, effects):
            return Settlement(claim, "fail", wire.encode_failure(failure), effects=encode(effects))


def owed(settlement: Settlement) -> Owed:
    """What `settlement` was made from. Raises ValueError for a verb, or an effect, that a newer spoolq wrote."""
    effects = decode(settlement.effects)
    match settlement.verb:
        case "release":
            outcome: Outcome | None = None
        case "ack":
            outcome = Done(settlement.word, effects)
        case "retry":
            outcome = RetryLater(settlement.argument, settlement.at, settlement.word, effects)
        case "fail":
            outcome = Failed(wire.decode_failure(settlement.argument), effects)
        case verb:
            raise ValueError(f"the verb {verb!r} isn't known here")
    return Owed(settlement.claim, outcome)
