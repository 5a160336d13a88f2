"""Which jobs a command of `spoolq jobs` is about: options that choose, and where those of an id are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import click

from spoolq import choosing
from spoolq.choosing import JobChoice
from spoolq.cli.failed_choice import some_text
from spoolq.cli.output import clean
from spoolq.cli.stores import Place
from spoolq.store.waiting import WaitingJob
from spoolq.whereabouts import WAITING, state_of


class Meant(NamedTuple):
    """What the options say: `state` is one of WAITING, or None for all."""

    choice: JobChoice
    state: str | None

    def __bool__(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.choice) or self.state is not None

    def of(self, place: Place) -> Iterator[WaitingJob]:
        """Those that wait in that store. To be asked within `place.asking()`."""
        ready, scheduled = self.state in (None, "ready"), self.state != "ready"
        for job in choosing.every(place.store, self.choice, ready=ready, scheduled=scheduled):
            if not job.holder and self.state in (None, state_of(job)):
                yield job


def choice_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose jobs that wait; it gets them as one `Meant`, named `meant`."""

    @functools.wraps(function)
    def run(*args: Any, task: str | None, queue: str | None, text: str | None, state: str | None, **values: Any) -> Any:
        retrying = {"scheduled": False, "retrying": True}.get(state or "")
        return function(*args, meant=Meant(JobChoice(task, queue, text, retrying), state), **values)

    options = [
        click.option("--task", metavar="NAME", callback=some_text, help="Only of this task."),
        click.option("--queue", metavar="NAME", callback=some_text, help="Only of this queue."),
        click.option("--text", metavar="TEXT", callback=some_text, help="Only with this in their payload, arguments included."),
        click.option("--state", type=click.Choice(WAITING), help="Only these: retrying are those to be tried again."),
    ]
    for option in reversed(options):
        run = option(run)
    return run


def must_choose(ids: Sequence[str], meant: Meant) -> None:
    """Raise UsageError unless the jobs meant are named in one way."""
    if ids and meant:
        raise click.UsageError("IDs, or a choice such as --task: give one of them")
    if not ids and not meant:
        raise click.UsageError("name the IDs, or choose (--task, --queue, --text, --state)")


def named(ids: Sequence[str]) -> str:
    """Some of these ids, for a person."""
    return ", ".join(map(clean, ids[:10])) + (f" and {len(ids) - 10:,} more" if len(ids) > 10 else "")
