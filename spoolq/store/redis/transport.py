"""What carries a command to Redis: our own link, or a ready client that a test or an application injected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.store.redis import outcomes
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.resp import ReplyError
from spoolq.store.redis.scripts import Script

Valid = Callable[[Any], bool]


class Transport(Protocol):
    """Carries commands. An error reply is returned as a `ReplyError`; all else that fails raises StoreUnavailable."""

    clock: RedisClock

    def open(self, deadline: float) -> None:
        """Be connected, and know Redis's clock, by then (monotonic seconds)."""

    def call(self, args: Sequence[bytes], deadline: float, valid: Valid | None = None, *, patient: bool = False) -> Any:
        """One command. A reply that isn't `valid` is garbage: it may have been applied. `patient`: a reply that is arriving at
        the deadline is read to its end; for those whom no caller waits for."""

    def talk(self, commands: Sequence[Sequence[bytes]], deadline: float) -> list[Any]:
        """Several commands, one after the other on one connection."""

    def close(self) -> None:
        """Let go of the connections."""


def run(
    transport: Transport,
    which: Script,
    keys: Sequence[bytes],
    args: Sequence[bytes],
    deadline: float,
    valid: Valid,
    *,
    patient: bool = False,
) -> Any:
    """A script by its sha1; its text is sent once, within the same deadline, where Redis doesn't know it."""
    head = (b"%d" % len(keys), *keys, *args)
    reply = transport.call((b"EVALSHA", which.sha, *head), deadline, valid, patient=patient)
    if isinstance(reply, ReplyError) and reply.text.startswith("NOSCRIPT"):
        reply = transport.call((b"EVAL", which.text, *head), deadline, valid, patient=patient)
    return reply


class Injected:
    """A redis-py client (or fakeredis) that somebody else made: its time-outs and retries are theirs to set."""

    def __init__(self, client: Any, clock: RedisClock, label: str) -> None:
        if client.get_connection_kwargs().get("decode_responses") if hasattr(client, "get_connection_kwargs") else False:
            raise ConfigError("the injected client decodes responses; payloads are bytes: make it without decode_responses")
        self._client = client
        self.clock = clock
        self._label = label

    def open(self, deadline: float) -> None:
        """Measure the clock, where that is due."""
        if self.clock.stale:
            sent = self.clock.monotonic()
            reply = self._do((b"TIME",), None)
            if isinstance(reply, ReplyError):
                raise outcomes.unavailable(outcomes.of_reply(reply.text), self._label, reply.text)
            self.clock.measured(sent, reply)

    def call(self, args: Sequence[bytes], deadline: float, valid: Valid | None = None, *, patient: bool = False) -> Any:
        """Hand it to the client."""
        self.open(deadline)
        return self._do(args, valid)

    def talk(self, commands: Sequence[Sequence[bytes]], deadline: float) -> list[Any]:
        """Hand them over one by one: on which connections is the client's to say."""
        return [self.call(command, deadline) for command in commands]

    def close(self) -> None:
        """Nothing: the client isn't ours."""

    def _do(self, args: Sequence[bytes], valid: Valid | None) -> Any:
        import redis

        try:
            reply = self._client.execute_command(*args)
        except redis.exceptions.NoScriptError:
            return ReplyError("NOSCRIPT")
        except Exception as error:
            reason, not_applied = outcomes.of_exception(error, connecting=False)
            raise outcomes.unavailable(reason, self._label, str(error), maybe=not not_applied) from error
        if valid is not None and not valid(reply):
            raise outcomes.unavailable(outcomes.GARBAGE, self._label, f"the script answered {str(reply)[:60]}", maybe=True)
        return reply


def refused(reply: ReplyError, label: str) -> StoreUnavailable:
    """The error for an error reply: nothing was applied."""
    return outcomes.unavailable(outcomes.of_reply(reply.text), label, reply.text)
