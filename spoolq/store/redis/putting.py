"""The put: one message in its cheapest form, or many with effects; and the markers that end with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from spoolq.errors import GuardHeld, StoreUnavailable
from spoolq.job import Message
from spoolq.store.effects import NONE, Effects
from spoolq.store.redis import encoding, forks, outcomes
from spoolq.store.redis.link import Link
from spoolq.store.redis.names import Names
from spoolq.store.redis.resp import ReplyError, encode
from spoolq.store.redis.scripts import script
from spoolq.store.redis.transport import Transport, refused, run

FREES = 1000  # markers freed by a put of many
FEW = 8  # and besides the first by a put of one
FREES_KEPT = 400_000  # some seconds' worth of a drain; what is beyond that ends with the horizon
GUESS = 0.5  # seconds that our idea of Redis's clock may be off: a marker is freed that much later, and the script still compares
HEADS = 1000  # queues whose request is kept ready

_WORDS = frozenset((b"ok", b"late", b"stale", b"guard", b"undo"))


class Putter:
    """Puts for one store. Safe for threads: what is shared are deques."""

    def __init__(self, transport: Transport, names: Names, label: str, *, resque_delayed: bool) -> None:
        self._transport = transport
        self._clock = transport.clock
        self._names = names
        self._label = label
        self._resque_delayed = resque_delayed
        self._done: deque[str] = deque(maxlen=FREES_KEPT)  # answered and not held: free them with the next put
        self._later: deque[tuple[str, float]] = deque(maxlen=FREES_KEPT)
        self._heads: dict[str, bytes] = {}
        forks.watch(self)

    def put(
        self, messages: Sequence[Message], effects: Effects, deadline: float, not_after: float | None, hold: bool, word: str
    ) -> list[bool]:
        """As `Store.put`; `deadline` is on the monotonic clock, `word` what the messages are counted as."""
        link = self._transport
        one = len(messages) == 1 and not messages[0].run_at and (effects is NONE or effects == NONE)
        # An id that may be there already goes by the script that looks before it pushes: `put` would have to take a copy back
        if one and not hold and not messages[0].given and not messages[0].front and type(link) is Link:
            return [self._put_one(link, messages[0], deadline, not_after)]
        freed = self._due(max(FREES, len(messages)))  # as many as come, or they would become ever more
        try:
            new = self._put_many(messages, effects, deadline, not_after, freed, word)
        except BaseException:
            self._again(freed)
            raise
        if not hold:
            self.done(messages, new)
        return new

    def done(self, messages: Sequence[Message], new: Sequence[bool]) -> None:
        """These were answered, and nobody will send them again: their ids may go, but those that were there or given."""
        self._done.extend(message.id for message, fresh in zip(messages, new, strict=True) if fresh and not message.given)

    def forget(self, ids: Sequence[tuple[str, float]]) -> None:
        """As `Store.forget`."""
        self._later.extend(ids)

    def flush(self, deadline: float) -> None:
        """Free what may be freed, now."""
        while freed := self._due():
            try:
                self._put_many((), NONE, deadline, None, freed, "put")
            except BaseException:
                self._again(freed)
                raise

    def probe(self, id: str, deadline: float) -> None:
        """Put twice and take away again, as a put does it, on keys of its own: the second time the script has to take its push
        back, and a user who may push and not pop is refused here. The set of queues is named and left alone: Redis looks at the
        permissions of every key that is named."""
        self._transport.open(deadline)
        limit = self._clock.at(deadline)
        args = (self._names.prefix, b"probe", encoding.moment(limit), id.encode(), b"{}")
        probe, queues = self._names.probe, self._names.probe_queues
        keys = (
            probe,
            self._names.markers,
            queues,
            queues + b":idle",
            self._names.probe_tally,
            self._names.queues,
            self._names.tally,
        )
        try:
            for freed in ((), (id.encode(), b"0")):
                reply = run(self._transport, script("put"), keys, (*args, *freed), deadline, _put_said)
                if reply == -2:
                    raise outcomes.unavailable(outcomes.NOPERM_UNDO, self._label)
                self._one(reply)
        except BaseException:
            self._later.append((id, limit))
            raise
        reply = self._transport.call((b"DEL", probe, queues), deadline)
        if isinstance(reply, ReplyError):
            raise refused(reply, self._label)

    def after_fork(self) -> None:
        """In the child: the parent frees what it put."""
        self._done.clear()
        self._later.clear()

    # one

    def _put_one(self, link: Link, message: Message, deadline: float, not_after: float | None) -> bool:
        if "\n" in message.id:
            encoding.check(message.queue, message.id)
        freed = self._few()
        limit = 0.0
        evaluate = False

        def build() -> bytes:
            nonlocal limit
            limit = self._clock.at(deadline) if not_after is None else not_after
            id, payload = message.id.encode(), message.payload
            head = self._head(message, evaluate) if evaluate else self._heads.get(message.queue) or self._head(message)
            data = b"*%d\r\n%b$17\r\n%017.6f\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
                13 + 2 * len(freed), head, limit, len(id), id, len(payload), payload
            )  # fmt: skip
            for one, after in freed:
                old = one.encode()
                data += b"$%d\r\n%b\r\n$17\r\n%017.6f\r\n" % (len(old), old, after)
            return data

        try:
            reply = link.request(build, deadline, _put_said)
            if isinstance(reply, ReplyError) and reply.text.startswith("NOSCRIPT"):
                evaluate = True
                reply = link.request(build, deadline, _put_said)
            new = self._one(reply)
        except BaseException as error:
            self._again(freed)
            if isinstance(error, StoreUnavailable) and error.maybe_applied:
                error.not_after = limit
            raise
        if new:  # an id that was there is somebody else's to free
            self._done.append(message.id)
        return new

    def _head(self, message: Message, evaluate: bool = False) -> bytes:
        """All of the request that is the same for every message of a queue, after the number of its parts."""
        encoding.check(message.queue, message.id)
        queue, put = message.queue, script("put")
        head = encode((
            *((b"EVAL", put.text) if evaluate else (b"EVALSHA", put.sha)), b"5",
            self._names.queue(queue), self._names.markers, self._names.queues, self._names.idle(queue), self._names.tally,
            self._names.prefix, queue.encode(),
        ))  # fmt: skip
        head = head[head.index(b"\r\n") + 2 :]
        if not evaluate and len(self._heads) < HEADS:
            self._heads[queue] = head
        return head

    def _one(self, reply: Any) -> bool:
        if reply == 1:
            return True
        if isinstance(reply, ReplyError):
            raise refused(reply, self._label)
        if reply == -1:
            raise self._late()
        if reply == -2:
            raise outcomes.unavailable(outcomes.UNDO, self._label, maybe=True)
        return bool(reply)

    # many

    def _put_many(
        self,
        messages: Sequence[Message],
        effects: Effects,
        deadline: float,
        not_after: float | None,
        freed: Sequence[tuple[str, float]],
        word: str,
    ) -> list[bool]:
        if not_after is None:
            self._transport.open(deadline)  # or there would be no Redis's clock to speak of
            not_after = self._clock.at(deadline)
        args = [
            encoding.moment(not_after),
            word.encode(),
            *encoding.messages(messages, resque_delayed=self._resque_delayed, marked=True),
            *encoding.effects(effects),
            *encoding.frees(freed),
        ]
        try:
            reply = run(self._transport, script("put_many"), (self._names.markers,), args, deadline, known)
            if isinstance(reply, ReplyError):
                raise refused(reply, self._label)
            if reply[0] == b"late":
                raise self._late()
            answer = outcome(reply, self._label)[1]
        except StoreUnavailable as error:
            if error.maybe_applied:
                error.not_after = not_after
            raise
        return [flag == 49 for flag in answer]  # the digit 1

    def _late(self) -> StoreUnavailable:
        self._clock.doubt()
        return outcomes.unavailable(outcomes.LATE, self._label)

    # markers

    def _few(self) -> list[tuple[str, float]]:
        """What goes along with one put: mostly the id of the one before."""
        try:
            first = self._done.pop()
        except IndexError:
            return self._due(FEW) if self._later else []
        if not self._done and not self._later:
            return [(first, 0.0)]
        return [(first, 0.0), *self._due(FEW)]

    def _due(self, most: int = FREES) -> list[tuple[str, float]]:
        due: list[tuple[str, float]] = []
        now = self._clock.now() - GUESS
        try:
            while len(due) < most and self._done:
                due.append((self._done.pop(), 0.0))
            while len(due) < most and self._later and self._later[0][1] < now:
                due.append(self._later.popleft())
        except IndexError:
            pass  # another thread was faster
        return due

    def _again(self, freed: Sequence[tuple[str, float]]) -> None:
        for id, after in freed:
            if after:
                self._later.append((id, after))
            else:
                self._done.append(id)


def _put_said(reply: Any) -> bool:
    return isinstance(reply, int) and -2 <= reply <= 1


def known(reply: Any) -> bool:
    """Whether a reply is one of those that the scripts give."""
    return isinstance(reply, list) and bool(reply) and reply[0] in _WORDS


def outcome(reply: Any, label: str) -> list[Any]:
    """The reply of a script that takes effects. Raises GuardHeld, or StoreUnavailable."""
    if isinstance(reply, ReplyError):
        raise refused(reply, label)
    if reply[0] == b"guard":
        raise GuardHeld(reply[1].decode(), reply[2].decode("utf-8", "replace"))
    if reply[0] == b"undo":
        raise outcomes.unavailable(outcomes.UNDO, label, reply[1].decode("utf-8", "replace"), maybe=True)
    return list(reply)
