"""`spoolq doctor`: every trap that spoolq knows, looked for here, each with its remedy."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from spoolq.cli.faults import PROBLEM
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import WIDTH, clean, emit, table
from spoolq.errors import ConfigError

if TYPE_CHECKING:
    from spoolq.store.upkeep import Finding

INDENT = "  "
UNUSABLE = "with wrong settings, or an APP that can't be loaded, nothing of spoolq's starts here"
COLOURS = {"problem": "red", "warning": "yellow"}


@click.command()
@click.argument("app", required=False)
@click.option("--app", "named", metavar="APP", help="As the argument.")
@click.option("--deep", is_flag=True, help="Read the whole spool, however long that takes.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this check, or subject; again for more.")
@click.option("--list", "listed", is_flag=True, help="List the checks, and make none.")
@json_option
@command_options(app=False, level="ERROR")
def doctor(given: Given, named: str | None, deep: bool, only: tuple[str, ...], listed: bool, as_json: bool) -> None:
    """Look for everything that spoolq knows to go wrong: in Redis, the spool, the workers and this host.

    APP (module:attribute) makes its tasks known. Changes nothing. Each finding has a remedy. Exit 1 when there is a problem or a
    warning, also where Redis is away; 0 otherwise.
    """
    from spoolq.doctor import CHECKS, check

    if listed:
        _list(as_json)
        return
    known = {one.name for one in CHECKS} | {one.subject for one in CHECKS}
    if wrong := [name for name in only if name not in known]:
        raise click.UsageError(f"there is no check {wrong[0]!r}; `spoolq doctor --list` has them all")
    given = replace(given, app=given.app or named)
    try:
        q = given.open()
    except ConfigError as error:
        from spoolq.store.upkeep import Finding

        _finish([Finding("settings", "problem", str(error), "mend that, and look again: no check was made")], as_json)
        return
    _finish(check(q, given.app, deep, only=only), as_json)


def _list(as_json: bool) -> None:
    from spoolq.doctor import CHECKS

    if as_json:
        emit({"checks": [{"name": one.name, "subject": one.subject, "asks": one.asks, "why": one.why} for one in CHECKS]})
        return
    table(("CHECK", "OF", "LOOKS WHETHER"), [(one.name, one.subject, one.asks) for one in CHECKS])


def _finish(found: Sequence[Finding], as_json: bool) -> None:
    bad = [one for one in found if one.level in ("problem", "warning")]
    if as_json:
        emit({"ok": not bad, "findings": [{**one._asdict(), "why": _why(one)} for one in found]})
    else:
        _print(found)
    if bad:
        sys.exit(PROBLEM)


def _print(found: Sequence[Finding]) -> None:
    for one in found:
        if one.level in ("problem", "warning", "note"):
            said = _filled(f"{one.level}: {one.name}: {clean(one.what)}", "")
            click.echo(click.style(said, fg=COLOURS.get(one.level), bold=one.level != "note"))
            if one.level != "note" and (why := _why(one)):
                click.echo(_filled(f"why: {why}", INDENT))
            _remedy(one)
    unseen = [one for one in found if one.level == "unknown"]
    for reason in dict.fromkeys((one.what, one.remedy) for one in unseen):  # one cause may keep many from being made
        those = [one for one in unseen if (one.what, one.remedy) == reason]
        click.echo(_filled(f"unknown: {', '.join(one.name for one in those)}: {clean(reason[0])}", ""))
        _remedy(those[0])
    counts = {level: sum(one.level == level for one in found) for level in ("problem", "warning")}
    names = {one.name for one in found}
    well = names - {one.name for one in found if one.level not in ("ok", "note")}
    said = ", ".join(_many(count, level) for level, count in counts.items() if count) or "Nothing found"
    left = f", {len({one.name for one in unseen})} could not be looked at" if unseen else ""
    click.echo(f"{said}; {len(well)} of {len(names)} checks are well{left}.")


def _remedy(one: Finding) -> None:
    if one.remedy:
        click.echo(_filled(f"do:  {clean(one.remedy)}", INDENT))
    click.echo()


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _why(finding: Finding) -> str:
    from spoolq.doctor import CHECKS

    if finding.name == "settings" and finding.level == "problem":
        return UNUSABLE
    return next((one.why for one in CHECKS if one.name == finding.name), "")


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}     " if indent else INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
