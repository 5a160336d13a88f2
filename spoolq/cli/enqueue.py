"""`spoolq enqueue`: one job by the name of its task."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import click

from spoolq import units
from spoolq.cli.away import connect
from spoolq.cli.faults import unwritten
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import emit, hint
from spoolq.errors import ConfigError, PayloadError


def _value(text: str, place: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} isn't JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        how = (
            """Give an object: --kwargs '{"subject": "hi"}'"""
            if place == "--kwargs"
            else f"A text needs its quotes: '{json.dumps(text, ensure_ascii=False)[:60]}'"
        )
        raise click.UsageError(f"{place} isn't JSON ({error}): {text[:60]}\n{how}") from None


def _delay(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 30, 30s, 5m or 250ms") from None


def _time(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | float | None:
    try:
        return None if text is None else units.number(text)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a time such as 2026-12-24T18:00:00+01:00, or epoch seconds") from None
    if at.tzinfo is None:
        raise click.BadParameter(f"{text!r} has no time zone: write {at.isoformat()}Z for UTC, or +01:00 behind it")
    return at


@click.command()
@click.argument("name")
@click.argument("args", nargs=-1, metavar="[JSON]...")
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, as a JSON object.")
@click.option("--queue", metavar="QUEUE", help="By default the task's own, with --app; else `default`.")
@click.option("--priority", metavar="NAME", help="Instead of --queue: high, default, low, or as the settings name them.")
@click.option("--in", "delay", metavar="SPAN", callback=_delay, help="Not before this span from now: 30, 5m, 2h.")
@click.option("--at", metavar="TIME", callback=_time, help="Not before this time: ISO 8601 with a zone, or epoch seconds.")
@click.option("--at-front", is_flag=True, help="Before all that wait in its queue.")
@click.option("--id", "job_id", metavar="ID", help="The job's id; enqueuing it again queues no second copy.")
@click.option("--retries", type=click.IntRange(0), help="How often a failed job is tried again.")
@click.option(
    "--expires",
    metavar="SPAN",
    callback=_delay,
    help="Drop the job when it hasn't begun so long after its launch, or after --in, --at.",
)
@json_option
@command_options()
def enqueue(
    given: Given,
    name: str,
    args: tuple[str, ...],
    kwargs: str | None,
    queue: str | None,
    priority: str | None,
    delay: float | None,
    at: datetime | float | None,
    at_front: bool,
    job_id: str | None,
    retries: int | None,
    expires: float | None,
    as_json: bool,
) -> None:
    """Launch a job of the task NAME with JSON arguments.

    Prints the job's id, and where it is now: `primary` or `spool`. Exit 73 when neither took it, 75 when it isn't known:
    then repeat the command with --id and the id of the message. A negative number needs `--` before it.

    \b
      spoolq enqueue send_email '"ann@example.com"' --kwargs '{"subject": "hi"}'
      spoolq enqueue resize '"x.png"' 80 --queue images --in 5m
      spoolq enqueue --queue math add -- -1 2
    """
    if not name:
        raise click.UsageError("NAME is empty")
    values = [_value(text, f"argument {number}") for number, text in enumerate(args, 1)]
    keywords = {} if kwargs is None else _value(kwargs, "--kwargs")
    if not isinstance(keywords, dict):
        raise click.UsageError(f"--kwargs isn't a JSON object: {kwargs}")
    if delay is not None and at is not None:
        raise click.UsageError("--in and --at: give one of them")
    q = given.open()
    known = name in q.tasks.names()
    if given.app is not None and not known:
        hint(f"spoolq: {given.app} has no task {name!r} (it has {', '.join(q.tasks.names()) or 'none'}); sending it all the same")
    launch: Any = q.tasks.get(name) if known else q.remote(name)
    options = {
        "queue": queue,
        "priority": priority,
        "delay": delay,
        "at": at,
        "id": job_id,
        "retries": retries,
        "expires": expires,
    }
    options["at_front"] = at_front or None
    try:
        job = launch.using(**{key: value for key, value in options.items() if value is not None}).job(*values, **keywords)
    except TypeError as error:
        raise click.UsageError(f"the arguments don't fit the task: {error}") from None
    except (ConfigError, PayloadError) as error:  # an option that can't be a queue's name, an id or a time
        raise click.UsageError(str(error)) from None
    connect(q)
    receipt = q.submit([job])[0]
    try:
        if as_json:
            emit({"id": receipt.id, "route": receipt.route, "new": receipt.new, "queue": job.queue, "task": job.task})
        else:
            there = receipt.new or receipt.route == "vetoed"
            click.echo(f"{receipt.id}  {receipt.route}{'' if there else '  (was there already)'}")
    except OSError as error:  # who sees only a failure would launch it again, under another id
        raise unwritten(error, f"job {receipt.id} is stored ({receipt.route}), but ") from error
