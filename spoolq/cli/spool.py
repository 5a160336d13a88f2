"""`spoolq spool`: this host's spool, looked at and mended. `spool_quarantine` and `spool_transfer` hold the other commands."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from spoolq import checks
from spoolq.cli.faults import PROBLEM, asking_spool
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, existing_spool, json_option, spool_of
from spoolq.cli.output import agreed, clean, emit, hint, terminal
from spoolq.cli.spool_probe import probe
from spoolq.cli.spool_quarantine import quarantine
from spoolq.cli.spool_transfer import export, import_
from spoolq.cli.upgrade import upgrade
from spoolq.errors import StoreUnavailable
from spoolq.facts import spool_info
from spoolq.store.upkeep import Finding, Recovered
from spoolq.units import jobs, say_age, say_size, when

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

ASKING = 2.0  # seconds for Redis to answer a check


@click.group()
def spool() -> None:
    """This host's spool: facts, check, repair, quarantine, moving it elsewhere."""


spool.add_command(probe)
spool.add_command(quarantine)
spool.add_command(export)
spool.add_command(import_)
spool.add_command(upgrade)


@spool.command("info")
@json_option
@command_options()
def info(given: Given, as_json: bool) -> None:
    """What the spool holds, how full it is, for which Redis. Exit 1 when there is none."""
    q = given.open()
    with asking_spool():
        facts = existing_spool(q).info()
    if as_json:
        emit(spool_info(facts, time.time()))
        return
    shown = [
        ("path", facts.path),
        ("for", facts.destination),
        ("waiting", jobs(facts.rows) + (f", oldest {say_age(facts.oldest)}" if facts.rows else "")),
        ("in hand", f"{facts.claimed:,} (claimed by a drainer or a local worker)"),
        ("in doubt", f"{facts.in_doubt:,} (Redis may have them already: only a drainer takes them)"),
        ("kept", f"{facts.kept:,} (Redis has them: kept until it has persisted them, sent again if it loses them)"),
        ("set aside", f"{facts.quarantined:,} (will not run until somebody looks)"),
        ("failed here", f"{facts.failures:,}"),
        ("to be told", f"{facts.settlements:,} (what became of jobs of Redis, which it can't be told now)"),
        ("full", f"{100 * facts.share:.0f} % (by {facts.bound})"),
        ("size", f"{say_size(facts.bytes)} of {say_size(facts.limit_bytes)}"),
        ("disk free", f"{say_size(facts.disk_free)} (jobs are refused below {say_size(facts.min_free)})"),
        ("reserve", f"{say_size(facts.reserve)} (given up when the disk is full, so that it can be drained)"),
        ("draining", "goes on" if facts.drain_paused_at is None else f"paused since {when(facts.drain_paused_at)}"),
        ("format", f"schema {facts.schema}, SQLite {facts.sqlite}"),
        *(("damaged", f"{path}: its jobs wait for `spoolq spool recover`") for path in facts.damaged),
        *(("incomplete", f"{path}: not all of it could be read; move it away once that is settled") for path in facts.incomplete),
    ]
    for label, value in shown:
        click.echo(f"{label:<12} {clean(value)}")


@spool.command("check")
@click.option("--whole", is_flag=True, help="Look at the structure however long it takes; the -wal may grow meanwhile.")
@json_option
@command_options()
def check(given: Given, whole: bool, as_json: bool) -> None:
    """Whether the file is sound, and Redis set up to keep jobs. Looks at the file's structure, the checksum of each row, what
    waits for a person, and Redis's settings. Changes nothing in the spool.

    Safe beside everything that uses it. Exit 1 when something was found that is more than a note.
    """
    q = given.open()
    with asking_spool():
        store = existing_spool(q)
        inside = store.upkeep.check(whole=whole, report=_progress())
    answers, found = _ask(q)
    with suppress(StoreUnavailable):  # of a damaged file, which is among the findings
        found = [*checks.spool(store.info(), answers=answers), *found]
    found = [*inside, *found]
    well = all(one.level not in ("warning", "problem") for one in found)
    if as_json:
        emit({"path": str(q.settings.spool_path), "ok": well, "findings": [one._asdict() for one in found]})
    else:
        _print(found, str(q.settings.spool_path), sound=not inside)
    if not well:
        sys.exit(PROBLEM)


