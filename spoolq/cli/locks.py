"""`spoolq locks`: the guards of unique, exclusive and limited jobs, node-resque's locks among them."""

from __future__ import annotations

import math
from typing import Any

import click

from spoolq.cli.faults import Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import agreed, clean, emit, hint, table
from spoolq.cli.stores import Place, look, where_option
from spoolq.store.effects import Effects
from spoolq.store.looking import Guard
from spoolq.units import say_age


@click.group()
def locks() -> None:
    """List and remove the locks of unique jobs."""


@locks.command("list")
@where_option
@json_option
@command_options()
def list_(given: Given, where: str, as_json: bool) -> None:
    """Every lock, its holder, and how long it lasts.

    The holder is a job's id, or node-resque.
    """
    q = given.open()
    answers, fault = look(q, where, lambda place: [(place, guard) for guard in place.store.guards()])
    found = [one for answer in answers for one in answer]
    if as_json:
        emit({"locks": [_shown(place, guard) for place, guard in found]})
    elif found:
        rows = [
            (clean(guard.key), place.name, clean(guard.holder), "no end" if guard.left == math.inf else say_age(guard.left))
            for place, guard in found
        ]
        table(("LOCK", "IN", "HOLDER", "LEFT"), rows, right=("LEFT",))
    elif fault is None:
        hint(f"No lock in {q.settings.destination}.")
    if fault is not None:
        raise fault


@locks.command()
@click.argument("name")
@where_option
@json_option
@command_options()
@click.option("--yes", is_flag=True, help="Don't ask.")
@acts
def remove(given: Given, name: str, where: str, as_json: bool, yes: bool) -> None:
    """Remove the lock NAME, as `spoolq locks list` has it. Exit 1 when there is none.

    The next equal job is let in. Nothing that waits or runs is stopped, so that two equal ones may then run side by side. Asks
    first.
    """
    q = given.open()

    def find(place: Place) -> list[tuple[Place, Guard]]:
        return [(place, guard) for guard in place.store.guards() if guard.key == name]

    answers, fault = look(q, where, find)
    found = [one for answer in answers for one in answer]
    if not found:
        raise fault or Fault(f"no lock named {clean(name)!r}; `spoolq locks list` shows those there are")
    if not yes:
        agreed(f"Remove the lock {clean(name)}, held by {clean(found[0][1].holder)}?")
    for place, guard in found:
        with place.asking():
            place.store.put([], Effects(release=((guard.key, guard.holder),)), hold=True)
        if not as_json:
            click.echo(f"Removed {clean(name)} from {place.where}.")
    if as_json:
        emit({"removed": [_shown(place, guard) for place, guard in found]})
    if fault is not None:
        raise fault


def _shown(place: Place, guard: Guard) -> dict[str, Any]:
    left = None if guard.left == math.inf else round(guard.left, 3)
    return {"in": place.name, "lock": guard.key, "holder": guard.holder, "left": left}
