"""`spoolq failed`: the failure logs of the primary and of this host's spool."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from spoolq.cli import attempts
from spoolq.cli.failed_change import prune, remove, retry
from spoolq.cli.failed_choice import asking, choice_options, from_option, place_alone, read
from spoolq.cli.failed_groups import groups
from spoolq.cli.failed_transfer import export, import_
from spoolq.cli.faults import Fault
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, hint, table
from spoolq.cli.stores import Place, look, places, where_option
from spoolq.failurelog.choice import Choice, task_of
from spoolq.failurelog.moving import walk
from spoolq.failurelog.source import Source, source
from spoolq.job import Failure
from spoolq.units import jobs, say_age, when

Listed = tuple[float, dict[str, Any]]
"""When it failed, and what is shown of it."""


@click.group()
def failed() -> None:
    """List, group, show, retry, remove, export, import and prune failed jobs."""


for _command in (groups, retry, remove, export, import_, prune):
    failed.add_command(_command)


@failed.command("list")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out the newest so many.")
@choice_options
@from_option
@where_option
@json_option
@command_options()
def list_(given: Given, limit: int, skip: int, choice: Choice, origin: str | None, where: str, as_json: bool) -> None:
    """The newest failures: when, which job, what it raised. Arguments are left out: see `show`.

    Those chosen by --task and the like aren't counted whole: looking ends with the limit.
    """
    if origin is not None:
        place_alone(where)
        _list_from(source(origin), choice, limit, skip, as_json)
        return
    q = given.open()

    def ask(place: Place) -> tuple[int, list[Listed]]:
        log = place.store.failures
        return log.count(), list(islice(_listed(place.name, walk(log), choice), skip + limit))

    answers, fault = look(q, where, ask)
    total = sum(count for count, _ in answers)
    found = sorted((each for _, page in answers for each in page), key=lambda each: each[0], reverse=True)
    found = found[skip : skip + limit]
    if as_json:
        emit({"count": total, "failures": [summary for _, summary in found]})
    elif found:
        _table(found, None if choice else total)
    else:
        none = "No such failures" if choice and total else "No failures"
        hint(f"{none} in the spool." if fault else f"{none}.")
    if fault is not None:
        raise fault


def _list_from(place: Source, choice: Choice, limit: int, skip: int, as_json: bool) -> None:
    with asking(place.name):
        failures = (record.failure for record in read(place, choice))
        found = list(islice(_listed(_kind(place), failures, Choice()), skip, skip + limit))
    if as_json:
        emit({"from": place.name, "failures": [summary for _, summary in found]})
    elif found:
        _table(found, None)
    else:
        hint(f"No failures in {clean(place.name)}." if not choice else f"No such failures in {clean(place.name)}.")


def _listed(name: str, failures: Iterable[Failure], choice: Choice) -> Iterator[Listed]:
    """Each that is chosen, with its time. Payloads, which may be large, are let go."""
    return ((failure.failed_at, _summary(name, failure)) for failure in failures if choice.fits(failure))


def _table(found: Sequence[Listed], total: int | None) -> None:
    now = time.time()
    table(
        ("FAILED", "JOB", "TASK", "QUEUE", "IN", "ERROR"),
        [
            (
                f"{say_age(now - failed_at)} ago" if failed_at > 0 else "-",  # one that can't be read says no time
                failure["id"],
                failure["task"],
                failure["queue"],
                failure["in"],
                f"{failure['exception']}: {failure['error']}",
            )
            for failed_at, failure in found
        ],
    )
    if total is not None and total > len(found):
        hint(f"{len(found):,} of {jobs(total, 'failure')}; more with --limit and --skip.")


@failed.command()
@click.argument("id", metavar="ID")
@from_option
@where_option
@json_option
@command_options()
def show(given: Given, id: str, origin: str | None, where: str, as_json: bool) -> None:
    """All that is known of the failure of job ID. Its error, backtrace, attempts, and payload with the arguments."""
    if origin is not None:
        place_alone(where)
        _show_from(source(origin), id, as_json)
        return
    for place in places(given.open(), where):
        with place.asking():
            failure = place.store.failures.get(id)
        if failure is None:
            continue
        _show(place.name, place.where, failure, as_json)
        return
    raise Fault(f"no failure of a job {clean(id)!r}; `spoolq failed list` shows those that there are")


def _summary(name: str, failure: Failure) -> dict[str, Any]:
    return {
        "id": failure.id,
        "in": name,
        "task": task_of(failure),
        "queue": failure.queue,
        "exception": failure.exception,
        "error": failure.error,
        "failed_at": when(failure.failed_at),
        "attempts": failure.attempts,
        "worker": failure.worker,
    }


def _show_from(place: Source, id: str, as_json: bool) -> None:
    with asking(place.name):
        record = next((one for one in place.records() if one.failure.id == id), None)
    if record is None:
        raise Fault(f"no failure of a job {clean(id)!r} in {clean(place.name)}")
    _show(_kind(place), place.name, record.failure, as_json)


def _kind(place: Source) -> str:
    return "bucket" if "://" in place.name else "file"


def _show(name: str, where: str, failure: Failure, as_json: bool) -> None:
    if as_json:
        payload = failure.payload.decode("utf-8", "backslashreplace")
        known = {**_summary(name, failure), **attempts.document(failure)}
        emit({**known, "backtrace": failure.backtrace, "payload": payload})
    else:
        _print(where, failure)


def _print(where: str, failure: Failure) -> None:
    shown = (
        ("job", failure.id),
        ("task", task_of(failure)),
        ("queue", failure.queue),
        ("in", where),
        ("failed", f"{when(failure.failed_at) or failure.failed_at} ({say_age(time.time() - failure.failed_at)} ago)"),
        ("attempts", failure.attempts),
        ("worker", failure.worker),
        ("ran by", attempts.versions(failure)),
        ("error", f"{failure.exception}: {failure.error}"),
        ("payload", failure.payload.decode("utf-8", "backslashreplace")),
    )
    for label, value in shown:
        if value != "":
            click.echo(f"{label:<9} {clean(value)}")
    attempts.show(failure)
    for line in failure.backtrace:
        click.echo(f"  {clean(line)}")
