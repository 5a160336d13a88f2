"""From errors to exit codes and words, in one place."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import click

from spoolq.errors import (
    ConfigError,
    EnqueueError,
    MaybeStored,
    NoPlace,
    SpoolDamaged,
    SpoolqError,
    StoreFull,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
PROBLEM, UNREACHABLE, CANT_CREATE, TRY_LATER, BAD_CONFIG = 1, 69, 73, 75, 78


class Fault(click.ClickException):
    """An expected fault: one or two lines on standard error, and an exit code."""

    def __init__(self, message: str, code: int = PROBLEM) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]  # click declares one a class, and reads it from the instance

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it."""
        click.echo(f"spoolq: {self.message}", file=file, err=file is None)


@contextmanager
def exits() -> Iterator[None]:
    """Every error that spoolq raises on purpose becomes a `Fault`, and so does an output that can't be written (its reader's
    end excepted: that is click's to handle); nothing else is caught."""
    try:
        yield
    except SpoolqError as error:
        raise Fault(str(error), _code(error)) from error
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        with suppress(OSError), open(os.devnull, "wb") as nowhere:  # for the rest, which Python writes as it ends
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise Fault(f"the output can't be written: {error.strerror}") from error


def _code(error: SpoolqError) -> int:
    if isinstance(error, NoPlace):
        return CANT_CREATE
    if isinstance(error, ConfigError):
        return BAD_CONFIG
    if isinstance(error, MaybeStored):
        return TRY_LATER
    if isinstance(error, (EnqueueError, SpoolDamaged)):  # not even the spool took it
        return CANT_CREATE
    if isinstance(error, StoreUnavailable):
        return UNREACHABLE
    return PROBLEM


@contextmanager
def asking_primary(q: SpoolQ, otherwise: str = "") -> Iterator[None]:
    """Around what needs the primary: says what is safe and what to do when it can't be reached; `otherwise` is what this
    command can do without it."""
    try:
        yield
    except StoreUnavailable as error:
        raise primary_away(q, error, otherwise) from error


@contextmanager
def asking_spool() -> Iterator[None]:
    """Around what needs the spool's file."""
    try:
        yield
    except StoreUnavailable as error:
        raise Fault(str(error), CANT_CREATE) from error


def primary_away(q: SpoolQ, error: StoreUnavailable, otherwise: str = "") -> Fault:
    """The fault of a primary that can't be reached: what happened, what was kept safe, what to do next."""
    if q.settings.sqlite_path is not None:
        return Fault(str(error), CANT_CREATE)
    return Fault(f"{error}\n{safe(q, full=isinstance(error, StoreFull))}{otherwise and f' {otherwise}'}", UNREACHABLE)


def safe(q: SpoolQ, *, full: bool = False) -> str:
    """A sentence on what is safe in the spool while Redis is away, and what to do next. Makes no file and never raises."""
    from spoolq.cli.opening import there

    path = q.settings.spool_path
    if not there(path):
        return f"Nothing was spooled on this host: no spool at {path}."
    try:
        count = q.spool.waiting() if q.spool is not None else 0
    except SpoolqError as error:
        return f"What is in the spool isn't known: {error}."
    if not count:
        return f"No job waits in the spool {path}."
    return waiting(q, count, full=full)


def waiting(q: SpoolQ, count: int, *, full: bool = False) -> str:
    """A sentence on that many jobs in the spool. `full`: Redis answers, and has no room."""
    from spoolq.cli.output import kept

    goes, runs = ("it goes on", "runs") if count == 1 else ("they go on", "run")
    if full:  # workers take from Redis then, which makes room, and leave the spool alone
        return f"{kept(count)} in the spool {q.settings.spool_path}; {goes} when Redis has room (`spoolq drain`)."
    return (
        f"{kept(count)} in the spool {q.settings.spool_path}; {goes} when Redis answers (`spoolq drain`), "
        f"or {runs} here with `spoolq worker`."
    )
