"""`spoolq accounts`: whether it balances, and what is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from spoolq import bookkeeping
from spoolq.accounting import Account, Accounts, document
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import agreed, emit, hint, table
from spoolq.errors import SpoolqError
from spoolq.facts import Facts, gather
from spoolq.units import jobs

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.store.base import Spool, Store

_ANSWER = ("up", "refusing")


def of(q: SpoolQ, facts: Facts, most: int | None = None) -> Accounts | None:
    """The accounts of the stores that can be read; None where none can. `most` as in `Store.tally`."""
    primary, spool = _readable(q, facts)
    if primary is None and spool is None:
        return None
    with contextlib.suppress(SpoolqError):  # it went away just now
        return bookkeeping.balance(primary, spool, most)
    return None


def _readable(q: SpoolQ, facts: Facts) -> tuple[Store | None, Spool | None]:
    primary = q.primary if facts.primary.state in _ANSWER else None
    return primary, q.spool if facts.spool is not None and facts.spool.state in _ANSWER else None


@click.command()
@json_option
@click.option("--write-off", is_flag=True, help="What is missing now is known: count it as gone.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@command_options()
def accounts(given: Given, as_json: bool, write_off: bool, yes: bool) -> None:
    """Does it balance? By queue: the jobs that came, that went, that are there now, and that are missing.

    What is missing came, and neither went nor is there: Redis lost it, or somebody took it who has told nobody. Exit 1 when
    something is missing.
    """
    q = given.open()
    facts = gather(q)
    found = of(q, facts)
    if as_json:
        emit({"read": _read(facts), **({"total": None, "queues": []} if found is None else document(found))})
    elif found is None:
        hint("No store can be read now, so nothing can be said. `spoolq status` says why.")
    else:
        _print(found)
        for side in filter(None, (facts.primary, facts.spool)):
            if side.state not in _ANSWER and side.state != "absent":
                hint(f"{side.name} can't be read now, and isn't counted: {side.error or side.state}")
    if write_off and found is not None and found.total.missing:
        _write_off(q, facts, found.total.missing, yes)
    elif found is None or found.total.missing:
        click.get_current_context().exit(1)


def _write_off(q: SpoolQ, facts: Facts, missing: int, yes: bool) -> None:
    if not yes:
        agreed(f"Count {jobs(missing)} as gone for good?")
    bookkeeping.write_off(*_readable(q, facts))
    hint(f"{jobs(missing)} written off.")


def _read(facts: Facts) -> list[str]:
    return [side.name for side in (facts.primary, facts.spool) if side is not None and side.state in _ANSWER]


def _print(found: Accounts) -> None:
    rows = [*found.queues, *([found.total] if len(found.queues) != 1 or found.total.missing else [])]
    headers = ("QUEUE", "CAME", "DONE", "FAILED", "ELSE", "THERE", "MISSING")
    table(headers, [_row(one, found.total) for one in rows], right=headers[1:])
    total = found.total
    if found.uncounted:
        hint(f"{jobs(found.uncounted)} went together with Redis's count: of which queues isn't known. `spoolq events` says when.")
    if total.taken:
        hint(f"{jobs(total.taken)} went to other workers than spoolq's; of a single queue that is a guess.")
    if total.unexplained:
        hint(f"{jobs(total.unexplained)} more than came: mostly those of other producers, counted once they are taken.")


def _row(one: Account, total: Account) -> Sequence[str]:
    went = one.went
    done, failed = went.get("done", 0), went.get("failed", 0)
    numbers = (one.all_came, done, failed, one.all_went - done - failed + one.taken, one.there, one.missing)
    return ("all" if one is total else one.queue, *(f"{number:,}" for number in numbers))
