"""From errors to exit codes and words, in one place."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import click

from spoolq.errors import (
    ConfigError,
    EnqueueError,
    MaybeStored,
    NoAccess,
    NoPlace,
    SpoolDamaged,
    SpoolqError,
    StoreUnavailable,
)

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
        raise unwritten(error) from error


def unwritten(error: OSError, but: str = "") -> Fault:
    """The fault of an output that can't be written, after which no more is. `but`: what was done all the same."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:  # for the rest, which Python writes as it ends
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return Fault(f"{but}the output can't be written: {error.strerror}")


def _code(error: SpoolqError) -> int:
    if isinstance(error, (NoAccess, NoPlace)):
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
def asking_spool() -> Iterator[None]:
    """Around what needs the spool's file."""
    try:
        yield
    except StoreUnavailable as error:
        raise Fault(str(error), CANT_CREATE) from error
