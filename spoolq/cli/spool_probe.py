"""`spoolq spool probe`: what the dashboard's "Probe now" does."""

from __future__ import annotations

import click

from spoolq.cli.faults import PROBLEM, UNREACHABLE, Fault
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit
from spoolq.probing import probe_now


@click.command()
@json_option
@command_options(level="ERROR")
@acts
def probe(given: Given, as_json: bool) -> None:
    """Ask Redis now, so that jobs go to it again.

    An answer ends the outage for all processes of this host, at once instead of after their next probe. Exit 69 when Redis takes
    no jobs, 1 when it answers too slowly to be used.
    """
    q = given.open()
    if q.settings.sqlite_path is not None:
        raise Fault("this queue is an SQLite file: there is no Redis to ask", 2)
    found = probe_now(q)
    if as_json:
        emit({"answers": found.answers, "used": found.used, "seconds": found.seconds, "summary": found.text})
    elif found.used:
        click.echo(clean(found.text))
    if not found.used:
        raise Fault(clean(found.text), PROBLEM if found.answers else UNREACHABLE)
