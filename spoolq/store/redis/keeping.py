"""How safe what Redis answered is: which life of the server this is, what it still remembers, and what it has persisted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from spoolq.errors import StoreUnavailable
from spoolq.store.base import Life
from spoolq.store.redis import outcomes
from spoolq.store.redis.names import Names
from spoolq.store.redis.resp import ReplyError
from spoolq.store.redis.transport import Transport, refused

_FACT = re.compile(rb"^(run_id|master_replid|master_repl_offset):(\S+)", re.MULTILINE)
_ASKED = 1000
_MARGIN, _SHARE = 0.11, 0.3  # of the time, left to the answer: the server looks ten times a second whether a wait is over
_UNKNOWN = Life()
_UNTOLD = ("unsupported", "noperm")


class Keeper:
    """Asks one Redis. Deadlines are monotonic seconds."""

    def __init__(self, transport: Transport, names: Names, label: str) -> None:
        self._transport = transport
        self._clock = transport.clock
        self._names = names
        self._label = label

    def life(self, deadline: float) -> Life:
        """Run id, replication id and offset; of a server that may not be asked for them, always the same."""
        try:
            reply = self._transport.call((b"INFO",), deadline)
        except StoreUnavailable as error:  # so says an injected client
            if error.reason not in _UNTOLD:
                raise
            reply = None
        facts = dict(_FACT.findall(reply)) if isinstance(reply, bytes) else {}
        if len(facts) < 3:
            return _UNKNOWN
        return Life(facts[b"run_id"].decode(), facts[b"master_replid"].decode(), int(facts[b"master_repl_offset"]))

    def remembers(self, ids: Sequence[str], deadline: float) -> list[bool]:
        """Whether their markers are there."""
        found: list[bool] = []
        for start in range(0, len(ids), _ASKED):
            ask = self._scores(ids[start : start + _ASKED])
            reply = self._transport.call(ask, deadline, lambda r: isinstance(r, list))
            if isinstance(reply, ReplyError):
                raise refused(reply, self._label)
            found += [score is not None for score in reply]
        return found

    def persisted(self, replica: bool, deadline: float, ids: Sequence[str] = ()) -> bool | None:
        """Whether all that was applied until now is on the disk (WAITAOF), or in a replica (WAIT); and `ids` are among it.

        Both speak of the connection's own last write, so it writes something: what came before that is persisted with it. A
        server that came back empty in between would say yes as well: it is the ids that tell.
        """
        self._transport.open(deadline)
        left = deadline - self._clock.monotonic()
        wait = b"%d" % max(1, int((left - min(max(_MARGIN, left * _SHARE), left / 2)) * 1000))
        ask = (b"WAIT", b"1", wait) if replica else (b"WAITAOF", b"1", b"0", wait)
        write = (b"SET", self._names.persisted, b"1", b"EX", b"60")
        try:
            written, reply, *there = self._transport.talk((write, ask, *([self._scores(ids)] if ids else ())), deadline)
        except StoreUnavailable as error:
            if error.reason not in _UNTOLD:
                raise
            return None
        if isinstance(written, ReplyError):
            raise refused(written, self._label)
        known = all(isinstance(scores, list) and None not in scores for scores in there)
        return _count(reply) if known else False

    def _scores(self, ids: Sequence[str]) -> tuple[bytes, ...]:
        return (b"ZMSCORE", self._names.markers, *(id.encode() for id in ids))

    def unconfirmed(self) -> StoreUnavailable:
        """The error for a put that was answered and not confirmed: it is applied, for what that is worth."""
        error = outcomes.unavailable(outcomes.UNCONFIRMED, self._label)
        error.maybe_applied, error.not_after = True, self._clock.now()
        return error


def _count(reply: Any) -> bool | None:
    """What WAIT (a number) or WAITAOF (a number for here, one for the replicas) says. An error: unknown command, no such file."""
    if isinstance(reply, list) and reply:
        reply = reply[0]
    return reply >= 1 if isinstance(reply, int) else None
