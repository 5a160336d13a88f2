"""`spoolq failed`: the failure logs of the primary and of this host's spool."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from spoolq import wire
from spoolq.cli import attempts
from spoolq.cli.faults import PROBLEM, Fault
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import agreed, clean, emit, hint, jobs, table, when
from spoolq.cli.stores import Place, look, places, where_option
from spoolq.errors import PayloadError
from spoolq.job import Failure
from spoolq.units import say_age

PAGE = 50
"""Failures held at once, with their payloads, by a command that shows many."""


class Found(NamedTuple):
    """The failures that a command is about, in one store: how many entries it has of each job."""

    place: Place
    entries: dict[str, int]


@click.group()
def failed() -> None:
    """List, show, retry and remove failed jobs."""


@failed.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out the newest so many.")
@where_option
@json_option
@command_options()
def list_(given: Given, limit: int, skip: int, where: str, as_json: bool) -> None:
    """The newest failures: when, which job, what it raised. Arguments are left out: see `show`."""
    q = given.open()

    def ask(place: Place) -> tuple[int, list[tuple[float, dict[str, Any]]]]:
        return place.store.failures.count(), _newest(place, skip + limit)

    answers, fault = look(q, where, ask)
    total = sum(count for count, _ in answers)
    found = sorted((each for _, page in answers for each in page), key=lambda each: each[0], reverse=True)
    found = found[skip : skip + limit]
    if as_json:
        emit({"count": total, "failures": [summary for _, summary in found]})
    elif total:
        _table(found, total)
    else:
        hint("No failures in the spool." if fault else "No failures.")
    if fault is not None:
        raise fault


def _newest(place: Place, limit: int) -> list[tuple[float, dict[str, Any]]]:
    """Up to so many, each with its time. Payloads, which may be large, are let go of a page at a time."""
    found: list[tuple[float, dict[str, Any]]] = []
    while page := place.store.failures.page(len(found), min(PAGE, limit - len(found))):
        found += [(failure.failed_at, _summary(place.name, failure)) for failure in page]
    return found


def _table(found: Sequence[tuple[float, dict[str, Any]]], total: int) -> None:
    now = time.time()
    table(
        ("FAILED", "JOB", "TASK", "QUEUE", "IN", "ERROR"),
        [
            (
                f"{say_age(now - failed_at)} ago",
                failure["id"],
                failure["task"],
                failure["queue"],
                failure["in"],
                f"{failure['exception']}: {failure['error']}",
            )
            for failed_at, failure in found
        ],
    )
    if total > len(found):
        hint(f"{len(found):,} of {jobs(total, 'failure')}; more with --limit and --skip.")


@failed.command()
@click.argument("id", metavar="ID")
@where_option
@json_option
@command_options()
def show(given: Given, id: str, where: str, as_json: bool) -> None:
    """All that is known of the failure of job ID. Its error, backtrace, attempts, and payload with the arguments."""
    for place in places(given.open(), where):
        with place.asking():
            failure = place.store.failures.get(id)
        if failure is None:
            continue
        if as_json:
            payload = failure.payload.decode("utf-8", "backslashreplace")
            known = {**_summary(place.name, failure), **attempts.document(failure)}
            emit({**known, "backtrace": failure.backtrace, "payload": payload})
        else:
            _print(place, failure)
        return
    raise Fault(f"no failure of a job {clean(id)!r}; `spoolq failed list` shows those that there are")


@failed.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Every failure that there is.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@where_option
@json_option
@command_options()
def retry(given: Given, ids: tuple[str, ...], every: bool, dry_run: bool, where: str, as_json: bool) -> None:
    """Put failed jobs back into their queues. They are new launches, with all their retries. Exit 1 when one isn't there."""
    found, missing = _chosen(given, ids, every, where)
    total = sum(len(each.entries) for each in found)
    done = 0
    if dry_run:
        words = f"Would put back {jobs(total)}."
    else:
        for place, chosen in found:
            with place.asking():
                done += place.store.failures.retry(chosen)
        total = max(total, done)  # entries of stock workers may be equal, and then have one id
        words = f"Put back {jobs(done)}."
        if done < total:
            words += f" {total - done:,} stay in the log: unreadable, or taken by somebody else meanwhile."
    _end({"dry_run": dry_run, "found": total, "retried": done}, words, missing, as_json, total - done if not dry_run else 0)


@failed.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Every failure that there is.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@where_option
@json_option
@command_options()
def remove(given: Given, ids: tuple[str, ...], every: bool, yes: bool, dry_run: bool, where: str, as_json: bool) -> None:
    """Delete failures for good. Asks first, and names the count. Exit 1 when one isn't there."""
    found, missing = _chosen(given, ids, every, where)
    total = sum(sum(each.entries.values()) for each in found)
    done = 0
    if dry_run:
        words = f"Would delete {jobs(total, 'failure')}."
    else:
        if total and not yes:
            parts = ", ".join(f"{sum(each.entries.values()):,} in {each.place.where}" for each in found)
            agreed(f"Delete {jobs(total, 'failure')} for good ({parts})?")
        for place, chosen in found:
            with place.asking():
                done += place.store.failures.remove(chosen)
        words = f"Deleted {jobs(done, 'failure')}."
    _end({"dry_run": dry_run, "found": total, "removed": done}, words, missing, as_json, 0)


def _chosen(given: Given, ids: Sequence[str], every: bool, where: str) -> tuple[list[Found], list[str]]:
    """The failures that are meant, by store, and the ids that nobody knows."""
    if every == bool(ids):
        raise click.UsageError("name the IDs, or say --all" if not every else "IDs or --all: give one of them")
    found: list[Found] = []
    missing = list(dict.fromkeys(ids))
    for place in places(given.open(), where):
        with place.asking():
            chosen = place.store.failures.entries(None if every else missing)
        missing = [id for id in missing if id not in chosen]
        if chosen:
            found.append(Found(place, chosen))
    return found, missing


def _end(document: dict[str, Any], words: str, missing: Sequence[str], as_json: bool, left: int) -> None:
    if as_json:
        emit({**document, "unknown": missing})
    else:
        click.echo(words)
    if missing:
        hint(f"spoolq: no failure of {', '.join(map(clean, missing[:10]))}; `spoolq failed list` shows those that there are")
    if missing or left:
        sys.exit(PROBLEM)


def _task(failure: Failure) -> str:
    try:
        return wire.decode(failure.payload, failure.queue).task
    except PayloadError:
        return "(unreadable)"


def _summary(name: str, failure: Failure) -> dict[str, Any]:
    return {
        "id": failure.id,
        "in": name,
        "task": _task(failure),
        "queue": failure.queue,
        "exception": failure.exception,
        "error": failure.error,
        "failed_at": when(failure.failed_at),
        "attempts": failure.attempts,
        "worker": failure.worker,
    }


def _print(place: Place, failure: Failure) -> None:
    shown = (
        ("job", failure.id),
        ("task", _task(failure)),
        ("queue", failure.queue),
        ("in", place.where),
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
