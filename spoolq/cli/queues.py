"""`spoolq queues`: what waits where, by queue; pausing and purging."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import click

from spoolq import facts, purging, quotas
from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option, no_spool
from spoolq.cli.output import clean, emit, hint, table, typed
from spoolq.cli.queue_names import checked
from spoolq.cli.queues_move import move
from spoolq.cli.stores import Place, look, places, where_option
from spoolq.places import there
from spoolq.store.base import EVERY_QUEUE
from spoolq.store.looking import Depth
from spoolq.units import jobs, say_age


@click.group()
def queues() -> None:
    """List, pause, purge and move queues."""


queues.add_command(move)


@queues.command("list")
@where_option
@json_option
@command_options()
def list_(given: Given, where: str, as_json: bool) -> None:
    """Every queue, with its ready, scheduled and running jobs. Also the age of the oldest that is ready, what is paused,
    and the limits that these settings have."""
    q, now = given.open(), time.time()
    answers, fault = look(q, where, lambda place: _Held(place.name, place.store.paused(), place.store.depths()))
    rows = [(held, depth) for held in answers for depth in held.depths]
    if as_json:
        shown = [{"in": held.name, **facts.queue(depth, now, held.paused)} for held, depth in rows]
        emit({"queues": shown, "paused": {held.name: facts.pauses(held.paused) for held in answers}})
    elif rows:
        pausing = any(held.paused for held in answers)
        limits = quotas.words(q.settings.concurrency, q.settings.rate_limits)
        right = ("READY", "SCHEDULED", "RUNNING", "OLDEST")
        table(
            ("QUEUE", "IN", *right, *(["PAUSED"] if pausing else []), *(["LIMIT"] if limits else [])),
            [
                (
                    *(depth.queue, held.name, f"{depth.ready:,}", f"{depth.scheduled:,}", f"{depth.claimed:,}"),
                    *(say_age(depth.oldest), *([held.says(depth.queue, now)] if pausing else [])),
                    *([limits.get(depth.queue, "")] if limits else []),
                )
                for held, depth in rows
            ],
            right=right,
        )
    else:
        hint("No queue in the spool." if fault else f"No queue in {q.settings.destination}.")
    for held in answers:
        if not as_json and held.paused:
            hint(f"In {held.name} paused: {clean(_named(held.paused))}. {_ends(held.paused)} ends that.")
    if fault is not None:
        raise fault
    if not as_json and where == "all" and q.settings.sqlite_path is None and not there(q.settings.spool_path):
        hint(f"{no_spool(q)}.")


def _of_queues(what_all_means: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command that is given the names of queues, or --all."""

    def decorate(function: Callable[..., None]) -> click.Command:
        run = where_option(json_option(command_options()(function)))
        run = click.option("--all", "every", is_flag=True, help=what_all_means)(run)
        return queues.command()(click.argument("names", nargs=-1, metavar="[QUEUE]...")(run))

    return decorate


@_of_queues("All queues, those to come included. Ruby's Resque workers obey this one too.")
@acts
def pause(given: Given, names: tuple[str, ...], every: bool, where: str, as_json: bool) -> None:
    """Let workers take no more jobs of QUEUE.

    Until `spoolq queues resume`. Jobs are enqueued as before, and what workers have taken already is run. The pause is kept in
    Redis and in this host's spool, where there is one: workers of spoolq's obey it on all hosts.
    """
    _set(given, names, every, where, as_json, paused=True)


@_of_queues("Take back `pause --all`. A queue that is paused by itself stays so.")
@acts
def resume(given: Given, names: tuple[str, ...], every: bool, where: str, as_json: bool) -> None:
    """Let workers take jobs of QUEUE again. They see it within a second or so."""
    _set(given, names, every, where, as_json, paused=False)


def _set(given: Given, names: tuple[str, ...], every: bool, where: str, as_json: bool, *, paused: bool) -> None:
    if bool(names) == every:
        raise click.UsageError("name the queues, or give --all for all of them" + (", not both" if names else ""))
    for name in names:
        checked(name)
    asked = (EVERY_QUEUE,) if every else tuple(dict.fromkeys(names))
    still: dict[str, list[str]] = {}

    def change(place: Place) -> list[tuple[Place, str, bool]]:
        verb = place.store.pause if paused else place.store.resume
        changed = [(place, queue, verb(queue)) for queue in asked]
        if not paused and (held := _still(place.store.paused(), asked)):
            still[place.where] = held
        return changed

    answers, fault = look(given.open(), where, change)
    done = [one for answer in answers for one in answer]
    if as_json:
        emit({"queues": [{"in": at.name, "queue": queue, "paused": paused, "changed": changed} for at, queue, changed in done]})
    else:
        for place, queue, changed in done:
            what = clean(_named([queue]))
            if changed:
                click.echo(f"{'Paused' if paused else 'Resumed'} {what} in {place.where}.")
            else:
                who = "All queues were" if queue == EVERY_QUEUE else f"{what} was"
                hint(f"{who} {'paused already' if paused else 'not paused'} in {place.where}.")
        for where, held in still.items():
            hint(f"Still paused in {where}: {clean(_named(held))}. {_ends(held)} ends that.")
    if fault is not None:
        raise fault


@queues.command()
@click.argument("queue")
@where_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@json_option
@command_options()
@acts
def purge(given: Given, queue: str, where: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Delete the ready jobs of QUEUE for good. Scheduled and running ones stay, and so do failures.

    Asks for the queue's name first, and says the count. Exit 1 when there is no such queue.
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
        typed(f"Delete {words} for good?", queue)
    purged = 0
    for place in found:
        with place.asking():
            purged += purging.purge(place.store, queue)
    _say(as_json, {"queue": queue, "dry_run": False, "purged": purged}, f"Deleted {jobs(purged)} of {clean(queue)}.")


class _Held(NamedTuple):
    """What one store has, paused queues without a job included."""

    name: str
    paused: Mapping[str, float]
    all_depths: Sequence[Depth]

    @property
    def depths(self) -> list[Depth]:
        empty = self.paused.keys() - {depth.queue for depth in self.all_depths} - {EVERY_QUEUE}
        return sorted([*self.all_depths, *(Depth(queue, 0, 0, 0, None) for queue in empty)])

    def says(self, queue: str, now: float) -> str:
        since = facts.paused_since(self.paused, queue)
        return "" if since is None else f"for {say_age(max(0.0, now - since))}" if since else "yes"


def _still(paused: Mapping[str, float], resumed: Sequence[str]) -> list[str]:
    """What goes on keeping jobs from those that were resumed, or was meant with all."""
    return [queue for queue in paused if queue == EVERY_QUEUE or resumed == (EVERY_QUEUE,)]


def _ends(paused: Iterable[str]) -> str:
    """The commands that end such a pause."""
    names = [queue for queue in sorted(paused) if queue != EVERY_QUEUE]
    words = [*(["--all"] if EVERY_QUEUE in paused else []), *([shlex.join(map(clean, names))] if names else [])]
    return " and ".join(f"`spoolq queues resume {each}`" for each in words)


def _named(queues: Iterable[str]) -> str:
    return ", ".join("all queues" if queue == EVERY_QUEUE else queue for queue in sorted(queues))


def _say(as_json: bool, document: dict[str, Any], words: str) -> None:
    if as_json:
        emit(document)
    else:
        click.echo(words)
