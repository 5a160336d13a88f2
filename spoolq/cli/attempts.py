"""The attempts at a failed job, as `spoolq failed show` prints them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import click

from spoolq.cli.output import table
from spoolq.job import Attempt, Failure
from spoolq.units import when


def document(failure: Failure) -> dict[str, Any]:
    """What is known of the attempts and of where the last one ran, for JSON. Empty, None where it isn't known."""
    return {
        "host": failure.host or None,
        "pid": failure.pid,
        "versions": dict(failure.versions),
        "history": [
            {
                "attempt": one.number,
                "ended_at": when(one.at),
                "took": one.took,
                "worker": one.worker or None,
                "exception": one.exception,
                "error": one.error,
            }
            for one in failure.history
        ],
    }


def show(failure: Failure) -> None:
    """A line for each attempt that is known, and one for those between them that weren't kept. Nothing where none is."""
    if not failure.history:
        return
    rows: list[tuple[object, ...]] = [_row(failure.history[0])]
    for before, one in pairwise(failure.history):
        if (between := one.number - before.number - 1) > 0:
            rows.append(("...", f"({between:,} more)", "", "", ""))
        rows.append(_row(one))
    click.echo()
    table(("ATTEMPT", "ENDED", "AFTER", "ON", "ERROR"), rows, right=("ATTEMPT", "AFTER"))
    click.echo()


def _row(one: Attempt) -> tuple[object, ...]:
    took = "" if one.took is None else f"{one.took:,.3f} s"
    return one.number, when(one.at), took, one.worker, f"{one.exception}: {one.error}" if one.error else one.exception


def versions(failure: Failure) -> str:
    """`spoolq 0.1.0, python 3.11.7`."""
    return ", ".join(f"{name} {version}" for name, version in failure.versions.items())
