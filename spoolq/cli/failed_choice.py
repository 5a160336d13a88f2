"""Which failures a command of `spoolq failed` is about: options that choose, the stores' lists, and places to read from."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from spoolq.cli.faults import BAD_CONFIG, CANT_CREATE, UNREACHABLE, Fault
from spoolq.cli.opening import Given
from spoolq.cli.output import clean
from spoolq.cli.stores import Place, places
from spoolq.failurelog import moving
from spoolq.failurelog.bucket import BucketError
from spoolq.failurelog.choice import Choice, moment
from spoolq.failurelog.entry import Record
from spoolq.failurelog.source import Source


class Found(NamedTuple):
    """The failures that a command is about, in one store: how many entries it has of each job."""

    place: Place
    entries: dict[str, int]


from_option = click.option(
    "--from", "origin", metavar="PLACE", help="A file, directory or s3://bucket/prefix instead of the stores' lists."
)


def _moment(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else moment(text, time.time())
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: expected how long ago, such as 2h or 7d, or a time such as 2026-11-26T09:30Z"
        ) from None


def some_text(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    if text is not None and not text.strip():  # a variable of a script that is empty would choose everything
        raise click.BadParameter("an empty text; leave the option out, or say --all")
    return text


def choice_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose failures; it gets them as one `Choice`, named `choice`."""

    @functools.wraps(function)
    def run(*args: Any, **values: Any) -> Any:
        names = ("task", "queue", "error", "since", "before", "exception")
        return function(*args, choice=Choice(**{name: values.pop(name) for name in names}), **values)

    options = [
        click.option("--task", metavar="NAME", callback=some_text, help="Only of this task."),
        click.option("--queue", metavar="NAME", callback=some_text, help="Only of this queue."),
        click.option("--error", metavar="TEXT", callback=some_text, help="Only those whose error has this in its class or text."),
        click.option("--class", "exception", metavar="NAME", callback=some_text, help="Only those of this class of error."),
        click.option("--since", metavar="WHEN", callback=_moment, help="Only newer ones: 2h (ago), or 2026-11-26T09:30Z."),
        click.option("--before", metavar="WHEN", callback=_moment, help="Only older ones, in the same words."),
    ]
    for option in reversed(options):
        run = option(run)
    return run


def place_alone(where: str) -> None:
    """Raise UsageError where a store is named beside `--from`, which would be passed over in silence."""
    if where != "all":
        raise click.UsageError("--in is for the stores' lists, --from for another place: give one of them")


def must_choose(ids: Sequence[str], every: bool, choice: Choice) -> None:
    """Raise UsageError unless the failures meant are named in one way."""
    if ids and (every or choice):
        raise click.UsageError("IDs, or --all, or a choice such as --task: give one of them")
    if not (ids or every or choice):
        raise click.UsageError("name the IDs, or choose (--task, --queue, --error, --class, --since, --before), or say --all")


def chosen(given: Given, ids: Sequence[str], choice: Choice, where: str) -> tuple[list[Found], list[str]]:
    """The failures that are meant, by store, and the ids that nobody knows. Without ids and choice, all. A job is meant when one
    of its failures fits; all of them count then."""
    found: list[Found] = []
    missing = list(dict.fromkeys(ids))
    for place in places(given.open(), where):
        with place.asking():
            log = place.store.failures
            if choice:
                fitting = {failure.id for failure in moving.walk(log) if choice.fits(failure)}
                entries = log.entries(fitting) if fitting else {}
            else:
                entries = log.entries(missing if ids else None)
        missing = [id for id in missing if id not in entries]
        if entries:
            found.append(Found(place, entries))
    return found, missing


def read(source: Source, choice: Choice, *, oldest: bool = False) -> Iterator[Record]:
    """The failures there that are meant."""
    for record in source.records(since=choice.since, before=choice.before, oldest=oldest):
        if choice.fits(record.failure):
            yield record


@contextmanager
def asking(name: str) -> Iterator[None]:
    """Around what reads or writes that place: its faults in a line."""
    try:
        yield
    except BucketError as error:
        raise Fault(str(error), UNREACHABLE if error.reason == "unreachable" else BAD_CONFIG) from error
    except OSError as error:
        raise Fault(f"{clean(name)}: {error.strerror or error}", CANT_CREATE) from error
