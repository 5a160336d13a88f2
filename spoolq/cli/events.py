"""`spoolq events`: what befell this host, from its journal; with --follow as it comes."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from spoolq import units
from spoolq.cli import journal
from spoolq.cli.faults import Fault, asking_spool
from spoolq.cli.opening import Given, command_options, no_spool
from spoolq.cli.output import WIDTH, clean, emit, hint
from spoolq.errors import StoreUnavailable
from spoolq.events import document
from spoolq.store.events import KINDS, Event, EventLog
from spoolq.units import say_age

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

_EVERY = 1.0  # seconds between looks of --follow
_PAGE = 500


def _span(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else units.duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected a duration such as 30m, 12h or 7d") from None


@click.command()
@click.option("--follow", is_flag=True, help="Go on with those that come, until interrupted.")
@click.option(
    "--kind",
    "kinds",
    metavar="KIND",
    type=click.Choice(KINDS),
    multiple=True,
    help=f"Only of this kind: {', '.join(KINDS)}. Can be given again.",
)
@click.option("--since", metavar="SPAN", callback=_span, help="Only of the last SPAN: 30m, 12h, 7d.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The newest N. [50; with --follow 10]")
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line instead of text.")
@command_options()
def events(given: Given, follow: bool, kinds: tuple[str, ...], since: float | None, limit: int | None, as_json: bool) -> None:
    """What befell this host: outages, drains, faults, and what operators did here.

    Oldest first, from the journal in this host's spool. It needs no Redis, and keeps the newest 10,000 of 90 days. Exit 1 when
    there is no spool; --follow waits for one.
    """
    with contextlib.suppress(KeyboardInterrupt) if follow else contextlib.nullcontext():
        _tell(given.open(), follow, kinds, since, limit, as_json)


def _tell(q: SpoolQ, follow: bool, kinds: tuple[str, ...], since: float | None, limit: int | None, as_json: bool) -> None:
    with asking_spool():
        log = _log(q, follow)
        after = 0.0 if since is None else time.time() - since
        newest = log.page(limit=1)  # first: what is written down meanwhile is among those found, or comes
        found = log.page(limit=limit or (10 if follow else 50), kinds=kinds, since=after)[::-1]
    for event in found:
        _show(event, as_json, live=follow)
    if not (found or follow or as_json):
        hint("Nothing was written down so far." if not (kinds or since) else "Nothing of that was written down.")
    if follow:
        for event in _coming(log, max([one.number for one in [*newest, *found]], default=0), kinds):
            _show(event, as_json, live=True)


def _log(q: SpoolQ, follow: bool) -> EventLog:
    """The journal of this host; followed, it is waited for where there is none so far."""
    told = False
    while (log := journal.existing(q)) is None:
        missing = no_spool(q) if q.settings.sqlite_path is None else f"no queue at {q.settings.sqlite_path}"
        if not follow:
            raise Fault(missing)
        if not told:
            hint(f"spoolq: {missing}; it is waited for")
        told = True
        time.sleep(_EVERY)
    return log


def _coming(log: EventLog, last: int, kinds: tuple[str, ...]) -> Iterator[Event]:
    """Those that are written down from now on. A spool that can't be read, or is set aside and begun anew, is waited for."""
    told = False
    while True:
        sys.stdout.flush()
        try:
            found = log.after(last, _PAGE, kinds=kinds)
        except StoreUnavailable as error:
            if not told:
                hint(f"spoolq: {error}; it is tried again")
            told = True
            time.sleep(_EVERY)
            continue
        told = False
        yield from found
        last = found[-1].number if found else last
        if len(found) < _PAGE:
            time.sleep(_EVERY)


def _show(event: Event, as_json: bool, *, live: bool) -> None:
    if as_json:
        emit(document(event))
        return
    when = time.strftime("%H:%M:%S", time.localtime(event.at)) if live else say_age(max(0.0, time.time() - event.at))
    times = event.detail.get("times")
    again = f" ({times} times)" if times else ""
    head = f"{when:>11}  {event.kind:<15}  "
    lines = textwrap.wrap(clean(event.text) + again, WIDTH - len(head), break_on_hyphens=False) or [""]
    for line in lines:
        click.echo(f"{head}{line}".rstrip())
        head = " " * len(head)
