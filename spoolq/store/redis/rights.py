"""What spoolq asks of Redis, command by command, and what of it this user may not: the trap of a login with few permissions.

The commands are those of the scripts and of this package; a test holds the list to them. Each has arguments with which it does
nothing: a key that isn't there, or a number that is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from spoolq.errors import StoreUnavailable
from spoolq.store.looking import Denied
from spoolq.store.redis.names import Names
from spoolq.store.redis.resp import ReplyError
from spoolq.store.redis.scripts import script
from spoolq.store.redis.transport import Transport, refused, run

SCRIPTED: Mapping[str, str] = {  # K stands for the key
    **dict.fromkeys(("DEL", "EXISTS", "GET", "HGETALL", "HKEYS", "HLEN", "HVALS", "LLEN", "LPOP", "MGET", "PTTL", "RPOP"), "K"),
    **dict.fromkeys(("SCARD", "SMEMBERS", "SPOP", "UNLINK", "ZCARD"), "K"),
    **dict.fromkeys(("EXPIRE", "PEXPIRE"), "K 1"),
    **dict.fromkeys(("HDEL", "HEXISTS", "HGET", "HMGET", "HSTRLEN"), "K f"),
    **dict.fromkeys(("LPUSH", "RPUSH", "SADD", "SET", "SISMEMBER", "SREM", "ZMSCORE", "ZREM", "ZSCORE"), "K v"),
    **dict.fromkeys(("HSCAN", "SSCAN", "ZSCAN", "LINDEX"), "K 0"),
    **dict.fromkeys(("LRANGE", "LTRIM", "ZRANGE", "ZRANGEBYSCORE"), "K 0 0"),
    **dict.fromkeys(("LREM", "LSET"), "K 0 v"),
    "HINCRBY": "K f none",
    "HSET": "K f v",
    "INCRBY": "K none",
    "SCAN": "0 COUNT 1",
    "TIME": "",
    "ZADD": "K none v",
}
DIRECT: Mapping[str, str] = {"BLPOP": "K 0.01", "EVAL": "return 0 K", "EVALSHA": "none 0"}
"""Not allowed in a script. That EVAL and EVALSHA may be used is shown by the question itself."""

OPTIONAL: Mapping[str, str] = {"INFO": "server", "CONFIG": "GET save", "WAIT": "0 1", "WAITAOF": "0 0 1", "SCRIPT": "EXISTS none"}
"""Without these a doctor or a drainer knows less, and `confirm` can't be had."""

KEYS = (
    *("queues", "queue:*", "failed", "stat:*", "worker:*", "workers", "pause-all-workers", "spoolq:*"),
    *("delayed_queue_schedule", "delayed:*", "timestamps:*", "resque_scheduler_leader_lock"),
)
READS, WRITES = ("EXISTS", "LLEN", "SCARD", "GET", "HLEN"), ("DEL", "SREM", "HDEL", "ZREM", "LREM", "UNLINK")
_NAMED = re.compile(r"'([a-zA-Z|]+)' command")


def denied(transport: Transport, names: Names, address: str, deadline: float) -> Denied:
    """See `Store.denied`. First each command on one key; then, by commands that are allowed there, the other keys."""
    key = names.prefix + b"spoolq:rights"
    every = {**SCRIPTED, **DIRECT, **OPTIONAL}
    commands = {name: _command(name, args, key) for name, args in every.items()}
    try:
        asked, no = _ask(transport, names, address, key, commands, deadline)
        if not asked:
            no |= {name for name in {**DIRECT, **OPTIONAL} if _forbidden(transport, address, commands[name], deadline)}
        probes = [_first(READS, no), _first(WRITES, no)] if asked else [_first(READS, no)]
        closed: set[str] = set()
        for probe in probes:
            if probe is None:  # none is allowed on that key: it may be the key, and the other ones as well
                closed.add("*")
                continue
            on = {pattern: _command(probe, every[probe], _some(names, pattern)) for pattern in KEYS}
            closed |= _ask(transport, names, address, key, on, deadline)[1]
    except StoreUnavailable as error:
        if error.reason != "noperm":
            raise
        if not error.server_wide:  # not even the key that names the namespace
            return Denied(_user(transport, deadline), keys=((names.prefix + b"*").decode(),))
        found = _NAMED.search(str(error))  # a script as a whole, or the first line of it
        return Denied(_user(transport, deadline), (found[1].lower() if found else "time",))
    required, optional = (sorted(name.lower() for name in no if (name in OPTIONAL) == which) for which in (False, True))
    keys = sorted((names.prefix + pattern.encode()).decode() for pattern in closed)
    return Denied(_user(transport, deadline) if no or keys else "", tuple(required), tuple(optional), tuple(keys))


def _command(name: str, args: str, key: bytes) -> list[bytes]:
    return [name.encode(), *(key if arg == "K" else arg.encode() for arg in args.split())]


def _first(names: Sequence[str], no: set[str]) -> str | None:
    return next((name for name in names if name not in no), None)


def _some(names: Names, pattern: str) -> bytes:
    return names.prefix + pattern.replace("*", "spoolq-rights").encode()


def _ask(
    transport: Transport, names: Names, address: str, key: bytes, commands: Mapping[str, Sequence[bytes]], deadline: float
) -> tuple[bool, set[str]]:
    """Whether Redis could be asked, and which of these it forbids."""
    args = [key, b"%d" % len(commands)]
    for command in commands.values():
        args += [b"%d" % len(command), *command]
    reply = run(transport, script("rights"), (names.markers,), args, deadline, lambda reply: isinstance(reply, list))
    if isinstance(reply, ReplyError):
        raise refused(reply, address)
    asked, numbers = reply
    by_number = list(commands)
    return asked == 1, {by_number[number - 1] for number in numbers}


def _forbidden(transport: Transport, address: str, command: Sequence[bytes], deadline: float) -> bool:
    """Tried outside a script."""
    try:
        reply = transport.call(command, deadline)
    except StoreUnavailable as error:  # so says an injected client
        if error.maybe_applied:
            raise
        return error.reason == "noperm"
    return isinstance(reply, ReplyError) and refused(reply, address).reason == "noperm"


def _user(transport: Transport, deadline: float) -> str:
    try:
        reply = transport.call((b"ACL", b"WHOAMI"), deadline)
    except StoreUnavailable:
        return ""
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""
