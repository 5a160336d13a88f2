"""`spoolq status` and `spoolq health`: where the jobs are, and whether anything is lost."""

from __future__ import annotations

import contextlib
import logging
import sys
import textwrap
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from spoolq import accounting, quotas
from spoolq import facts as looking
from spoolq.cli import accounts
from spoolq.cli import pool as pools
from spoolq.cli.opening import Given, command_options, json_option
from spoolq.cli.output import clean, emit, table, terminal
from spoolq.errors import SpoolqError
from spoolq.facts import Facts, Side
from spoolq.store.base import EVERY_QUEUE, WorkerView
from spoolq.units import jobs, say_age, say_size, when
from spoolq.verdict import DEGRADED, OK, UNKNOWN, UNSURE, Verdict, judge

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

log = logging.getLogger("spoolq")

WIDTH = 80
SHOWN = 20  # queues and workers; the rest is counted


@click.command()
@json_option
@click.option("--watch", is_flag=True, help="Again every --every, until interrupted; with --json one document a line.")
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True, metavar="SECONDS", help="For --watch.")
@command_options()
def status(given: Given, as_json: bool, watch: bool, every: float) -> None:
    """Where the jobs are: in Redis, in this host's spool, at work. The first line says whether anything is lost.

    Only looks: makes no file and changes nothing. Exit 0 whatever it finds; a monitor asks `spoolq health`.
    """
    q = given.open()
    # interrupted anywhere, also while it looks: that is how a watch ends
    with contextlib.suppress(KeyboardInterrupt) if watch else contextlib.nullcontext():
        while True:
            facts = looking.gather(q)
            verdict = judge(facts)
            if as_json:
                emit(_document(facts, verdict) | {"accounts": _accounts(q, facts)})
            else:
                if watch and terminal():
                    click.clear()
                _print(facts, verdict, quotas.words(q.settings.concurrency, q.settings.rate_limits))
            if not watch:
                return
            sys.stdout.flush()
            time.sleep(every)


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
        verdict = Verdict(UNKNOWN, UNSURE, str(error))
    except click.ClickException:
        raise
    except Exception as error:  # Python would end it with 1, which is "degraded"
        log.exception("an error of our own")
        verdict = Verdict(UNKNOWN, UNSURE, f"an error of spoolq's own: {type(error).__name__}: {error}")
    if as_json:
        emit(_document(facts, verdict))
    else:
        lost = "" if verdict.level == UNKNOWN else f"{_lower(verdict.lost)}. "
        click.echo(clean(f"{verdict.word}: {lost}{_upper(verdict.sentence) if lost else verdict.sentence}"))
    sys.exit(verdict.level)


def _accounts(q: SpoolQ, facts: Facts) -> dict[str, object] | None:
    found = accounts.of(q, facts)
    return None if found is None else accounting.document(found)


def _document(facts: Facts | None, verdict: Verdict) -> dict[str, object]:
    shown = {} if facts is None else looking.document(facts)
    return {"state": verdict.word, "lost": verdict.lost, "summary": f"{verdict.lost}. {_upper(verdict.sentence)}", **shown}


def _print(facts: Facts, verdict: Verdict, limits: Mapping[str, str]) -> None:
    colour = "green" if verdict.level == OK else "yellow" if verdict.level == DEGRADED else "red"
    sentence = clean(_upper(verdict.sentence))
    lines = [f"{verdict.lost}. {sentence}"]
    if len(lines[0]) > WIDTH:
        lines = [f"{verdict.lost}.", *textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)]
    for number, line in enumerate(lines):
        click.echo(click.style(line, fg=colour, bold=number == 0))
    click.echo()
    _line("Redis" if facts.primary.kind == "redis" else "Queue", facts.primary.name, _primary(facts))
    if facts.spool is not None:
        _line("Spool", facts.spool.name, _spool(facts.spool))
    for one in facts.waiting:
        age = say_age(max(0.0, facts.at - one.since))
        who = "a worker uploads them" if one.url else "failure_log names no bucket for them: see `spoolq failed import`"
        _line("Outbox", one.url or str(one.folder), [f"{jobs(one.files, 'file')} of failures on this disk, oldest {age}", who])
    for state, _ in facts.pools[:SHOWN]:
        _line("Pool", state.address, [pools.line(state)])
    _queues(facts, limits)
    _workers(facts)


