"""Logging of the commands: to standard error, as text or as JSON lines."""

from __future__ import annotations

import logging

import click

from spoolq.current import current
from spoolq.errors import ConfigError
from spoolq.wire import Named


class OfJob(logging.Filter):
    """Says of which job a line is: the one that it names, or else the one whose task writes it. Its id, task and queue become
    fields of the line, `job`, `task` and `queue`; no argument does."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Every record passes."""
        record.within = ""
        named = [each for each in record.args if isinstance(each, Named)] if isinstance(record.args, tuple) else []
        if len(named) == 1:
            record.job, record.task, record.queue = named[0].job, named[0].task, named[0].queue
        elif not named and (running := current()) is not None:
            record.job, record.task, record.queue = running.id, running.job.task, running.job.queue
            record.within = f" [{running.job.task} {running.id}]"
        return True


class ToStderr(logging.Handler):
    """Writes to whatever standard error is now."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            click.echo(self.format(record), err=True)
        except Exception:
            self.handleError(record)


def begin(level: str, quiet: bool, verbose: bool, form: str) -> None:
    """Log from now on: `level` and above, only errors with `quiet`, everything of spoolq's own with `verbose`.

    Raises ConfigError where JSON needs a package that isn't there.
    """
    handler = ToStderr()
    handler.setFormatter(_json() if form == "json" else _text(level))
    handler.addFilter(OfJob())
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, ToStderr)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel("ERROR" if quiet else level)
    logging.getLogger("spoolq").setLevel("DEBUG" if verbose else logging.NOTSET)


def _text(level: str) -> logging.Formatter:
    if level == "WARNING":  # a command that soon ends: no need of times
        return logging.Formatter("spoolq: %(message)s")
    return logging.Formatter("%(asctime)s %(levelname)-7s %(name)s[%(process)d]%(within)s: %(message)s")


def _json() -> logging.Formatter:
    try:
        from pythonjsonlogger.core import RESERVED_ATTRS
        from pythonjsonlogger.json import JsonFormatter
    except ImportError:
        raise ConfigError("--log-format json needs: pip install 'spoolq[worker]'") from None
    formatter: logging.Formatter = JsonFormatter(
        "%(levelname)s %(name)s %(process)d %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "process": "pid"},
        timestamp="time",
        reserved_attrs=[*RESERVED_ATTRS, "within"],
    )
    return formatter
