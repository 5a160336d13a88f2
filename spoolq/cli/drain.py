"""`spoolq drain`: move this host's spooled jobs into Redis. `spoolq drain pause`, `resume`: an operator's say."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from spoolq import config, units
from spoolq.cli.away import waiting
from spoolq.cli.faults import TRY_LATER, UNREACHABLE, Fault, asking_spool
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, existing_spool, json_option, spool_of
from spoolq.cli.orphans import Orphans, adopt
from spoolq.cli.output import emit, hint
from spoolq.cli.progress import Progress, facts
from spoolq.cli.signals import Signals
from spoolq.cli.upgrade import bring_up
from spoolq.errors import ConfigError, StoreFull, StoreUnavailable
from spoolq.service import Service
from spoolq.store.base import DRAIN_PAUSED
from spoolq.units import jobs, kept

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.drain import Drainer
    from spoolq.sieve import Drained
    from spoolq.store.base import Spool

    Source = Spool | Orphans

log = logging.getLogger("spoolq.drain")


def _span(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 0, 30 or 5m") from None


@click.group(invoke_without_command=True)
@click.option("--once", is_flag=True, help="End when no row is left.")
@click.option("--timeout", metavar="SPAN", callback=_span, help="With --once: bear Redis being away so long. [0]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="At most so many jobs a second.")
@click.option("--batch", type=click.IntRange(1, 10_000), metavar="N", help="At most so many jobs in one step.")
@click.option("--to-here", is_flag=True, help="Also when the spool was made for another Redis or namespace.")
@click.option("--dry-run", is_flag=True, help="Only say how many jobs would move.")
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line instead of text; of --dry-run one alone.")
@command_options(level="INFO")
def drain(
    given: Given,
    once: bool,
    timeout: float | None,
    rate: float | None,
    batch: int | None,
    to_here: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move this host's spooled jobs into Redis, oldest first: into Redis, then out of the spool.

    Safe beside other drainers and workers, and to kill at any time. Without --once it goes on, waits out outages, and ends at
    TERM or INT after the batch. With --json it prints a line a second.

    It begins slowly, goes as fast as Redis has time, and slows down when others have to wait.

    A spool that a host or container left behind is drained from here with --spool FILE, or --spool DIRECTORY for all *.db in
    it and one level below. Its owner may be alive.

    Exit of --once: 0 no row waits (one that is kept although Redis has it doesn't wait); 69 Redis is away and nothing was moved;
    75 rows are left, or draining is paused; 1 there is no spool.
    """
    context = click.get_current_context()
    if context.invoked_subcommand is not None:
        context.obj = given
        return
    if timeout is not None and not once:
        raise click.UsageError("--timeout needs --once: without it the drainer waits for Redis until it is stopped")
    q = given.open()
    orphans = _orphans(q, given, to_here, rate, batch)
    if dry_run:
        _dry_run(q, orphans, as_json)
        return
    if orphans is None:
        bring_up(q)
    if once and not timeout and not log.isEnabledFor(logging.DEBUG):
        logging.getLogger().setLevel("ERROR")  # it ends at once, and says at the end why
    with asking_spool():
        # Without --once the spool may come later: making it here is what tells a wrong path from a quiet host.
        spool: Source
        drainer: Drainer | Orphans
        if orphans is not None:
            orphans.look()
            spool, drainer, beside = orphans, orphans, [orphans.beside]
        else:
            spool = adopt(q, q.settings.spool_path, to_here=True) if to_here else existing_spool(q) if once else spool_of(q)
            drainer = q.drainer(rate=rate, batch=batch, spool=spool, keep=not to_here)
            beside = _beside(q, spool)
            if not (once or to_here):
                beside.append(q.publisher(drainer).turn)
        if to_here:
            beside = []  # what is kept, or to be told, is another Redis's affair
    progress = Progress(spool, drainer, as_json)
    notifier = config.notifier()
    signals = Signals(drainer, progress.status, notifier)

    def report(done: Drained) -> None:
        progress.report(done)
        signals.heed()

    try:
        with signals.installed(), asking_spool():
            if once:
                notifier.ready()
                for turn in beside:  # first: what Redis has lost is to be moved again
                    with suppress(StoreUnavailable):
                        turn()
                drainer.run_once(timeout or 0.0, wait=signals.wait, report=report)
            else:
                log.info("draining %s into %s", q.settings.spool_path, q.settings.destination)
                _go_on(drainer, beside, signals, report, notifier.ready)
            left = drainer.progress.left  # not asked again: what came in since it was empty is the next run's
            left = spool.waiting() if left is None else left
    finally:
        notifier.stopping()
        drainer.close()
    progress.end(left)
    if orphans is not None and (left_alone := orphans.left_alone()):
        count = len(left_alone)
        files, are = ("1 file", "is left as it was") if count == 1 else (f"{count} files", "are left as they were")
        raise Fault(f"{files} in {q.settings.spool_path} {are}", max(left_alone.values()))
    if once:
        _say_kept(spool)
        _exit(q, drainer, left)


