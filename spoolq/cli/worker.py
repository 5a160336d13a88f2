"""`spoolq worker`: run an application's jobs."""

from __future__ import annotations

import logging
import sys

import click

from spoolq import units
from spoolq.cli.away import asking_primary
from spoolq.cli.opening import Given, command_options

log = logging.getLogger("spoolq.worker")


def _grace(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 25 or 2m") from None


def _queues(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise click.BadParameter(f"{text!r} names no queue")
    return names


@click.command()
@click.argument("app")
@click.option("--queues", metavar="A,B", callback=_queues, help="In order of priority; by default those of the tasks.")
@click.option("--threads", type=click.IntRange(1, 1000), default=4, show_default=True, help="Jobs at the same time.")
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--no-local", "local", flag_value=False, default=True, help="Don't run the spool's own jobs while Redis is away.")
@click.option("--no-drain", "drain", flag_value=False, default=True, help="Don't move this host's spool into Redis.")
@click.option("--grace", metavar="SPAN", callback=_grace, help="For running jobs at TERM, then they are put back. [25s]")
@command_options(app=False, level="INFO")
def worker(
    given: Given,
    queues: tuple[str, ...],
    threads: int,
    burst: bool,
    local: bool,
    drain: bool,
    grace: float | None,
) -> None:
    """Run the jobs of APP, a SpoolQ object as module:attribute, such as shop.jobs:q.

    TERM or INT: take no more, finish within the grace, put the rest back; a second one stops now.
    """
    q = given.open()
    if not q.tasks.names():
        log.warning("%s has no tasks: every job will fail as unknown; import the modules that define them in APP", given.app)
    elif unused := [queue for queue in queues if queue not in q.tasks.queues()]:
        log.warning(
            "%s: no task of %s has it for its own (they have %s)", ", ".join(unused), given.app, ", ".join(q.tasks.queues())
        )
    with asking_primary(q):
        running = q.worker(queues=queues, threads=threads, burst=burst, local=local, drain=drain, grace=grace)
        running.install_signals()
        sys.exit(running.run())
