"""`spoolq outages`: the times in which jobs of this host went past Redis, one line each."""

from __future__ import annotations

import time

import click

from spoolq.cli import journal
from spoolq.cli.faults import Fault, asking_spool
from spoolq.cli.opening import Given, command_options, json_option, no_spool
from spoolq.cli.output import emit, hint, table
from spoolq.errors import ConfigError
from spoolq.events import outage_document
from spoolq.store.events import Outage
from spoolq.units import say_age

_CAUSE = len("connect_timeout")  # the longest of spoolq's own words; causes may have others


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, metavar="N", help="The newest N.")
@json_option
@command_options()
def outages(given: Given, limit: int, as_json: bool) -> None:
    """The times in which jobs of this host went past Redis, newest first.

    When each began and how long it lasted, why, how many jobs went to the spool for it and how many there were at most, how long
    it took from its end until the spool was empty, and how many of them Redis turned out to have already. It needs no Redis. Exit
    1 when there is no spool.
    """
    q, now = given.open(), time.time()
    if q.settings.sqlite_path is not None:
        raise ConfigError(f"{q.settings.url} is an SQLite queue: there is no Redis, and so no outage")
    with asking_spool():
        log = journal.existing(q)
        if log is None:
            raise Fault(no_spool(q))
        found = log.outages(limit)
    if as_json:
        emit({"outages": [outage_document(one, now) for one in found]})
    elif found:
        right = ("AGO", "LASTED", "SPOOLED", "PEAK", "DRAINED", "TWICE")
        table(("AGO", "LASTED", "CAUSE", "SPOOLED", "PEAK", "DRAINED", "TWICE"), [_row(one, now) for one in found], right=right)
    else:
        hint("No outage was seen so far.")


def _row(one: Outage, now: float) -> tuple[str, ...]:
    drained = say_age(one.to_drain()) if one.drained_at is not None else "lasts" if one.ended_at is None else "not yet"
    cause = one.cause if len(one.cause) <= _CAUSE else one.cause[: _CAUSE - 2] + ".."
    return (
        *(say_age(max(0.0, now - one.started_at)), say_age(one.seconds(now)), cause),
        *(f"{one.spooled:,}", f"{one.peak:,}", drained, f"{one.duplicates:,}"),
    )
