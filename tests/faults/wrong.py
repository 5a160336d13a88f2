"""Set-ups that are wrong on purpose: what finds nothing in the right one must find a fault in each of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spoolq.errors import StoreUnavailable
from spoolq.store.redis import RedisStore, scripts

_READ = scripts._read
_MARKER_FIRST = b"""
if redis.call('ZADD', KEYS[2], 'NX', redis.call('TIME')[1], ARGV[4]) == 0 then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[5])
return 1
"""
_CHECK = b"if now > tonumber(ARGV[3]) then return -1 end"


def retries_on(q: Any) -> None:
    """A client library that tries again by itself, as redis-py does by default."""
    from redis import Redis, exceptions
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    deadline = q.settings.deadline
    client = Redis.from_url(
        q.settings.url,
        socket_timeout=deadline,
        socket_connect_timeout=deadline,
        retry=Retry(NoBackoff(), 12),
        retry_on_error=[exceptions.ConnectionError, exceptions.TimeoutError],
    )
    q._primary = RedisStore(q.settings.url, client=client, deadline=deadline)


def marker_first(_: object) -> None:
    """The id is remembered before the job is pushed, and nothing is taken back when the push fails."""
    _replace(lambda text: _MARKER_FIRST)


def no_not_after(_: object) -> None:
    """Redis runs a request however late it arrives."""
    _replace(lambda text: text.replace(_CHECK, b""))


def delete_first(drainer: Any) -> None:
    """The drainer deletes its rows, and then sends them."""

    def hand_over(handoffs: Any, not_after: float) -> None:
        drainer._spool.handed_over(handoffs)
        try:
            drainer._primary.put([h.message for h in handoffs], timeout=1.0, not_after=not_after, hold=True)
        except StoreUnavailable as error:
            drainer.progress.error = error

    drainer._hand_over = hand_over


SETUPS: dict[str, Callable[[Any], None]] = {
    "retries on": retries_on,
    "marker first": marker_first,
    "no not-after": no_not_after,
    "delete first": delete_first,
}


def _replace(change: Callable[[bytes], bytes]) -> None:
    def read(name: str) -> bytes:
        text = _READ(name)
        if name != "put":
            return text
        changed = change(text)
        assert changed != text
        return changed

    scripts._read = read
    scripts.script.cache_clear()
