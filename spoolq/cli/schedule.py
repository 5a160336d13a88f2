"""`spoolq schedule`: the periodic jobs of an application."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from spoolq import pauses, ticker
from spoolq.cli.away import asking_primary, connect
from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, hint, table
from spoolq.errors import NoAccess
from spoolq.job import new_id
from spoolq.periodic import Entry
from spoolq.places import there
from spoolq.units import say_age, when

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

_SHOWN = 5  # runs to come, in JSON


@click.group()
def schedule() -> None:
    """List, run, pause and resume periodic jobs. --app names the application that declares them."""


@schedule.command("list")
@json_option
@command_options()
def list_(given: Given, as_json: bool) -> None:
    """Every schedule: its times, the last and next tick, its pause.

    In JSON the next five ticks. Without Redis what the application declares is shown all the same.
    """
    q, now = _opened(given), time.time()
    fault: Exception | None = None
    state = _State({}, {})
    path = q.settings.sqlite_path
    try:
        with asking_primary(q):
            if path is None or there(path):  # looking must not make one
                state = _State(
                    pauses.paused(q.primary), {entry.name: ticker.last(q.primary, entry) for entry in q.entries.values()}
                )
    except (Fault, NoAccess) as error:
        fault = error
    if as_json:
        emit({"schedules": [_facts(entry, now, state) for entry in q.entries.values()]})
    elif q.entries:
        rows = [
            (
                entry.name,
                _next(entry, now),
                "?" if fault else _ago(state.last.get(entry.name), now),
                "?" if fault else "yes" if entry.name in state.paused else "",
                entry.when.words(),
            )
            for entry in q.entries.values()
        ]
        table(("NAME", "NEXT", "LAST", "PAUSED", "WHEN"), rows)
    else:
        hint(f"{given.app} declares no schedule: @q.periodic('*/5 * * * *') above a function does.")
    if fault is not None:
        raise fault


@schedule.command()
@click.argument("name")
@json_option
@command_options()
@acts
def run(given: Given, name: str, as_json: bool) -> None:
    """Enqueue a job of the schedule NAME now, beside its ticks. Prints its id, and where it is: `primary` or `spool`."""
    q = _opened(given)
    job = dataclasses.replace(_entry(q, name).make(new_id()), given=False)
    connect(q)
    receipt = q.submit([job])[0]
    if as_json:
        emit({"id": receipt.id, "route": receipt.route, "schedule": name, "queue": job.queue, "task": job.task})
    else:
        click.echo(f"{receipt.id}  {receipt.route}")


@schedule.command()
@click.argument("name")
@json_option
@command_options()
@acts
def pause(given: Given, name: str, as_json: bool) -> None:
    """Let the ticks of NAME pass without a job, until resumed.

    That holds on all hosts. What is enqueued already runs. The pause is kept in Redis; a host that starts while
    Redis is away goes by what it knew before.
    """
    _set(given, name, as_json, paused=True)


@schedule.command()
@click.argument("name")
@json_option
@command_options()
@acts
def resume(given: Given, name: str, as_json: bool) -> None:
    """Go on with the next tick of NAME. Those that passed meanwhile are not made up for."""
    _set(given, name, as_json, paused=False)


def _set(given: Given, name: str, as_json: bool, *, paused: bool) -> None:
    q = _opened(given)
    with asking_primary(q):
        if paused:
            changed = pauses.pause(q.primary, _entry(q, name).name, time.time())
        else:
            if name not in pauses.paused(q.primary):  # one that is paused may be declared no more
                _entry(q, name)
            changed = pauses.resume(q.primary, name)
    if as_json:
        emit({"schedule": name, "paused": paused, "changed": changed})
    elif changed:
        click.echo(f"{'Paused' if paused else 'Resumed'} {clean(name)}.")
    else:
        hint(f"{clean(name)} {'was paused already' if paused else 'was not paused'}.")


class _State(NamedTuple):
    """What the store knows of the schedules."""

    paused: Any
    last: dict[str, float | None]


def _opened(given: Given) -> SpoolQ:
    if given.app is None:
        raise click.UsageError("schedules are declared by an application: name it, --app module:attribute, such as shop.jobs:q")
    return given.open()


def _entry(q: SpoolQ, name: str) -> Entry:
    if name not in q.entries:
        raise Fault(f"no schedule named {clean(name)!r}; there are: {', '.join(map(clean, q.entries)) or 'none'}")
    return q.entries[name]


def _facts(entry: Entry, now: float, state: _State) -> dict[str, Any]:
    job = entry.make(entry.id(0))
    return {
        "name": entry.name,
        "task": job.task,
        "queue": job.queue,
        "when": entry.when.text,
        "words": entry.when.words(),
        "tz": entry.when.tz,
        "missed": entry.missed,
        "next": [when(tick) for tick in entry.following(_SHOWN, now)],
        "last": when(state.last.get(entry.name)),
        "paused": entry.name in state.paused,
        "paused_since": when(state.paused.get(entry.name)),
    }


def _next(entry: Entry, now: float) -> str:
    from zoneinfo import ZoneInfo

    tick = entry.following(1, now)[0]
    at = datetime.fromtimestamp(tick, UTC if entry.when.tz == "UTC" else ZoneInfo(entry.when.tz))
    return f"{at:%a %d %b %H:%M:%S %Z}, in {say_age(tick - now)}"


def _ago(at: float | None, now: float) -> str:
    return "-" if at is None else f"{say_age(now - at)} ago"
