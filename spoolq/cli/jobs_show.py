"""`spoolq jobs show`: all that is known of one job, wherever it is."""

from __future__ import annotations

import time
from typing import Any

import click

from spoolq import whereabouts
from spoolq.app import SpoolQ
from spoolq.cli.away import connect
from spoolq.cli.faults import PROBLEM, UNREACHABLE, Fault
from spoolq.cli.opening import Given, command_options, json_option, must_exist
from spoolq.cli.output import clean, emit, hint, table
from spoolq.errors import PayloadError
from spoolq.tracking import Status
from spoolq.units import say_age, when
from spoolq.whereabouts import Moment, Sighting, Whereabouts


@click.command()
@click.argument("id")
@click.option("--payload", "whole", is_flag=True, help="The job's payload too, with its arguments.")
@json_option
@command_options()
def show(given: Given, id: str, whole: bool, as_json: bool) -> None:
    """Say all that is known of the job ID.

    Where it is, in Redis and in this host's spool, what has happened to it, and how its attempts ended. Tasks with `track` or
    `result_ttl` tell more: progress, and their end. Exit 1 when nothing is known of it, 69 where a store could not be asked.
    """
    q = given.open()
    must_exist(q)
    connect(q)
    if not id or not id.isprintable() or len(id) > 200:
        raise PayloadError(f"id={id!r:.220}: an id is a text of 1 to 200 printable characters, such as a receipt's")
    found = whereabouts.find(id, q.primary, q.spool_there(), q.status)
    state = found.status if found.status != "unknown" or not found.sightings else Status(found.sightings[0].state)
    if as_json:
        emit({"job": _document(q, found, state, whole)})
    elif found.known:
        _print(q, found, state, whole)
    for why in found.away if found.known else ():
        hint(f"spoolq: {clean(why)}")
    if not found.known:
        why = state.why or "its task has neither result_ttl nor track, its time is over, or it was never there"
        raise Fault(f"nothing is known of job {clean(id)}: {clean(why)}", UNREACHABLE if found.away else PROBLEM)


def _document(q: SpoolQ, found: Whereabouts, state: Status, whole: bool) -> dict[str, Any]:
    return {
        "id": found.id,
        "status": str(state),
        "since": when(state.at),
        "progress": state.progress,
        "text": state.text,
        "error": state.error,
        "why": state.why,
        "places": [_place(q, one, whole) for one in found.sightings],
        "timeline": [
            {"at": when(at), "what": what, "detail": detail} for at, what, detail in whereabouts.timeline(found, time.time())
        ],
        "away": list(found.away),
    }


def _place(q: SpoolQ, one: Sighting, whole: bool) -> dict[str, Any]:
    job = one.job
    shown = {
        "in": _name(q, one),
        "state": one.state,
        "queue": one.queue,
        "task": None if job is None else job.task,
        "due": when(one.waiting.run_at or None) if one.waiting else None,
        "attempts": one.failure.attempts if one.failure else 0 if job is None else job.ended,
        "worker": one.worker or None,
        "in_doubt": one.waiting.in_doubt if one.waiting else False,
    }
    return shown | ({"payload": one.payload.decode("utf-8", "backslashreplace")} if whole else {})


def _name(q: SpoolQ, one: Sighting) -> str:
    return "spool" if one.where == "spool" else "sqlite" if q.settings.sqlite_path else "redis"


def _print(q: SpoolQ, found: Whereabouts, state: Status, whole: bool) -> None:
    click.echo(f"{clean(found.id)}: {state}{_details(state)}")
    for one in found.sightings:
        task = "no job that can be read" if one.job is None else f"task {one.job.task}"
        click.echo(f"  {one.state} in {_name(q, one)}: {clean(task)}, queue {clean(one.queue)}")
        if whole:
            click.echo(f"  {clean(one.payload.decode('utf-8', 'backslashreplace'))}")
    if moments := whereabouts.timeline(found, time.time()):
        click.echo()
        table(("WHEN", "", "WHAT", "MORE"), [_row(moment) for moment in moments])


def _row(moment: Moment) -> tuple[object, ...]:
    age = 0.0 if moment.at is None else time.time() - moment.at
    said = "" if moment.at is None else f"{say_age(age)} ago" if age >= 0 else f"in {say_age(-age)}"
    return when(moment.at) or "-", said, moment.what, moment.detail


def _details(status: Status) -> str:
    said = "" if status.at is None else f", since {when(status.at)}"
    if status.progress is not None:
        said += f", {100 * status.progress:.0f} %"
    if status.text:
        said += f": {clean(status.text)}"
    return said + (f" ({clean(status.error)})" if status.error else "")