def _orphans(q: SpoolQ, given: Given, to_here: bool, rate: float | None, batch: int | None) -> Orphans | None:
    """The spools of the directory that --spool names, where it names one."""
    if given.spool is None or q.settings.sqlite_path is not None or not q.settings.spool_path.is_dir():
        return None
    return Orphans(
        q.settings.spool_path,
        lambda path: adopt(q, path, to_here=to_here),
        lambda spool: q.drainer(rate=rate, batch=batch, spool=spool, keep=not to_here),
        partial(_beside, q),
    )


def _beside(q: SpoolQ, spool: Spool) -> list[Callable[[], float]]:
    """What is done for a spool beside draining it."""
    return [q.replayer(spool).turn, q.watcher(spool).turn, q.bookkeeper(spool).turn]


def _go_on(
    drainer: Drainer | Orphans,
    beside: list[Callable[[], float]],
    signals: Signals,
    report: Callable[[Drained], None],
    ready: Callable[[], None],
) -> None:
    delay = drainer.turn()  # what is wrong from the start ends it at once; later it may be a lock that another holds, or the disk
    ready()
    services = [Service("drainer-beside", turn, quiet=True) for turn in beside]
    for service in services:
        service.start()
    draining = Service("drainer", drainer.turn)
    while not signals.stopping:
        with suppress(StoreUnavailable, ConfigError):  # the next turn says so
            report(drainer.progress)
        if delay > 0:
            signals.wait(delay)
        if not signals.stopping:
            delay = draining.once() or 0.0
    for service in services:
        service.stop(1.0)


def _say_kept(spool: Source) -> None:
    with suppress(StoreUnavailable):
        if kept := spool.kept_count() if isinstance(spool, Orphans) else spool.info().kept:
            hint(
                f"spoolq: Redis has {jobs(kept)} that this host watches until it has persisted them: a worker does, a drain "
                "without --once, or whoever enqueues here"
            )


def _exit(q: SpoolQ, drainer: Drainer | Orphans, left: int) -> None:
    done = drainer.progress
    if not left:
        if done.quarantined:
            hint(f"spoolq: {jobs(done.quarantined)} set aside, see `spoolq spool info`")
        sys.exit(0)
    if done.error is not None and done.error.reason == "paused":
        raise Fault(f"{done.error}\n{kept(left)} in the spool {q.settings.spool_path}.", TRY_LATER)
    why = f"{done.error}\n" if done.error else ""
    full = isinstance(done.error, StoreFull)  # it answers: that isn't out of reach
    raise Fault(
        f"{why}{waiting(q, left, full=full)}",
        TRY_LATER if done.rows or full or not done.error else UNREACHABLE,
    )


@drain.command("pause")
@json_option
@command_options()
@acts
def pause(given: Given, as_json: bool) -> None:
    """Move nothing more from this spool, until `drain resume`. Every drainer obeys, also in workers.

    It is kept in the spool's file, so it needs no Redis and outlives restarts. Exit 1 when there is no spool."""
    _set_paused(given, str(int(time.time())), as_json)


@drain.command("resume")
@json_option
@command_options()
@acts
def resume(given: Given, as_json: bool) -> None:
    """Go on after `drain pause`. Drainers that run notice within a second or two. Exit 1 when there is no spool."""
    _set_paused(given, None, as_json)


def _set_paused(given: Given, since: str | None, as_json: bool) -> None:
    q = given.over(click.get_current_context().obj).open()
    with asking_spool():
        spool = existing_spool(q)
        before = spool.meta(DRAIN_PAUSED)
        changed = spool.set_meta(DRAIN_PAUSED, since, expected=None) if since else spool.set_meta(DRAIN_PAUSED, None)
        left = spool.waiting()
    if as_json:
        told = changed if since else before is not None
        emit({"spool": str(q.settings.spool_path), "paused": bool(since), "changed": told, "waiting": left})
        return
    word = "is paused" if since and changed else "was paused already" if since else "goes on"
    click.echo(f"Draining of {q.settings.spool_path} {word}.")


def _dry_run(q: SpoolQ, orphans: Orphans | None, as_json: bool) -> None:
    with asking_spool():
        if orphans is not None:
            orphans.look()
        spool: Source = existing_spool(q) if orphans is None else orphans
        waiting, depths = spool.waiting(), spool.depths()
    by_queue: dict[str, int] = {}
    for depth in depths:
        by_queue[depth.queue] = by_queue.get(depth.queue, 0) + depth.ready + depth.scheduled + depth.claimed
    if as_json:
        emit({"dry_run": True, "would_move": waiting, "queues": by_queue, "to": q.settings.destination})
        return
    parts = ", ".join(f"{queue} {count:,}" for queue, count in by_queue.items() if count)
    click.echo(f"Would move {jobs(waiting)} into {q.settings.destination}{f': {parts}' if parts else ''}.")


__all__ = ["drain", "facts"]
