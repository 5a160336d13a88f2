"""`spoolq jobs move` and `delete`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from spoolq import moving, whereabouts
from spoolq.app import SpoolQ
from spoolq.cancelling import Canceller
from spoolq.cli.faults import PROBLEM
from spoolq.cli.jobs_choice import Meant, choice_options, must_choose, named
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import agreed, emit, hint
from spoolq.cli.queue_names import one_queue
from spoolq.cli.stores import Place, places, where_option
from spoolq.store.waiting import WaitingJob
from spoolq.units import jobs

_TOGETHER = 500

Found = list[tuple[Place, list[WaitingJob]]]


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@choice_options
@click.option("--to", metavar="QUEUE", callback=one_queue, help="To the end of this queue; what waits for its time goes on.")
@click.option("--now", is_flag=True, help="To the front of its queue, to be run next, whether it is due or not.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@where_option
@json_option
@command_options()
@acts
def move(
    given: Given, ids: tuple[str, ...], meant: Meant, to: str | None, now: bool, dry_run: bool, where: str, as_json: bool
) -> None:
    """Put jobs that wait into another queue, or have them run next.

    They stay the same jobs: ids, attempts, batches and the locks of unique jobs are kept. What a worker has already is left
    alone. Exit 1 when one isn't there.
    """
    must_choose(ids, meant)
    if (to is None) != now:
        raise click.UsageError("say where: --to QUEUE, or --now")
    found, missing = _found(given.open(), ids, meant, where)
    total, done = sum(len(some) for _, some in found), 0
    for place, some in () if dry_run else found:
        with place.asking():
            if to is not None:
                done += moving.to_queue(place.store, some, to)
            else:
                done += sum(moving.to_front(place.store, job, time.time()) for job in reversed(some))
    where_to = "the front of their queues" if to is None else to
    words = f"Would move {jobs(total)} to {where_to}." if dry_run else f"Moved {jobs(done)} to {where_to}."
    _end({"dry_run": dry_run, "found": total, "moved": done, "to": to}, words, missing, as_json, 0 if dry_run else total - done)


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@choice_options
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@where_option
@json_option
@command_options()
@acts
def delete(given: Given, ids: tuple[str, ...], meant: Meant, yes: bool, dry_run: bool, where: str, as_json: bool) -> None:
    """Delete jobs that wait, for good: they do not run. Asks first, and names the count.

    What a worker has already is left alone (`spoolq jobs cancel` asks it to stop), and so are failures (`spoolq failed remove`).
    What was to follow such a job doesn't; the lock of a unique one is free. Exit 1 when one isn't there.
    """
    must_choose(ids, meant)
    q = given.open()
    found, missing = _found(q, ids, meant, where)
    total, done = sum(len(some) for _, some in found), 0
    if not dry_run:
        if total and not yes:
            parts = ", ".join(f"{len(some):,} in {place.where}" for place, some in found)
            agreed(f"Delete {jobs(total)} for good ({parts})?")
        canceller = Canceller(q.primary, q.spool_there())
        for place, some in found:
            with place.asking():
                done += sum(canceller.take_back(place.store, job) for job in some)
    words = f"Would delete {jobs(total)}." if dry_run else f"Deleted {jobs(done)}."
    _end({"dry_run": dry_run, "found": total, "deleted": done}, words, missing, as_json, 0 if dry_run else total - done)


def _found(q: SpoolQ, ids: Sequence[str], meant: Meant, where: str) -> tuple[Found, list[str]]:
    """The jobs that are meant and wait, by store, and the ids of which none does. Looked through before any is changed: places
    move up."""
    found: Found = []
    missing = dict.fromkeys(ids)
    for place in places(q, where):
        with place.asking():
            if not ids:
                some = list(meant.of(place))
            else:
                some = [job for id in dict.fromkeys(ids) for job in _waiting(place, id, missing.pop)]
        if some:
            found.append((place, some))
    return found, list(missing)


def _waiting(place: Place, id: str, seen: Callable[..., Any]) -> list[WaitingJob]:
    some = [job for job in place.store.waiting_jobs.find(id) if whereabouts.state_of(job) in whereabouts.WAITING]
    if some:
        seen(id, None)
    return list({job.place: job for job in some}.values())  # a search may see one twice


def _end(document: dict[str, Any], words: str, missing: Sequence[str], as_json: bool, left: int) -> None:
    if left:
        words += f" {left:,} did not wait any more: taken by a worker meanwhile, or moved."
    if as_json:
        emit({**document, "missing": list(missing)})
    else:
        click.echo(words)
    if missing:
        hint(f"spoolq: no job that waits: {named(missing)}; `spoolq jobs show ID` says where one is")
    if missing or left or not document["found"]:
        click.get_current_context().exit(PROBLEM)
