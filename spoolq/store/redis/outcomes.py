"""The one table of what can go wrong at Redis and what it means: a reason, whether it speaks for the whole server, and
(by place, never by the text) whether the request may have been applied."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

from spoolq.errors import StoreFull, StoreUnavailable
from spoolq.store.redis.resp import GarbageError, ReplyError


class Reason(NamedTuple):
    """A short fixed word for logs, counters and the breaker, whose fault it is, and what a person can do."""

    word: str
    server_wide: bool = True
    advice: str = ""


OOM = Reason("oom", advice="Redis is full: let workers drain it, or raise maxmemory")
TIMEOUT = Reason("timeout", advice="look whether Redis is stopped or overloaded, and at the network")
CUT = Reason("cut", advice="the connection broke; look whether Redis was restarted")
GARBAGE = Reason("garbage", advice="what answers at this address doesn't speak Redis's protocol")
LATE = Reason("late", server_wide=False, advice="the request arrived after its deadline and was refused")
UNDO = Reason("undo", advice="a write failed half-way and could not be taken back; look at the user's permissions (ACL)")
UNCONFIRMED = Reason(
    "unconfirmed", advice="Redis has the job but not where `confirm` wants it; look at its append-only file, its replicas"
)
CONNECT_TIMEOUT = Reason(
    "connect_timeout", advice="no connection in time; look whether Redis hangs, at the host's name, the network and TLS"
)
CLOSED = Reason("closed", advice="the store was closed; make a new one")
NOPERM = Reason(
    "noperm", advice="the ACL user may not run spoolq's scripts; grant it what `spoolq doctor --only permissions` names"
)
NOPERM_KEY = Reason("noperm", server_wide=False, advice="the ACL user may not touch this key; grant it ~NAMESPACE:*")
NOPERM_UNDO = Reason("noperm", advice="the ACL user may push and not take back what it pushed; grant it +rpop +zrem")
ERROR = Reason("error", server_wide=False)
CONFIG = Reason("config", advice="an option of the URL is wrong")
AUTH = Reason("auth", advice="the user or password is wrong, or missing: mend SPOOLQ_URL, or the password's file")

BY_CODE: dict[str, Reason] = {
    "OOM": OOM,
    "READONLY": Reason("readonly", advice="this is a replica; point the URL at the master"),
    "MISCONF": Reason("misconf", advice="Redis can't persist and refuses writes; look at its disk and log"),
    "NOREPLICAS": Reason("noreplicas", advice="too few replicas are connected (min-replicas-to-write)"),
    "LOADING": Reason("loading", advice="Redis is reading its data from disk; wait"),
    "MASTERDOWN": Reason("masterdown", advice="this replica has lost its master"),
    "CLUSTERDOWN": Reason("clusterdown", advice="the cluster can't serve all of its slots"),
    "TRYAGAIN": Reason("tryagain", advice="a slot is being moved; it ends by itself"),
    "MOVED": Reason("cluster", server_wide=False, advice="this is a cluster: use a namespace with a hash tag, such as {resque}"),
    "ASK": Reason("cluster", server_wide=False, advice="a slot is being moved; it ends by itself"),
    "CROSSSLOT": Reason(
        "cluster", server_wide=False, advice="this is a cluster: use a namespace with a hash tag, such as {resque}"
    ),
    "NOAUTH": AUTH,
    "WRONGPASS": AUTH,
    "DENIED": Reason("protected", advice="Redis runs in protected mode; set a password, or bind it to loopback"),
    "NOPERM": NOPERM,
    "BUSY": Reason("busy", advice="a script blocks the server; SCRIPT KILL ends it"),
    "UNKILLABLE": Reason("busy", advice="a script that has written blocks the server; wait for its end, or restart Redis"),
    "WRONGTYPE": Reason("wrongtype", server_wide=False, advice="a key of this name holds something else; rename or delete it"),
}

BY_TEXT: tuple[tuple[re.Pattern[str], Reason], ...] = (
    (re.compile(r"max number of clients", re.I), Reason("maxclients", advice="raise maxclients, or find who holds connections")),
    (re.compile(r"(can't|permissions to) access .*key", re.I), NOPERM_KEY),
    (re.compile(r"executing the script can't run|no permissions to run", re.I), NOPERM),
    (re.compile(r"Protocol error: (invalid|too big|unauthenticated).*(length|bulk|mbulk)", re.I), Reason(
        "too_large", server_wide=False, advice="larger than the server takes (proto-max-bulk-len)")),
    (re.compile(r"max(imum)? (allowed )?size|exceeds maximum allowed", re.I), Reason("too_large", server_wide=False)),
    (re.compile(r"invalid (username-)?password|AUTH.*(without|no) .*password|Authentication required", re.I), AUTH),
    (re.compile(r"DB index|invalid DB", re.I), Reason("config", advice="the URL names a database that the server doesn't have")),
    (re.compile(r"unknown command|wrong number of args calling", re.I), Reason(
        "unsupported", advice="Redis 6.2 or newer, or Valkey, is needed")),
)  # fmt: skip

BY_CLASS: dict[str, Reason] = {  # redis-py strips the code from the texts of these
    "OutOfMemoryError": OOM,
    "ReadOnlyError": BY_CODE["READONLY"],
    "BusyLoadingError": BY_CODE["LOADING"],
    "MasterDownError": BY_CODE["MASTERDOWN"],
    "ClusterDownError": BY_CODE["CLUSTERDOWN"],
    "TryAgainError": BY_CODE["TRYAGAIN"],
    "MovedError": BY_CODE["MOVED"],
    "AskError": BY_CODE["ASK"],
    "ClusterCrossSlotError": BY_CODE["CROSSSLOT"],
    "AuthenticationError": AUTH,
    "AuthenticationWrongNumberOfArgsError": AUTH,
    "AuthorizationError": AUTH,
    "ExternalAuthProviderError": AUTH,
    "NoPermissionError": NOPERM,
    "MaxConnectionsError": Reason("pool", advice="the injected client's pool has no free connection"),
    "InvalidResponse": GARBAGE,
}

_REFUSED = Reason("refused", advice="start Redis, or mend the address")
_UNREACHABLE = Reason("unreachable", advice="there is no way to this host; look at the network")
_DNS = Reason("dns", advice="the host's name can't be resolved; look at the name and the resolver")
_TLS = Reason("tls", advice="the TLS handshake failed; look at the certificates, and whether the server speaks TLS there")
LOCAL = Reason("local", advice="this process is out of file descriptors, threads or memory, or is ending")
NO_DRIVER = Reason(  # out of file descriptors Python says so too: it finds no module
    "local", advice="the Redis library can't be loaded; install it anew, or look whether this process is out of file descriptors"
)

BY_ERRNO: dict[int, Reason] = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ENOENT: _REFUSED,
    errno.EACCES: _REFUSED,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.EADDRNOTAVAIL: _UNREACHABLE,
    errno.ETIMEDOUT: TIMEOUT,
    errno.EMFILE: LOCAL,
    errno.ENFILE: LOCAL,
    errno.ENOBUFS: LOCAL,
    errno.ENOMEM: LOCAL,
}

# A script's error may be wrapped: "ERR Error running script (call to f_…): @user_script:7: -OOM command not allowed…"
_WRAPPED = re.compile(r"(?:user_script|script)[^ ]*?:\s*\d+:\s*-?([A-Z]{3,})\b")
_KEYS = re.compile(r"\bkeys?\b")
_ARGUMENTS = re.compile(r",? with args beginning with.*", re.S)  # they may be a job's own


def of_reply(text: str) -> Reason:
    """What an error reply of Redis means. Nothing was applied."""
    text = text.strip().lstrip("-")
    code = text.split(" ", 1)[0]
    wrapped = _WRAPPED.search(text)
    for candidate in (code, wrapped.group(1) if wrapped else ""):
        reason = BY_CODE.get(candidate)
        if reason is NOPERM and _KEYS.search(text):
            return NOPERM_KEY
        if reason is not None:
            return reason
    return next((reason for pattern, reason in BY_TEXT if pattern.search(text)), ERROR)


def of_exception(error: BaseException, *, connecting: bool) -> tuple[Reason, bool]:
    """What an exception means, and whether nothing was applied for sure: the server said so, or nothing was sent yet.

    `connecting` is the place: no byte of the request had been handed to the socket.
    """
    for link in _chain(error):
        names = [base.__name__ for base in type(link).__mro__]
        if isinstance(link, ReplyError) or BY_CLASS.keys() & names or "ResponseError" in names:
            reason = next((BY_CLASS[name] for name in names if name in BY_CLASS), None) or of_reply(str(link))
            if reason is NOPERM and _KEYS.search(str(link)):
                reason = NOPERM_KEY
            return reason, connecting or reason is not GARBAGE
        if isinstance(link, GarbageError):
            return GARBAGE, connecting
        if isinstance(link, socket.gaierror | UnicodeError):
            return _DNS, connecting
        if isinstance(link, TimeoutError):
            return (CONNECT_TIMEOUT if connecting else TIMEOUT), connecting
        if isinstance(link, ssl.SSLError):
            return (_TLS if connecting else CUT), connecting
        if isinstance(link, OSError):
            reason = BY_ERRNO.get(link.errno or 0, CUT)
            return reason, connecting or reason in (_REFUSED, LOCAL)
    if "max number of clients" in str(error):  # redis-py makes a ConnectionError of this reply
        return of_reply(str(error)), True
    if "TimeoutError" in {base.__name__ for base in type(error).__mro__}:
        return (CONNECT_TIMEOUT if connecting else TIMEOUT), connecting
    if isinstance(error, ImportError) and connecting:
        return NO_DRIVER, True
    if isinstance(error, RuntimeError | MemoryError) and connecting:  # a process that ends can start and load no more
        return LOCAL, True
    if isinstance(error, TypeError | ValueError) and connecting:
        return CONFIG, True
    return CUT, connecting


def unavailable(reason: Reason, address: str, detail: str = "", *, maybe: bool = False) -> StoreUnavailable:
    """The error to raise. `maybe`: the request was handed to the socket and no answer came."""
    detail = _ARGUMENTS.sub("", detail).strip()[:300]
    message = f"Redis at {address}: {reason.word}{f' ({detail})' if detail else ''}"
    if maybe:
        message += "; whether it took the request isn't known"
    if reason.advice:
        message += f"; {reason.advice}"
    if reason.word == "oom":
        return StoreFull(message, reason="oom")
    return StoreUnavailable(message, reason=reason.word, maybe_applied=maybe, server_wide=reason.server_wide)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and those that it hides: redis-py wraps what the socket said."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            todo += [link.__context__, link.__cause__]
