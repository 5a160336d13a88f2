"""`spoolq status` and `spoolq health`: where the jobs are, and whether anything is lost."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from spoolq import accounting, quotas
from spoolq import facts as looking
from spoolq.cli import accounts, status_text, watching
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, terminal
from spoolq.errors import SpoolqError
from spoolq.facts import Facts
from spoolq.units import MANY
from spoolq.verdict import UNKNOWN, UNSURE, Verdict, judge

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq")


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Again every --every, until interrupted; with --json one document a line.")
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True, metavar="SECONDS", help="For --watch.")
@command_options()
def status(given: Given, as_json: bool, watch: bool, every: float) -> None:
    """Where the jobs are: in Redis, in this host's spool, at work. The first line says whether anything is lost, and
    what to do now.

    Only looks: makes no file and changes nothing. Exit 0 whatever it finds; a monitor asks `spoolq health`.
    """
    q = given.open()
    limits = quotas.words(q.settings.concurrency, q.settings.rate_limits)

    def look() -> None:
        facts = looking.gather(q)
        if as_json:
            emit(_document(facts, judge(facts), limits) | {"accounts": _accounts(q, facts)})
        else:
            status_text.show(facts, judge(facts), limits)

    if not watch:
        look()
    elif as_json or not terminal():
        watching.plain(look, every)
    else:
        watching.live(look, every)


@click.command()
@json_option
@command_options(level="ERROR")
def health(given: Given, as_json: bool) -> None:
    """One line on standard output, and an exit code for a monitor.

    0 well; 1 degraded (jobs are taken, and somebody should look: Redis is away, jobs are set aside, nobody runs them); 2
    critical (new jobs are refused); 3 unknown.
    """
    facts = None
    try:
        facts = looking.gather(given.open())
        verdict = judge(facts)
    except SpoolqError as error:  # also a wrong setting: a check that could not be made is "unknown" to a monitor
        verdict = Verdict(UNKNOWN, UNSURE, str(error), "Mend what the message names")
    except click.ClickException:
        raise
    except Exception as error:  # Python would end it with 1, which is "degraded"
        log.exception("an error of our own")
        verdict = Verdict(UNKNOWN, UNSURE, f"an error of spoolq's own: {type(error).__name__}: {error}", "Tell spoolq's makers")
    if as_json:
        emit(_document(facts, verdict))
    else:
        lost = "" if verdict.level == UNKNOWN else f"{_lower(verdict.lost)}. "
        click.echo(clean(f"{verdict.word}: {lost}{_upper(verdict.sentence) if lost else verdict.sentence}"))
    sys.exit(verdict.level)


def _accounts(q: SpoolQ, facts: Facts) -> dict[str, object] | None:
    found = accounts.of(q, facts, MANY)
    return None if found is None else accounting.document(found)


def _document(facts: Facts | None, verdict: Verdict, limits: Mapping[str, str] | None = None) -> dict[str, object]:
    shown = {} if facts is None else looking.document(facts)
    if limits is not None:
        shown["limits"] = limits
    return {
        "state": verdict.word,
        "lost": verdict.lost,
        "do": verdict.todo,
        "summary": f"{verdict.lost}. {_upper(verdict.sentence)}",
        **shown,
    }


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
