"""`spoolq spool`: facts about this host's spool."""

from __future__ import annotations

import time

import click

from spoolq.cli.facts import spool_info
from spoolq.cli.faults import asking_spool
from spoolq.cli.opening import Given, command_options, existing_spool, json_option
from spoolq.cli.output import clean, emit, jobs, when
from spoolq.units import say_age, say_size


@click.group()
def spool() -> None:
    """Facts about this host's spool."""


@spool.command("info")
@json_option
@command_options()
def info(given: Given, as_json: bool) -> None:
    """What the spool holds, how full it is, and for which Redis it is. Exit 1 when there is none."""
    q = given.open()
    with asking_spool():
        facts = existing_spool(q).info()
    if as_json:
        emit(spool_info(facts, time.time()))
        return
    shown = (
        ("path", facts.path),
        ("for", facts.destination),
        ("waiting", jobs(facts.rows) + (f", oldest {say_age(facts.oldest)}" if facts.rows else "")),
        ("in hand", f"{facts.claimed:,} (claimed by a drainer or a local worker)"),
        ("in doubt", f"{facts.in_doubt:,} (Redis may have them already: only a drainer takes them)"),
        ("set aside", f"{facts.quarantined:,} (will not run until somebody looks)"),
        ("failed here", f"{facts.failures:,}"),
        ("full", f"{100 * facts.share:.0f} % (by {facts.bound})"),
        ("size", f"{say_size(facts.bytes)} of {say_size(facts.limit_bytes)}"),
        ("disk free", f"{say_size(facts.disk_free)} (jobs are refused below {say_size(facts.min_free)})"),
        ("reserve", f"{say_size(facts.reserve)} (given up when the disk is full, so that it can be drained)"),
        ("draining", "goes on" if facts.drain_paused_at is None else f"paused since {when(facts.drain_paused_at)}"),
        ("format", f"schema {facts.schema}, SQLite {facts.sqlite}"),
    )
    for label, value in shown:
        click.echo(f"{label:<12} {clean(value)}")
