"""Making a connection: redis-py connects, negotiates and authenticates; then the socket is ours."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from spoolq.importing import importing
from spoolq.store.redis.channel import Channel
from spoolq.store.redis.clock import RedisClock
from spoolq.store.redis.resp import ReplyError, encode
from spoolq.store.redis.scripts import script

_OURS = ("max_connections", "timeout", "retry_on_timeout", "retry_on_error", "health_check_interval", "socket_read_size")


Greet = Callable[[Any], None]


def dial(url: str, clock: RedisClock, budget: float, load: Sequence[str] = (), greet: Greet | None = None) -> Channel:
    """A connection on which `load` (names of scripts) is known and Redis's clock measured. `greet` is told what `INFO memory`
    answers.

    May take longer than `budget` seconds where a name has several dead addresses or the resolver hangs, so it never runs on a
    caller's thread. Raises what the driver raises, or `ReplyError`.
    """
    with importing():
        import encodings.idna  # noqa: F401  # by the first look-up of a name, otherwise

        import redis.connection as driver
        from redis.backoff import NoBackoff
        from redis.retry import Retry

    options: dict[str, Any] = driver.parse_url(url)  # type: ignore[no-untyped-call,unused-ignore]
    make = options.pop("connection_class", driver.Connection)
    for name in _OURS:
        options.pop(name, None)
    protocol = int(options.pop("protocol", 2))
    if protocol not in (2, 3):
        raise ValueError(f"protocol={protocol}: 2 or 3")
    options.setdefault("client_name", "spoolq")
    options |= {
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": budget,
        "socket_connect_timeout": budget,
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": protocol,  # 3 if the URL says so: a put's answer is the same, and a handshake costs a HELLO more
    }
    with importing():
        connection = make(**options)  # newer drivers look their own version up, and load `email` for that
    try:
        connection.connect()
        sock: socket.socket = connection._sock
        connection._sock = None
    finally:
        connection.disconnect()
    channel = Channel(sock)
    try:
        _prepare(channel, clock, budget, load, greet)
    except BaseException:
        channel.close()
        raise
    return channel


def _prepare(channel: Channel, clock: RedisClock, budget: float, load: Sequence[str], greet: Greet | None) -> None:
    """One round trip. A script that can't be loaded now is sent with its text when it is needed."""
    loads = [encode((b"SCRIPT", b"LOAD", script(name).text)) for name in load]
    info = [] if greet is None else [encode((b"INFO", b"memory"))]
    sent = clock.monotonic()
    channel.send(b"".join([*loads, *info, encode((b"TIME",))]), sent + budget)
    for _ in loads:
        channel.next()
    said = None if greet is None else channel.next()
    reply = channel.last()
    if isinstance(reply, ReplyError):
        raise reply
    clock.measured(sent, reply)
    if greet is not None:
        greet(said)
