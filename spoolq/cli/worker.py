"""`spoolq worker`: run an application's jobs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import click

from spoolq import config, units
from spoolq.cli.away import asking_primary
from spoolq.cli.opening import Given, command_options
from spoolq.cli.upgrade import bring_up
from spoolq.errors import ConfigError
from spoolq.selection import Selection, parse
from spoolq.version import VERSION

if TYPE_CHECKING:
    from spoolq.starting import Seat

log = logging.getLogger("spoolq.worker")

_LEAVING = 5.0  # seconds for what an application does at its exit


def _grace(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 25 or 2m") from None


def _queues(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Selection | None:
    try:
        return None if text is None else parse(text)
    except ConfigError as error:
        raise click.BadParameter(str(error).removeprefix("queues: ")) from None


def _processes(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    least, colon, most = text.partition(":")
    if not least.isdecimal() or not (most if colon else least).isdecimal():
        raise click.BadParameter(f"{text!r}: expected a number, or MIN:MAX such as 2:8")
    found = int(least), int(most or least)
    if not 1 <= found[0] <= found[1] <= 1000:
        raise click.BadParameter(f"{text!r}: expected 1 <= MIN <= MAX <= 1000, such as 2:8")
    return found


def _size(_ctx: click.Context, _param: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else units.size(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a size such as 512MiB") from None


def _name(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    from spoolq.autoscale.words import named

    try:
        return named(text)
    except ConfigError as error:
        raise click.BadParameter(str(error).removeprefix("name=")) from None


def _seat(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Seat | None:
    if text is None:
        return None
    from spoolq.starting import decode

    try:
        return decode(text)
    except ValueError:
        raise click.BadParameter("this is what a pool gives the processes that it starts") from None


@click.command()
@click.argument("app")
@click.option(
    "--queues",
    metavar="A,B:2,C:1",
    callback=_queues,
    help="In order of priority: A first, then of 3 jobs 2 of B and 1 of C. Also '*', 'bulk_*', '!slow'. [those of the tasks]",
)
@click.option("--threads", metavar="N", type=click.IntRange(1, 1000), default=4, show_default=True, help="Jobs at the same time.")
@click.option(
    "--async-concurrency",
    metavar="N",
    type=click.IntRange(0, 10_000),
    default=100,
    show_default=True,
    help="`async def` tasks at the same time, beside the threads.",
)
@click.option("--processes", metavar="MIN:MAX", callback=_processes, help="That many processes, each with its threads.")
@click.option(
    "--start",
    type=click.Choice(["fork", "spawn"]),
    default="fork",
    help="How they begin: as forks, which share what was imported, or anew. [fork]",
)
@click.option("--max-jobs", metavar="N", type=click.IntRange(1), help="Replace a process that has run so many.")
@click.option("--max-memory", metavar="SIZE", callback=_size, help="Replace a process that has become larger, such as 512MiB.")
@click.option(
    "--scale", "policy", type=click.Choice(["load", "multiworker"]), help="By which policy the pool's size follows. [load]"
)
@click.option("--name", metavar="NAME", default="default", callback=_name, help="Of the pool, for `spoolq pool`. [default]")
@click.option("--seat", hidden=True, callback=_seat)
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
@click.option("--no-local", "local", flag_value=False, default=True, help="Don't run the spool's own jobs while Redis is away.")
@click.option("--no-drain", "drain", flag_value=False, default=True, help="Don't move this host's spool into Redis.")
@click.option("--grace", metavar="SPAN", callback=_grace, help="For running jobs at TERM, then they are put back. [25s]")
@command_options(app=False, level="INFO")
def worker(
    given: Given,
    queues: Selection | None,
    threads: int,
    async_concurrency: int,
    processes: tuple[int, int] | None,
    start: str,
    max_jobs: int | None,
    max_memory: int | None,
    policy: str | None,
    name: str,
    seat: Seat | None,
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
    elif unused := [queue for queue in queues.names if queue not in q.queues()] if queues else []:
        log.warning("%s: no task of %s has it for its own (they have %s)", ", ".join(unused), given.app, ", ".join(q.queues()))
    if seat is None:
        where = q.settings.sqlite_path or f"{q.settings.destination}, spool {q.settings.spool_path}"
        log.info("spoolq %s works for %s: %s", VERSION, given.app, where)
        bring_up(q)
    options: dict[str, Any] = {
        "queues": queues or (),
        "threads": threads,
        "async_concurrency": async_concurrency,
        "burst": burst,
        "local": local,
        "drain": drain,
        "grace": grace,
    }
    if processes is None:
        if max_jobs is not None or max_memory is not None:
            raise ConfigError("--max-jobs and --max-memory need --processes: a process alone has nobody who replaces it")
        if policy is not None:
            raise ConfigError("--scale needs --processes MIN:MAX: it decides how many there are between the two")
        with asking_primary(q):
            alone = q.worker(**options)
            alone.install_signals()
            _leave(alone.run(config.notifier()))
    options |= {"max_jobs": max_jobs, "max_memory": max_memory, "name": name}
    if seat is not None:
        from spoolq.starting import serve

        _leave(serve(lambda seat: q.worker(seat=seat, **options), seat))
    if start == "fork" and (others := [each.name for each in threading.enumerate() if each is not threading.main_thread()]):
        log.warning(
            "%s has started threads (%s), and its forks will be without them, perhaps with a lock held: see --start spawn",
            given.app,
            ", ".join(others[:5]),
        )
    scaled = None
    if policy is not None:
        from spoolq.autoscale import assembly

        scaled = assembly.policy(q.settings, policy)
    pool = q.pool(processes, spawn=_again() if start == "spawn" else None, policy=scaled, **options)
    pool.install_signals()
    sys.exit(pool.run(config.notifier()))


def _leave(code: int) -> NoReturn:
    """End, also where threads are left that Python would wait for: such as those of `asyncio.to_thread`, in which jobs run on
    though they were put back."""

    def end() -> None:
        log.warning("the process ends, though threads of its tasks still run")
        logging.shutdown()
        os._exit(code)

    timer = threading.Timer(_LEAVING, end)
    timer.daemon = True
    timer.start()
    sys.exit(code)


def _again() -> list[str]:
    """This command once more, without the seat that it then gets: an option, so no `--` may be before it."""
    return [sys.executable, "-m", "spoolq", *(each for each in sys.argv[1:] if each != "--"), "--seat"]
