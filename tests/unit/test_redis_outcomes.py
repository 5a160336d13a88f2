"""The table of outcomes, a test for each row: what was said, whose fault it is, and whether it may have been applied."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest
import redis.exceptions as driver

from spoolq.errors import StoreFull, StoreUnavailable
from spoolq.store.redis import outcomes
from spoolq.store.redis.resp import GarbageError, ReplyError

REPLIES = [  # text as servers 6.2 to 9.1 say it, reason, server-wide
    ("OOM command not allowed when used memory > 'maxmemory'.", "oom", True),
    ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "oom", True),
    ("ERR Error running script (call to f_1a): @user_script:4: @user_script: 4: -OOM command not allowed", "oom", True),
    ("READONLY You can't write against a read only replica.", "readonly", True),
    ("ERR Error running script: @user_script: 7: -READONLY You can't write", "readonly", True),
    ("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.", "misconf", True),
    ("NOREPLICAS Not enough good replicas to write.", "noreplicas", True),
    ("LOADING Redis is loading the dataset in memory", "loading", True),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "masterdown", True),
    ("CLUSTERDOWN Hash slot not served", "clusterdown", True),
    ("TRYAGAIN Multiple keys request during rehashing of slot", "tryagain", True),
    ("MOVED 3999 127.0.0.1:6381", "cluster", False),
    ("CROSSSLOT Keys in request don't hash to the same slot", "cluster", False),
    ("NOAUTH Authentication required.", "auth", True),
    ("WRONGPASS invalid username-password pair or user is disabled.", "auth", True),
    ("ERR AUTH <password> called without any password configured for the default user.", "auth", True),
    ("DENIED Redis is running in protected mode because protected mode is enabled", "protected", True),
    ("NOPERM User u has no permissions to run the 'evalsha' command", "noperm", True),
    ("NOPERM this user has no permissions to run the 'evalsha' command", "noperm", True),
    ("NOPERM No permissions to access a key", "noperm", False),
    ("ERR The user executing the script can't access at least one of the keys mentioned", "noperm", False),
    ("ERR The user executing the script can't run this command or subcommand", "noperm", True),
    ("ERR max number of clients reached", "maxclients", True),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", "busy", True),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", "wrongtype", False),
    ("ERR Protocol error: invalid bulk length", "too_large", False),
    ("ERR string exceeds maximum allowed size (proto-max-bulk-len)", "too_large", False),
    ("ERR DB index is out of range", "config", True),
    ("ERR unknown command 'EVALSHA', with args beginning with: 'secret'", "unsupported", True),
    ("ERR something else", "error", False),
]


@pytest.mark.parametrize(("text", "reason", "server_wide"), REPLIES)
def test_an_error_reply_was_not_applied(text: str, reason: str, server_wide: bool) -> None:
    for connecting in (True, False):
        found, not_applied = outcomes.of_exception(ReplyError(text), connecting=connecting)
        assert (found.word, found.server_wide, not_applied) == (reason, server_wide, True)


CONNECTING = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "refused"),
    (FileNotFoundError(errno.ENOENT, "no socket"), "refused"),
    (PermissionError(errno.EACCES, "no"), "refused"),
    (socket.gaierror(-2, "Name or service not known"), "dns"),
    (UnicodeError("label too long"), "dns"),
    (TimeoutError("timed out"), "connect_timeout"),
    (ssl.SSLCertVerificationError("self-signed"), "tls"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "cut"),
    (OSError(errno.EHOSTUNREACH, "no route"), "unreachable"),
    (OSError(errno.ENETUNREACH, "no network"), "unreachable"),
    (OSError(errno.EMFILE, "too many files"), "local"),
    (ModuleNotFoundError("No module named 'async_timeout'"), "local"),
    (RuntimeError("can't register atexit after shutdown"), "local"),
    (MemoryError(), "local"),
    (EOFError("closed"), "cut"),
    (GarbageError("HTTP"), "garbage"),
    (TypeError("unexpected keyword argument"), "config"),
]


@pytest.mark.parametrize(("error", "reason"), CONNECTING)
def test_before_a_byte_was_sent_nothing_was_applied(error: Exception, reason: str) -> None:
    found, not_applied = outcomes.of_exception(error, connecting=True)
    assert (found.word, not_applied) == (reason, True)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("no answer in time"), "timeout"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "cut"),
        (BrokenPipeError(errno.EPIPE, "pipe"), "cut"),
        (ssl.SSLError("record layer failure"), "cut"),
        (EOFError("closed"), "cut"),
        (GarbageError("HTTP"), "garbage"),
        (OSError(errno.ETIMEDOUT, "keepalive"), "timeout"),
        (RuntimeError("anything else"), "cut"),
    ],
)
def test_after_a_byte_was_sent_it_may_have_been(error: Exception, reason: str) -> None:
    found, not_applied = outcomes.of_exception(error, connecting=False)
    assert (found.word, not_applied) == (reason, False)


def wrapped(kind: type[Exception], cause: BaseException) -> Exception:
    """As redis-py does it: a class of its own around what the socket said."""
    try:
        try:
            raise cause
        except BaseException:
            raise kind(f"Error connecting: {cause}")  # noqa: B904
    except kind as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason", "not_applied"),
    [
        (driver.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "oom", True),
        (driver.ReadOnlyError("You can't write against a read only replica."), "readonly", True),
        (driver.BusyLoadingError("Redis is loading the dataset in memory"), "loading", True),
        (driver.MasterDownError("Link with MASTER is down"), "masterdown", True),
        (driver.ClusterDownError("Hash slot not served"), "clusterdown", True),
        (driver.TryAgainError("Multiple keys request"), "tryagain", True),
        (driver.AuthenticationError("invalid username-password pair"), "auth", True),
        (driver.NoPermissionError("User u has no permissions to run the 'evalsha' command"), "noperm", True),
        (driver.ResponseError("NOREPLICAS Not enough good replicas to write."), "noreplicas", True),
        (driver.ResponseError("WRONGTYPE Operation against a key"), "wrongtype", True),
        (driver.ConnectionError("max number of clients reached"), "maxclients", True),
        (driver.InvalidResponse("Protocol Error"), "garbage", False),
        (driver.MaxConnectionsError("Too many connections"), "pool", True),
        (driver.TimeoutError("Timeout reading from socket"), "timeout", False),
        (driver.ConnectionError("Connection closed by server."), "cut", False),
        (wrapped(driver.ConnectionError, ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "refused", True),
        (wrapped(driver.ConnectionError, ConnectionResetError(errno.ECONNRESET, "reset")), "cut", False),
    ],
)
def test_an_injected_clients_errors(error: Exception, reason: str, not_applied: bool) -> None:
    found, surely = outcomes.of_exception(error, connecting=False)
    assert (found.word, surely) == (reason, not_applied)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (wrapped(driver.ConnectionError, socket.gaierror(-2, "Name or service not known")), "dns"),
        (wrapped(driver.TimeoutError, TimeoutError("timed out")), "connect_timeout"),
        (wrapped(driver.ConnectionError, ssl.SSLError("handshake")), "tls"),
        (driver.TimeoutError("Timeout connecting to server"), "connect_timeout"),
        (driver.AuthenticationError("invalid username-password pair"), "auth"),
    ],
)
def test_the_drivers_errors_while_connecting(error: Exception, reason: str) -> None:
    found, not_applied = outcomes.of_exception(error, connecting=True)
    assert (found.word, not_applied) == (reason, True)


def test_a_noperm_by_class_looks_at_what_was_forbidden() -> None:
    error = driver.NoPermissionError("User u has no permissions to access one of the keys used as arguments")
    assert not outcomes.of_exception(error, connecting=False)[0].server_wide


def test_every_errno_of_the_table_exists() -> None:
    assert all(os.strerror(number) for number in outcomes.BY_ERRNO)


def test_out_of_memory_is_full() -> None:
    error = outcomes.unavailable(outcomes.OOM, "redis://h:6379/0", "OOM command not allowed")
    assert isinstance(error, StoreFull)
    assert error.reason == "oom"
    assert not error.maybe_applied


def test_the_message_names_place_reason_and_remedy_and_no_arguments() -> None:
    text = "ERR unknown command 'EVALSHA', with args beginning with: 'my secret'"
    error = outcomes.unavailable(outcomes.of_reply(text), "redis://h:6379/0", text)
    assert isinstance(error, StoreUnavailable)
    assert "redis://h:6379/0" in str(error)
    assert "unsupported" in str(error)
    assert "Redis 6.2 or newer" in str(error)
    assert "secret" not in str(error)


def test_doubt_is_said() -> None:
    error = outcomes.unavailable(outcomes.TIMEOUT, "redis://h:6379/0", maybe=True)
    assert error.maybe_applied
    assert "isn't known" in str(error)
