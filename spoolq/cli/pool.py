"""`spoolq pool`: the pools of worker processes, how large each is and why, and an operator's word on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, hint, table
from spoolq.cli.stores import look, where_option
from spoolq.errors import ConfigError

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.autoscale.board import State
    from spoolq.autoscale.sample import Bounds

NONE = "No pool is known: `spoolq worker APP --processes MIN:MAX` starts one, and shows it within a few seconds."


@click.group()
def pool() -> None:
    """List pools of worker processes, and say how large they may be."""


@pool.command("list")
@json_option
@command_options()
def list_(given: Given, as_json: bool) -> None:
    """How large each pool is, and why.

    How many processes it wants, how many work, within which bounds, and the reason of its last decision, be it to hold.
    Those of this host and user are seen also while Redis is away.
    """
    found, fault = known(given.open())
    if as_json:
        from spoolq.autoscale.board import document

        emit({"pools": [document(state, heard) for state, heard in found]})
    elif found:
        table(
            ("POOL", "PID", "STATE", "WANTED", "WORK", "LEAVING", "BOUNDS", "BY", "WHY"),
            [_row(state) for state, _ in found],
            right=("PID", "WANTED", "WORK", "LEAVING"),
        )
    elif fault is None:
        hint(NONE)
    if fault is not None:
        raise fault


@pool.command()
@click.argument("size", metavar="N|MIN:MAX|auto")
@click.argument("address", metavar="[HOST/NAME]", required=False)
@click.option("--all", "every", is_flag=True, help="All pools, on all hosts, those to come included.")
@where_option
@json_option
@command_options()
@acts
def scale(given: Given, size: str, address: str | None, every: bool, where: str, as_json: bool) -> None:
    """Say how large a pool may be.

    Exactly N processes, MIN to MAX of them, or as it was started (auto).

    Obeyed within a few seconds, and until the next word: kept in Redis and in this host's spool, where there is one. What runs is
    finished, however long it takes. Of several words the newest counts, be it for one pool or for all.
    """
    from spoolq.autoscale.words import EVERY_POOL, parse, say

    if every and address is not None:
        raise click.UsageError("name one pool, or give --all for all of them, not both")
    try:
        bounds = parse(size)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    q = given.open()
    meant = EVERY_POOL if every else _meant(q, address)
    now = time.time()

    def change(place: Any) -> tuple[str, str]:
        say([place.store], meant, bounds, now)
        return place.name, place.where

    done, fault = look(q, where, change)
    if as_json:
        emit({"pool": meant, "scale": size, "in": [name for name, _ in done]})
    else:
        what = "all pools" if every else f"pool {clean(meant)}"
        for _, place in done:
            click.echo(f"{_words(bounds)} for {what}, in {place}.")
    if fault is not None:
        if any(name == "spool" for name, _ in done):
            hint("Pools of this host hear it from the spool, and tell Redis when it is back.")
        raise fault


def known(q: SpoolQ) -> tuple[list[tuple[State, float | None]], Fault | None]:
    """The pools that this host or the primary knows of, by address, and how long ago each was heard of: None where another host
    tells of it. The fault of a primary that doesn't answer comes beside what is known."""
    from spoolq.autoscale import gauge
    from spoolq.autoscale.assembly import merged

    try:
        answers, _ = look(q, "primary", lambda place: gauge.published(place.store))
    except Fault as error:
        return merged(q.settings, ()), error
    return merged(q.settings, [state for states in answers for state in states]), None


def line(state: State) -> str:
    """One pool in a few words, for `spoolq status`."""
    there = f"{state.wanted} process(es) wanted, {state.ready} work{'s' if state.ready == 1 else ''}"
    leaving = f", {state.leaving} finish what they run" if state.leaving else ""
    by = f"{state.least}:{state.most} by {'an operator' if _spoken(state) else '--processes'}"
    return f"{there}{leaving} ({by}); {state.why}"


def _meant(q: SpoolQ, address: str | None) -> str:
    """The one pool that is meant. Raises Fault where that isn't clear."""
    if address is not None:
        host, slash, name = address.partition("/")
        if not (host and slash and name) or not address.isprintable() or set(address) & set("*, "):
            raise click.UsageError(f"{clean(address)!r}: expected HOST/NAME, as `spoolq pool list` has it")
        return address
    found, fault = known(q)
    addresses = sorted({state.address for state, _ in found})
    if len(addresses) == 1 and fault is None:
        return addresses[0]
    if len(addresses) == 1:
        hint(f"Of this host only {clean(addresses[0])} is known, and other hosts can't be asked.")
        return addresses[0]
    if addresses:
        raise Fault(f"there are {len(addresses)} pools; name one, or give --all: {', '.join(map(clean, addresses))}")
    raise fault or Fault(f"{NONE} To speak to one that is still to come, name it (HOST/NAME), or give --all.")


def _row(state: State) -> tuple[object, ...]:
    bounds = f"{state.least}:{state.most}"
    by = "operator" if _spoken(state) else "--processes"
    return state.address, state.pid, state.state, state.wanted, state.ready, state.leaving, bounds, by, state.why


def _spoken(state: State) -> bool:
    return state.said not in ("", "auto")


def _words(bounds: Bounds | None) -> str:
    return "The size of its start" if bounds is None else f"{bounds} process(es)"
