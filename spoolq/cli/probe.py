"""`spoolq probe`: liveness and readiness for who asks by a command, as an orchestrator does in a worker's container."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import click

from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit
from spoolq.errors import SpoolqError
from spoolq.probes import Answer, Readiness, workers_live
from spoolq.verdict import UNKNOWN, WORDS

WAIT = 5.0  # seconds that an answer may take


@click.group()
def probe() -> None:
    """Ask for an orchestrator: exit 0 yes, 1 no. Never 1 for an outage that the spool absorbs."""


@probe.command()
@json_option
@command_options(level="ERROR")
def ready(given: Given, as_json: bool) -> None:
    """Whether a job that is enqueued here now is safe.

    Yes also while Redis is away and the spool works: who is taken out of service for that has lost what spoolq is for.
    """
    from spoolq.facts import gather

    try:
        q = given.open()
    except SpoolqError as error:
        _end(Answer(503, {"ready": False, "state": WORDS[UNKNOWN], "summary": str(error)}), as_json)
    _end(Readiness(lambda: gather(q), wait=WAIT).readyz(), as_json)


@probe.command()
@json_option
@command_options(level="ERROR")
def live(given: Given, as_json: bool) -> None:
    """Whether the workers of this host, or container, go round.

    No where none of this user's runs here, or the main loop of one has told nothing for half a minute. The stores aren't asked.
    """
    from spoolq.autoscale import assembly, board
    from spoolq.presence import Seen, names

    q = given.open()
    now = time.monotonic()
    silent = {f"pool {state.pid}": now - state.at for state in board.states(assembly.folder(q.settings), now)}
    folder = q.workers_folder()
    for name in names(folder):
        with suppress(OSError, ValueError), Seen(folder, name) as seen:
            if seen.pulse.at and not seen.is_dead():
                silent[f"worker {seen.info.pid}"] = now - seen.pulse.at
    _end(workers_live(silent), as_json)


def _end(answer: Answer, as_json: bool) -> None:
    if as_json:
        emit(answer.body)
    else:
        word = answer.body.get("state") or ("live" if answer.yes else "not live")
        click.echo(clean(f"{word}: {answer.body['summary']}"))
    sys.exit(0 if answer.yes else 1)