def _ask(q: SpoolQ) -> tuple[bool, list[Finding]]:
    """Whether Redis takes jobs now, and the findings on it."""
    try:
        q.primary.ready(ASKING)
        facts = q.primary.server_facts(ASKING)
    except StoreUnavailable as error:
        return False, [checks.refusal(error)]
    return True, [] if facts is None else checks.server(facts)


def _progress() -> Callable[[int], None]:
    """A count on a terminal, nothing in a pipe."""
    if not terminal(err=True):
        return lambda rows: None
    return lambda rows: click.echo(f"\r{rows:,} rows", nl=False, err=True)


def _print(found: list[Finding], path: str, *, sound: bool) -> None:
    if terminal(err=True):
        hint("\r")
    if sound:
        click.echo(f"{clean(path)} is sound.")
    for one in found:
        colour = {"problem": "red", "warning": "yellow"}.get(one.level)
        click.echo(click.style(f"{one.level}: {one.name}: {clean(one.what)}", fg=colour))
        click.echo(f"  {clean(one.remedy)}")


@spool.command("compact")
@click.option("--dry-run", is_flag=True, help="Only say how much would be given back.")
@json_option
@command_options()
@acts
def compact(given: Given, dry_run: bool, as_json: bool) -> None:
    """Give the room of jobs that are gone back to the disk. In small steps, safe beside everything that uses the spool."""
    q = given.open()
    with asking_spool():
        found = existing_spool(q)
        before, after = found.upkeep.compactable() if dry_run else found.upkeep.compact()
        q.close()  # copies the -wal into the file, which is cut then
    if as_json:
        emit({"dry_run": dry_run, "before": before, "after": after})
    else:
        words = "would be" if dry_run else "is now"
        click.echo(f"{clean(q.settings.spool_path)}: was {say_size(before)}, {words} {say_size(after)}.")


@spool.command("recover")
@click.option("--dry-run", is_flag=True, help="Only say which files would be read.")
@click.option("--yes", is_flag=True, help="Don't ask before the spool itself is set aside.")
@json_option
@command_options()
@acts
def recover(given: Given, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Save what can be read of a damaged spool into a new one.

    A spool that can't be read through is set aside whole first (renamed, with its -wal); files that were set aside before are
    read too. Nothing is deleted. What is saved is in doubt: it goes to Redis by `spoolq drain`. Exit 1 when not all could be
    read, or there is no spool.
    """
    q = given.open()
    with asking_spool():
        upkeep = spool_of(q).upkeep
        damaged, aside = upkeep.damaged()
        if not (damaged or aside):
            existing_spool(q).info()  # what isn't there, or can't be opened, is not sound
        if damaged and not dry_run and not yes:
            agreed(f"{clean(q.settings.spool_path)} is damaged. Set it aside and begin a new one?")
        done = [] if dry_run else upkeep.recover()
    if as_json:
        files = [one._asdict() for one in done]
        emit({"dry_run": dry_run, "damaged": damaged, "set_aside": list(aside), "recovered": files})
    elif dry_run:
        click.echo(f"The spool is {'damaged, and would be set aside' if damaged else 'sound'}.")
        for path in aside:
            click.echo(f"Would be read: {clean(path)}")
    else:
        _report(done)
    if any(not one.complete for one in done):
        sys.exit(PROBLEM)


def _report(done: list[Recovered]) -> None:
    if not done:
        click.echo("Nothing to recover: the spool is sound, and none was set aside.")
    for one in done:
        click.echo(f"{clean(os.path.basename(one.path))}: {jobs(one.saved)} saved.")
        details = (
            (one.quarantined, "of them set aside: `spoolq spool quarantine list`"),
            (one.known, "known here already"),
            (one.failures, "failures saved"),
            (len(one.lost), f"surely lost: {', '.join(one.lost[:10])}"),
        )
        for count, words in details:
            if count:
                click.echo(f"  {count:,} {clean(words)}")
        if not one.complete:
            click.echo("  Not all of the file could be read. It is kept: `spoolq status` names it until you move it away.")
