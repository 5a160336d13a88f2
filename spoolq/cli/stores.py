"""The stores that a command is about: the primary, this host's spool, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click

from spoolq.cli.away import asking_primary
from spoolq.cli.faults import Fault, asking_spool
from spoolq.cli.opening import existing_spool, must_exist
from spoolq.places import there
from spoolq.store.base import Store

if TYPE_CHECKING:
    from spoolq.app import SpoolQ


class Place(NamedTuple):
    """One store, to be asked within `asking()`. `name` is `redis`, `sqlite` or `spool`; `where` says it in words."""

    name: str
    where: str
    store: Store
    asking: Callable[[], AbstractContextManager[None]]


where_option = click.option(
    "--in",
    "where",
    type=click.Choice(["primary", "spool", "all"]),
    default="all",
    show_default=True,
    help="Which store: the primary (Redis), this host's spool, or both.",
)


T = TypeVar("T")


def look(q: SpoolQ, where: str, ask: Callable[[Place], T]) -> tuple[list[T], Fault | None]:
    """What each store meant by `--in` answers. One of several that doesn't answer is left out, and its fault returned for the
    end of the command; when there is nothing else to show it is raised."""
    answers: list[T] = []
    fault = None
    for place in places(q, where):
        try:
            with place.asking():
                answers.append(ask(place))
        except Fault as error:
            fault = error
    if fault is not None and not answers:
        raise fault
    return answers, fault


def places(q: SpoolQ, where: str) -> Iterator[Place]:
    """The stores meant by `--in`. A spool that isn't there is left out of `all`."""
    path = q.settings.sqlite_path
    if where in ("spool", "all") and path is None and (where == "spool" or there(q.settings.spool_path)):
        with asking_spool():
            spool = existing_spool(q)
        yield Place("spool", f"the spool {q.settings.spool_path}", spool, asking_spool)
    elif where == "spool":
        existing_spool(q)  # says why there is none
    if where in ("primary", "all"):
        must_exist(q)
        other = (
            "`--in spool` asks this host's spool alone."
            if where == "all" and path is None and there(q.settings.spool_path)
            else ""
        )
        with asking_primary(q):
            primary = q.primary
        name, words = ("redis", q.settings.destination) if path is None else ("sqlite", f"the queue {path}")
        yield Place(name, words, primary, partial(asking_primary, q, other))
