"""`spoolq failed groups`: failures that are the same fault."""

from __future__ import annotations

import time

import click

from spoolq.cli.failed_choice import choice_options
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import emit, hint, table
from spoolq.cli.stores import Place, look, where_option
from spoolq.failurelog.choice import Choice
from spoolq.failurelog.groups import NEWEST, Group, newest
from spoolq.failurelog.groups import groups as grouped
from spoolq.units import jobs, say_age


@click.command()
@click.option("--newest", "most", metavar="N", type=click.IntRange(1), default=NEWEST, show_default=True, help="Of so many.")
@choice_options
@where_option
@json_option
@command_options()
def groups(given: Given, most: int, choice: Choice, where: str, as_json: bool) -> None:
    """Failures by class of error and task: how many, since when. Those with the most come first."""

    def ask(place: Place) -> tuple[str, int, int, list[Group]]:
        looked = list(newest(place.store.failures, most))
        return place.name, place.store.failures.count(), len(looked), grouped(one for one in looked if choice.fits(one))

    answers, fault = look(given.open(), where, ask)
    rows = [(name, group) for name, _, _, found in answers for group in found]
    if as_json:
        looked = {name: {"count": count, "looked_at": seen} for name, count, seen, _ in answers}
        emit({"logs": looked, "groups": [{"in": name, **group.document()} for name, group in rows]})
    elif rows:
        now = time.time()
        table(
            ("ERROR", "TASK", "IN", "COUNT", "FIRST", "LAST", "NEWEST SAYS"),
            [_row(name, group, now) for name, group in rows],
            right=("COUNT",),
        )
    elif fault is None:
        hint("No such failures." if choice else "No failures.")
    for name, count, seen, _ in answers:
        if seen < count and not as_json:
            hint(f"Of the newest {seen:,} of {jobs(count, 'failure')} in {name}; more with --newest.")
    if fault is not None:
        raise fault


def _row(name: str, group: Group, now: float) -> tuple[object, ...]:
    first, last = _ago(group.first, now), _ago(group.last, now)
    return group.exception, group.task, name, f"{group.count:,}", first, last, group.error


def _ago(at: float, now: float) -> str:
    return f"{say_age(now - at)} ago" if at else "-"
