"""`spoolq spool quarantine`: rows that will not run until somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from spoolq.cli.faults import PROBLEM, Fault, asking_spool
from spoolq.cli.journal import acts
from spoolq.cli.opening import Given, command_options, existing_spool, json_option
from spoolq.cli.output import agreed, clean, emit, hint, table
from spoolq.store.upkeep import Quarantined, Upkeep
from spoolq.units import jobs, say_age

RISK = (
    "Released jobs go to Redis by `spoolq drain`, as if spooled now. One that Redis had already, longer ago than the horizon, "
    "is queued a second time: look there first where the reason says so."
)


@click.group()
def quarantine() -> None:
    """Jobs that were set aside: list, show, release, drop."""


@quarantine.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@json_option
@command_options()
def list_(given: Given, limit: int, as_json: bool) -> None:
    """Which jobs were set aside, and why."""
    with asking_spool():
        spool = existing_spool(given.open())
        found = [one for one, _ in zip(_all(spool.upkeep), range(limit), strict=False)]
        count = spool.info().quarantined
    if as_json:
        emit({"count": count, "jobs": [_document(one) for one in found]})
    elif not found:
        hint("Nothing is set aside.")
    else:
        table(("JOB", "QUEUE", "AGE", "REASON"), [(one.id, one.queue, say_age(one.age), one.reason) for one in found])
        if count > len(found):
            hint(f"{len(found):,} of {jobs(count)}; more with --limit.")


@quarantine.command()
@click.argument("id", metavar="ID")
@json_option
@command_options()
def show(given: Given, id: str, as_json: bool) -> None:
    """All of one job: its reason, and the payload with its arguments."""
    with asking_spool():
        found = existing_spool(given.open()).upkeep.find(id)
    if found is None:
        raise Fault(f"no job {clean(id)!r} is set aside; `spoolq spool quarantine list` shows those that are")
    payload = found.payload.decode("utf-8", "backslashreplace")
    if as_json:
        emit({**_document(found), "payload": payload})
        return
    shown = (
        ("job", found.id),
        ("queue", found.queue),
        ("age", say_age(found.age)),
        ("reason", found.reason),
        ("in doubt", "yes: Redis may have it already" if found.in_doubt else "no: Redis has not got it from here"),
        ("checksum", "fits" if found.sound else "DOESN'T FIT: what stands here is not what was enqueued"),
        ("payload", payload),
    )
    for label, value in shown:
        click.echo(f"{label:<9} {clean(value)}")


@quarantine.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Every job that is set aside.")
@click.option("--damaged", is_flag=True, help="Also those whose checksum doesn't fit, as they are now.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@command_options()
@acts
def release(given: Given, ids: tuple[str, ...], every: bool, damaged: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Put jobs back, to be sent to Redis. Exit 1 when one isn't there or stays.

    Released jobs go to Redis by `spoolq drain`, as if spooled now. One that Redis had already, longer ago than the horizon, is
    queued a second time: look there first where the reason says so. A job whose checksum doesn't fit stays, unless --damaged.
    """
    upkeep, chosen, missing = _chosen(given, ids, every)
    done: list[str] = []
    if not dry_run and chosen:
        if not yes:
            agreed(f"{RISK}\nRelease {jobs(len(chosen))}?")
        with asking_spool():
            done = upkeep.release(chosen, damaged=damaged)
    stayed = [] if dry_run else [id for id in chosen if id not in done]
    words = f"Would release {jobs(len(chosen))}." if dry_run else f"Released {jobs(len(done))}."
    if stayed:
        words += f" {jobs(len(stayed))} stayed: the checksum doesn't fit (--damaged), or somebody was faster."
    _end({"dry_run": dry_run, "found": len(chosen), "released": len(done), "stayed": stayed}, words, missing, as_json)
    if stayed:
        sys.exit(PROBLEM)


@quarantine.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Every job that is set aside.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@command_options()
@acts
def drop(given: Given, ids: tuple[str, ...], every: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete jobs for good. Asks first, and names the count. Exit 1 when one isn't there."""
    upkeep, chosen, missing = _chosen(given, ids, every)
    done = 0
    if not dry_run and chosen:
        if not yes:
            agreed(f"Delete {jobs(len(chosen))} for good?")
        with asking_spool():
            done = upkeep.drop(chosen)
    words = f"Would delete {jobs(len(chosen))}." if dry_run else f"Deleted {jobs(done)}."
    _end({"dry_run": dry_run, "found": len(chosen), "dropped": done}, words, missing, as_json)


def _chosen(given: Given, ids: Sequence[str], every: bool) -> tuple[Upkeep, list[str], list[str]]:
    """The quarantined ids that are meant, and those that aren't there."""
    if every == bool(ids):
        raise click.UsageError("name the IDs, or say --all" if not every else "IDs or --all: give one of them")
    with asking_spool():
        upkeep = existing_spool(given.open()).upkeep
        if every:
            return upkeep, [one.id for one in _all(upkeep)], []
        wanted = list(dict.fromkeys(ids))
        chosen = [id for id in wanted if upkeep.find(id) is not None]
    return upkeep, chosen, [id for id in wanted if id not in chosen]


def _all(upkeep: Upkeep) -> Iterator[Quarantined]:
    after = 0
    while page := upkeep.quarantined(after):
        after = page[-1][0]
        yield from (one for _, one in page)


def _end(document: dict[str, Any], words: str, missing: Sequence[str], as_json: bool) -> None:
    if as_json:
        emit({**document, "unknown": missing})
    else:
        click.echo(words)
    if missing:
        hint(f"spoolq: not set aside: {', '.join(map(clean, missing[:10]))}; `spoolq spool quarantine list` shows those that are")
        sys.exit(PROBLEM)


def _document(one: Quarantined) -> dict[str, Any]:
    return {
        "id": one.id,
        "queue": one.queue,
        "reason": one.reason,
        "age": one.age,
        "in_doubt": one.in_doubt,
        "sound": one.sound,
    }