def _line(label: str, name: str, words: list[str]) -> None:
    click.echo(f"{label:<6} {clean(name)}")
    for line in textwrap.wrap(clean("; ".join(words)), WIDTH - 7, break_long_words=False, break_on_hyphens=False):
        click.echo(f"       {line}")


def _primary(facts: Facts) -> list[str]:
    words = _of_primary(facts.primary)
    if facts.outage is None:
        return words
    age = say_age(max(0.0, facts.at - facts.outage.since))
    return [*words, f"producers here have gone to the spool for {age} ({facts.outage.reason})"]


def _of_primary(side: Side) -> list[str]:
    if side.state != "up":
        if side.state == "absent":
            return ["no file there"]
        held = (
            ["what it held is as safe as it was set to keep it (appendonly, save)"]
            if side.kind == "redis" and side.state == "away"
            else []
        )
        return [side.error or side.state, *held]
    words = [f"answers in {(side.latency or 0.0) * 1000:.1f} ms", *_paused(side)]
    return [*words, f"{jobs(side.failures)} in the failure log"] if side.failures else words


def _spool(side: Side) -> list[str]:
    info = side.info
    if info is None:
        # The path stands above: an absent file is said to be absent, never to be empty.
        return ["no file there" if side.state == "absent" else side.error or side.state]
    oldest = f", oldest {say_age(info.oldest)}" if info.rows else ""
    words = [f"{jobs(info.rows)} waiting{oldest}", *_paused(side)]
    if info.drain_paused_at is not None:
        words.append(f"draining is paused since {when(info.drain_paused_at)} (`spoolq drain resume`)")
    if info.in_doubt:
        words.append(f"{info.in_doubt:,} in doubt")
    if info.kept:
        words.append(f"{info.kept:,} in Redis, and kept until it has persisted them")
    if info.quarantined:
        words.append(f"{info.quarantined:,} set aside")
    if side.failures:
        words.append(f"{side.failures:,} failed here")
    words.append(
        f"{say_size(info.bytes)} of {say_size(info.limit_bytes)}, {say_size(info.disk_free)} free on the disk, "
        f"{100 * info.share:.0f} % full"
    )
    if side.refuses:
        words.append(f"TAKES NO JOBS: {side.refuses}")
    return words


def _paused(side: Side) -> list[str]:
    words = []
    for queue, since in sorted(side.paused.items()):
        at = when(since or None)
        words.append(f"{'all queues are' if queue == EVERY_QUEUE else f'{queue} is'} paused{f' since {at}' if at else ''}")
    return words


def _queues(facts: Facts, limits: Mapping[str, str]) -> None:
    sides = [facts.primary] if facts.spool is None else [facts.primary, facts.spool]
    rows = [
        (
            *(depth.queue, side.kind, f"{depth.ready:,}", f"{depth.scheduled:,}", f"{depth.claimed:,}", say_age(depth.oldest)),
            *([limits.get(depth.queue, "")] if limits else []),
        )
        for side in sides
        for depth in side.depths
    ]
    if not rows:
        return
    click.echo()
    table(
        ("QUEUE", "IN", "READY", "SCHEDULED", "RUNNING", "OLDEST", *(["LIMIT"] if limits else [])),
        rows[:SHOWN],
        right=("READY", "SCHEDULED", "RUNNING", "OLDEST"),
    )
    _more(len(rows), "queues", "spoolq queues list")


def _workers(facts: Facts) -> None:
    sides = [facts.primary] if facts.spool is None else [facts.primary, facts.spool]
    rows = [_worker(view, side.kind) for side in sides for view in side.workers]
    if not rows:
        return
    click.echo()
    table(("WORKER", "IN", "KIND", "BUSY", "HEARD", "QUEUES"), rows[:SHOWN], right=("BUSY",))
    _more(len(rows), "workers", "spoolq status --json")


def _worker(view: WorkerView, where: str) -> tuple[str, ...]:
    info = view.info
    # Within its lease one that was killed looks like one that lives, so what is said is when it was heard of.
    heard = f"{say_age(max(0.0, info.lease - view.lease_left))} ago{'' if view.lease_left >= 0 else ', gone'}"
    queues = ",".join(info.queues) or "*"
    busy = f"{len(view.working)}/{info.threads}" if info.threads and info.kind == "worker" else f"{view.claims}"
    return f"{info.host}:{info.pid}", where, info.role, busy, heard, queues if info.kind == "worker" else "spool to Redis"


def _more(count: int, what: str, command: str) -> None:
    if count > SHOWN:
        click.echo(f"... and {count - SHOWN} more {what}: {command}")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
