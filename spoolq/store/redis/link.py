"""The warm connections of a process, and the one thread that makes them: no caller waits past its deadline for a resolver or a
handshake."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from spoolq.errors import StoreUnavailable
from spoolq.store.redis import forks, outcomes
from spoolq.store.redis.channel import Channel, StaleError
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.dial import Greet, dial
from spoolq.store.redis.resp import GarbageError, ReplyError, encode

WARM = 16  # connections kept; more are made when more threads ask at once, and closed after
_TIME = encode((b"TIME",))


class Link:
    """Sends requests to one Redis, each under its caller's deadline (monotonic seconds). Safe for threads and across forks.

    `budget` is what making a connection may take, in seconds, in the background. `greet` is told what `INFO memory` answers on
    the first one.
    """

    def __init__(
        self, url: str, label: str, clock: RedisClock, *, budget: float, load: Sequence[str] = (), greet: Greet | None = None
    ) -> None:
        self._url, self._label = url, label
        self.clock = clock
        self._budget = budget
        self._load = tuple(load)
        self._greet = greet
        self._idle: deque[Channel] = deque()
        self._all: weakref.WeakSet[Channel] = weakref.WeakSet()  # those in use too, for the child of a fork
        self._closed = False
        self._fault: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._fresh()
        forks.watch(self)

    def call(
        self,
        args: Sequence[bytes],
        deadline: float,
        valid: Callable[[Any], bool] | None = None,
        *,
        patient: bool = False,
    ) -> Any:
        """One command. An error reply is returned as a `ReplyError`. `patient`: a reply that is arriving at the deadline is read
        to its end. Raises StoreUnavailable."""
        return self.request(lambda: encode(args), deadline, valid, patient=patient)

    def talk(self, commands: Sequence[Sequence[bytes]], deadline: float) -> list[Any]:
        """Several commands, one after the other on one connection. Their replies as by `call`. Raises StoreUnavailable."""
        data = b"".join(encode(command) for command in commands)
        reply: list[Any] | ReplyError = self.request(lambda: data, deadline, replies=len(commands))
        return [reply] * len(commands) if isinstance(reply, ReplyError) else reply

    def open(self, deadline: float) -> None:
        """See to it that there is a connection, and Redis's clock known. Raises StoreUnavailable."""
        self._give(self._take(deadline))

    def request(
        self,
        build: Callable[[], bytes],
        deadline: float,
        valid: Callable[[Any], bool] | None = None,
        *,
        replies: int = 0,
        patient: bool = False,
    ) -> Any:
        """Send what `build` makes (called once there is a connection, so that Redis's clock is known) and return the reply, or
        with `replies` a list of so many.

        A reply that isn't `valid` ends the connection and raises, as garbage does, with `maybe_applied`.
        """
        data = None
        while True:
            channel = self._take(deadline)
            if data is None:
                try:
                    data = build()
                except BaseException:
                    self._give(channel)
                    raise
            channel.patient = patient
            try:
                if replies:
                    reply, fit = channel.exchange_many(data, deadline, replies), True
                elif self.clock.stale:
                    reply, fit = self._and_time(channel, data, deadline)
                else:
                    reply, fit = channel.exchange(data, deadline), True
                if valid is not None and not isinstance(reply, ReplyError) and not valid(reply):
                    raise GarbageError(f"the answer was {str(reply)[:60]}")
            except StaleError:
                channel.close()
            except ReplyError as refusal:  # said before the whole request was sent; the server closes after it
                channel.close()
                return refusal
            except Exception as error:
                channel.close()
                raise self._translate(error, channel.sent) from error
            except BaseException:
                channel.close()
                raise
            else:
                if fit:
                    self._give(channel)
                else:
                    channel.close()
                return reply

    def close(self) -> None:
        """Close what is warm. What is asked for afterwards is refused."""
        self._closed = True
        with self._changed:
            self._changed.notify_all()
        self._drop()

    # connections

    def _take(self, deadline: float) -> Channel:
        try:
            return self._idle.pop()
        except IndexError:
            return self._wait(deadline)

    def _give(self, channel: Channel) -> None:
        if self._closed or len(self._idle) >= WARM:
            channel.close()
            return
        self._idle.append(channel)
        if self._waiters:
            with self._changed:
                self._changed.notify()

    def _wait(self, deadline: float) -> Channel:
        with self._changed:
            seen = self._faults
            self._waiters += 1
            try:
                while True:
                    with contextlib.suppress(IndexError):
                        return self._idle.pop()
                    if self._closed:
                        raise outcomes.unavailable(outcomes.CLOSED, self._label)
                    if self._faults != seen:
                        raise self._translate(self._fault or EOFError(), sent=False) from self._fault
                    if self._thread is None:
                        thread = threading.Thread(target=self._connect, name="spoolq-connect", daemon=True)
                        try:
                            thread.start()
                        except RuntimeError as error:  # this process may have no more, or is ending
                            raise outcomes.unavailable(outcomes.LOCAL, self._label, str(error)) from error
                        self._thread = thread
                    left = deadline - self.clock.monotonic()
                    if left <= 0:
                        raise outcomes.unavailable(outcomes.CONNECT_TIMEOUT, self._label)
                    self._changed.wait(left)
            finally:
                self._waiters -= 1

    def _connect(self) -> None:
        """Make connections for as long as somebody waits for one. The only thread that may hang in the resolver."""
        while True:
            channel, fault = None, None
            try:
                channel = dial(self._url, self.clock, self._budget, self._load, self._greet)
                self._greet = None
            except Exception as error:
                fault = error
            with self._changed:
                if channel is not None and self._closed:
                    channel.close()
                elif channel is not None:
                    self._all.add(channel)
                    self._idle.append(channel)
                else:
                    self._fault = fault
                    self._faults += 1
                if fault or self._closed or len(self._idle) >= self._waiters:
                    self._thread = None
                    self._changed.notify_all()
                    return
                self._changed.notify()

    def _and_time(self, channel: Channel, data: bytes, deadline: float) -> tuple[Any, bool]:
        """The same, with `TIME` in its wake. Where that fails the answer still counts, and the connection ends."""
        sent = self.clock.monotonic()
        channel.send(data + _TIME, deadline)
        reply = channel.next()
        try:
            self.clock.measured(sent, channel.last())
        except Exception:
            return reply, False
        return reply, True

    def _translate(self, error: BaseException, sent: bool) -> StoreUnavailable:
        reason, not_applied = outcomes.of_exception(error, connecting=not sent)
        return outcomes.unavailable(reason, self._label, str(error), maybe=not not_applied)

    # forks

    def _fresh(self) -> None:
        self._changed = threading.Condition()
        self._waiters = 0
        self._faults = 0
        self._fault = None
        self._thread = None

    def _drop(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()

    def after_fork(self) -> None:
        """In the child: the parent's connections are not ours to use or to end, and its threads didn't come along."""
        for channel in list(self._all):
            channel.abandon()
        self._idle.clear()
        self._all.clear()
        self._fresh()
        self.clock.doubt()
