"""`spoolq queues move`: all that waits in one queue, into another."""

from __future__ import annotations

from collections.abc import Callable

import click

from spoolq import moving
from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, hint
from spoolq.cli.queue_names import checked
from spoolq.cli.stores import Place, look, where_option
from spoolq.units import jobs


@click.command()
@click.argument("queue", metavar="FROM")
@click.argument("to")
@click.option("--scheduled", is_flag=True, help="Also those that wait for their time; they keep it.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@where_option
@json_option
@command_options()
@acts
def move(given: Given, queue: str, to: str, scheduled: bool, dry_run: bool, where: str, as_json: bool) -> None:
    """Move the ready jobs of queue FROM to the end of queue TO.

    In their order, in steps of some 200 jobs, each of which is done or not: whoever stops it has lost nothing, and can call it
    again for the rest. What comes into FROM meanwhile stays there. Jobs stay the same jobs: ids, attempts, batches and the locks
    of unique jobs are kept. Exit 1 when there is no such queue.
    """
    checked(queue)
    if checked(to) == queue:
        raise click.UsageError(f"{clean(queue)} can't be moved to itself")

    def counted(place: Place) -> tuple[Place, int, int] | None:
        there = {depth.queue: depth for depth in place.store.depths()}.get(queue)
        return None if there is None else (place, there.ready, there.scheduled if scheduled else 0)

    answers, fault = look(given.open(), where, counted)
    found = [one for one in answers if one is not None]
    total = sum(ready + later for _, ready, later in found)
    if not found and fault is None:
        raise Fault(f"no queue named {clean(queue)!r}; `spoolq queues list` has the names")
    moved = 0
    for place, ready, later in () if dry_run else found:
        with place.asking():
            moved += moving.whole_queue(place.store, queue, to, ready, report=_telling(place, ready + later))
            if later:
                moved += moving.whole_queue(place.store, queue, to, later, scheduled=True)
    if as_json:
        emit({"from": queue, "to": to, "dry_run": dry_run, "found": total, "moved": moved})
    else:
        verb = "Would move" if dry_run else "Moved"
        click.echo(f"{verb} {jobs(total if dry_run else moved)} from {clean(queue)} to {clean(to)}.")
    if fault is not None:
        raise fault


def _telling(place: Place, total: int) -> Callable[[int], None]:
    """Where there are many, a line now and then."""
    told = 0

    def tell(moved: int) -> None:
        nonlocal told
        if moved - told >= 10_000:
            told = moved
            hint(f"{moved:,} of {total:,} moved in {place.where}.")

    return tell
