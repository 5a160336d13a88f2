"""`spoolq spool export` and `import`: a spool's jobs as JSON Lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from spoolq import transfer
from spoolq.cli.faults import CANT_CREATE, PROBLEM, Fault, asking_spool
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, existing_spool, json_option, spool_of
from spoolq.cli.output import agreed, clean, emit, hint
from spoolq.errors import ConfigError
from spoolq.job import new_id
from spoolq.units import jobs


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--move", is_flag=True, help="Remove from the spool what was written and synced, the failure log too.")
@click.option("--dry-run", is_flag=True, help="Only say how many jobs there are.")
@click.option("--yes", is_flag=True, help="Don't ask before --move.")
@json_option
@command_options()
@acts
def export(given: Given, file: Path, move: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Write the spool's jobs to FILE, as JSON Lines. FILE must not be there yet; it holds the jobs' arguments (mode 0600).

    No job is queued twice by it, whether they are moved or copied, and wherever the file is imported, for as long as the
    horizon. Exported jobs go to Redis only: no worker runs them from a spool. Jobs that a worker or drainer has in hand are
    left out, and what it takes meanwhile stays (exit 1): stop those first to move everything.
    """
    q = given.open()
    with asking_spool():
        spool = existing_spool(q)
        info = spool.info()
    if dry_run:
        done = transfer.Exported()
        done.wrote |= {"job": info.rows - info.claimed, "quarantine": info.quarantined, "failure": info.failures if move else 0}
    else:
        if move and not yes:
            count = info.rows - info.claimed + info.quarantined
            agreed(f"Move {jobs(count)} out of {clean(info.path)} into {clean(file)}?")
        with _new(file) as out, asking_spool():
            sync = _syncing(out) if move else None
            done = transfer.export(spool.upkeep, info, out, id=new_id(), at=time.time(), sync=sync)
    if as_json:
        emit({"dry_run": dry_run, "file": str(file), "wrote": done.wrote, "removed": done.removed, "in_hand": info.claimed})
    else:
        aside = f", {done.wrote['quarantine']:,} of quarantine" if done.wrote["quarantine"] else ""
        failed = f", {jobs(done.wrote['failure'], 'failure')}" if done.wrote["failure"] else ""
        words, then = ("Would write", ", and remove them") if dry_run else ("Wrote", " and removed them")
        click.echo(f"{words} {jobs(done.wrote['job'])}{aside}{failed} to {clean(file)}{then if move else ''}.")
    stayed = done.stayed if move and not dry_run else 0
    if stayed:
        hint(f"spoolq: in the file, and in the spool too, since somebody took them meanwhile: {jobs(stayed)}")
    if info.claimed:
        hint(f"spoolq: left out, in the hands of a worker or drainer: {jobs(info.claimed)}")
    if info.claimed or stayed:
        sys.exit(PROBLEM)


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--to-here", is_flag=True, help="Although it was made for another Redis or namespace.")
@click.option("--dry-run", is_flag=True, help="Read it, and change nothing.")
@json_option
@command_options()
@acts
def import_(given: Given, file: Path, to_here: bool, dry_run: bool, as_json: bool) -> None:
    """Take the jobs of an export into this spool. From there `spoolq drain` sends them to Redis.

    Can be called again: what was taken in is passed over. With --to-here, jobs that the other Redis may have already go to
    quarantine. Exit 1 when a line can't be read or the file ends early, 78 when it is for another Redis.
    """
    q = given.open()
    with asking_spool():
        spool = existing_spool(q) if dry_run else spool_of(q)
        info = spool.info()
        with file.open("rb") as lines:
            done = transfer.load(spool.upkeep, lines, destination=info.destination, to_here=to_here, dry_run=dry_run)
    if as_json:
        bad = [{"line": number, "error": why} for number, why in done.bad]
        counts = {"added": done.added, "known": done.known, "before": done.before, "doubtful": done.doubtful}
        emit({"dry_run": dry_run, "file": str(file), **counts, "bad": bad, "whole": done.whole})
    else:
        words = "Would take in" if dry_run else "Took in"
        more = f" {done.known:,} were known here." if done.known else ""
        again = f" {done.before:,} were taken in before." if done.before else ""
        click.echo(f"{words} {jobs(done.added, 'row')} from {clean(file)}.{more}{again}")
    for number, why in done.bad[:20]:
        hint(f"spoolq: line {number} was left out: {clean(why)}")
    if done.doubtful:
        hint(
            f"spoolq: {jobs(done.doubtful)} may be in the other Redis too (in doubt there, or not known to have left that spool: "
            "only `export --move` removes them), set aside: see `spoolq spool quarantine`"
        )
    if not done.whole:
        hint("spoolq: the file ends early: its export was cut short, and what it lacks is still in that spool")
    if done.bad or not done.whole:
        sys.exit(PROBLEM)


@contextmanager
def _new(file: Path) -> Iterator[IO[bytes]]:
    """That file, made now, for its owner alone, on the disk at the end."""
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already. Nothing was exported; name another file") from error
    except OSError as error:
        raise Fault(f"{clean(file)} can't be made: {error.strerror}. Nothing was exported", CANT_CREATE) from error
    try:
        with os.fdopen(fd, "wb") as out:
            directory = os.open(file.absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            yield out
            out.flush()
            os.fsync(fd)
    except OSError as error:
        raise Fault(
            f"{clean(file)} can't be written: {error.strerror}. Each job is in the spool, or in that file and synced",
            CANT_CREATE,
        ) from error


def _syncing(out: IO[bytes]) -> transfer.Sync:
    def sync() -> None:
        out.flush()
        os.fsync(out.fileno())

    return sync
