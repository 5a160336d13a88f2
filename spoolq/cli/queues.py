"""`spoolq queues`: what waits where, by queue."""

from __future__ import annotations

import time
from typing import Any

import click

from spoolq.cli import facts
from spoolq.cli.faults import Fault
from spoolq.cli.opening import Given, command_options, json_option, no_spool, there
from spoolq.cli.output import agreed, clean, emit, hint, jobs, table
from spoolq.cli.stores import look, places, where_option
from spoolq.units import say_age


@click.group()
def queues() -> None:
    """List and purge queues."""


@queues.command("list")
@where_option
@json_option
@command_options()
def list_(given: Given, where: str, as_json: bool) -> None:
    """Every queue, with its ready, scheduled and running jobs. Also the age of the oldest that is ready."""
    q = given.open()
    answers, fault = look(q, where, lambda place: [(place.name, depth) for depth in place.store.depths()])
    rows = [row for answer in answers for row in answer]
    if as_json:
        now = time.time()
        emit({"queues": [{"in": name, **facts.queue(depth, now)} for name, depth in rows]})
    elif rows:
        table(
            ("QUEUE", "IN", "READY", "SCHEDULED", "RUNNING", "OLDEST"),
            [
                (depth.queue, name, f"{depth.ready:,}", f"{depth.scheduled:,}", f"{depth.claimed:,}", say_age(depth.oldest))
                for name, depth in rows
            ],
            right=("READY", "SCHEDULED", "RUNNING", "OLDEST"),
        )
    else:
        hint("No queue in the spool." if fault else f"No queue in {q.settings.destination}.")
    if fault is not None:
        raise fault
    if not as_json and where == "all" and q.settings.sqlite_path is None and not there(q.settings.spool_path):
        hint(f"{no_spool(q)}.")


@queues.command()
@click.argument("queue")
@where_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@json_option
@command_options()
def purge(given: Given, queue: str, where: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete the ready jobs of QUEUE for good. Scheduled and running ones stay, and so do failures.

    Asks first, and names the count. Exit 1 when there is no such queue.
    """
    q = given.open()
    counts: dict[str, int] = {}
    known: set[str] = set()
    found = []
    for place in places(q, where):
        with place.asking():
            depths = {depth.queue: depth for depth in place.store.depths()}
        known |= set(depths)
        if queue in depths:
            found.append(place)
            counts[place.where] = depths[queue].ready
    if not found:
        names = ", ".join(clean(name) for name in sorted(known)[:10]) or "none"
        raise Fault(f"no queue named {clean(queue)!r}; there are: {names}")
    total = sum(counts.values())
    words = f"{jobs(total, 'ready job')} of {clean(queue)} ({', '.join(f'{n:,} in {where}' for where, n in counts.items())})"
    if dry_run:
        _say(as_json, {"queue": queue, "dry_run": True, "would_purge": total, "purged": 0}, f"Would delete {words}.")
        return
    if total and not yes:
        agreed(f"Delete {words} for good?")
    purged = 0
    for place in found:
        with place.asking():
            purged += place.store.purge(queue)
    _say(as_json, {"queue": queue, "dry_run": False, "purged": purged}, f"Deleted {jobs(purged)} of {clean(queue)}.")


def _say(as_json: bool, document: dict[str, Any], words: str) -> None:
    if as_json:
        emit(document)
    else:
        click.echo(words)
