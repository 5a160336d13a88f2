"""`spoolq failed export` and `import`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from spoolq.app import SpoolQ
from spoolq.cli.failed_change import _refused, dry_option
from spoolq.cli.failed_choice import asking, choice_options, read
from spoolq.cli.faults import CANT_CREATE, PROBLEM, Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit
from spoolq.cli.stores import Place, places, where_option
from spoolq.errors import ConfigError
from spoolq.failurelog import entry, moving, source
from spoolq.failurelog.bucket import ObstoreBucket
from spoolq.failurelog.choice import Choice
from spoolq.failurelog.files import FailureFiles
from spoolq.failurelog.target import target
from spoolq.job import Failure
from spoolq.parcels import parcels
from spoolq.units import jobs


@click.command()
@click.argument("to", metavar="TO")
@choice_options
@where_option
@json_option
@command_options()
@acts
def export(given: Given, to: str, choice: Choice, where: str, as_json: bool) -> None:
    """Write failures to a file, a directory or a bucket.

    To a new file, a directory that is there, or s3://bucket/prefix. The stores' lists keep them. JSON Lines in a file (mode
    0600), rotating files in a directory, an object for each in a bucket, where those that are there already stay as they are.
    The application's redact function looks at them where --app names it.
    """
    q = given.open()
    place = target(to, "TO")
    written = 0
    if place.kind == "bucket":
        bucket = ObstoreBucket(place)
        with asking(place.place):
            for some in parcels(_lines(q, choice, where), len):
                fault = next(filter(None, bucket.put([(entry.read(line).key, line) for line in some])), None)
                if fault is not None:
                    raise fault
                written += len(some)
    else:
        path = Path(place.place)
        with asking(place.place):
            if path.is_dir():
                written = _oldest_first(
                    path, _lines(q, choice, where), FailureFiles(path, max_bytes=q.settings.failure_log_size, keep=None).append
                )
            else:
                with _new(path) as file:
                    written = _oldest_first(path.parent, _lines(q, choice, where), lambda lines: _write(file, lines))
    if as_json:
        emit({"to": place.place, "written": written})
    else:
        click.echo(f"Wrote {jobs(written, 'failure')} to {clean(place.place)}.")


@click.command("import")
@click.argument("origin", metavar="FROM")
@choice_options
@dry_option
@json_option
@command_options()
@acts
def import_(given: Given, origin: str, choice: Choice, dry_run: bool, as_json: bool) -> None:
    """Take failures into the primary's list.

    From a file, a directory, or s3://bucket/prefix. Can be called again: those that the list has are passed over. Exit 1 when
    some can't be taken in: redacted, or unreadable.
    """
    q = given.open()
    place = source.source(origin)
    primary = next(iter(places(q, "primary")))
    with asking(place.name), primary.asking():
        moved = moving.take_in(read(place, choice, oldest=True), primary.store.failures, dry_run=dry_run)
    if as_json:
        counts = {"added": moved.done, "known": moved.known, "redacted": len(moved.redacted), "bad": moved.bad}
        emit({"dry_run": dry_run, "from": place.name, **counts})
    else:
        more = f" {moved.known:,} {'was' if moved.known == 1 else 'were'} there already." if moved.known else ""
        click.echo(f"{'Would take' if dry_run else 'Took'} in {jobs(moved.done, 'failure')} of {clean(place.name)}.{more}")
    if _refused(moved, "taken in"):
        sys.exit(PROBLEM)


def _found(q: SpoolQ, choice: Choice, where: str) -> Iterator[Failure]:
    for place in places(q, where):
        yield from _of(place, choice)


def _of(place: Place, choice: Choice) -> Iterator[Failure]:
    failures = moving.walk(place.store.failures)
    while True:
        with place.asking():
            failure = next(failures, None)
        if failure is None:
            return
        if choice.fits(failure):
            yield failure


def _lines(q: SpoolQ, choice: Choice, where: str) -> Iterator[bytes]:
    return (entry.written(failure, q.redact) for failure in _found(q, choice, where))


def _oldest_first(folder: Path, lines: Iterable[bytes], write: Callable[[list[bytes]], None]) -> int:
    """Write them in the order in which they failed, as a worker would have. They come newest first, and may be many."""
    count = 0
    with tempfile.TemporaryFile(dir=folder) as turned:
        for line in lines:
            turned.write(line + b"\n")
            count += 1
        for batch in parcels(filter(None, source.backwards(turned)), len):
            write(batch)
    return count


def _write(file: IO[bytes], lines: list[bytes]) -> None:
    file.writelines(line + b"\n" for line in lines)


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    """That file, made now, for its owner alone, on the disk at the end; gone again where it isn't whole."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already. Nothing was exported; name another file, or a directory") from error
    except OSError as error:
        raise Fault(f"{clean(path)} can't be made: {error.strerror}. Nothing was exported", CANT_CREATE) from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
