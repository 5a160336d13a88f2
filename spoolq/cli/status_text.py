"""The facts of `spoolq status` as lines of 80 columns at most, whatever names, numbers and errors there are."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping, Sequence

import click

from spoolq.cli import pool as pools
from spoolq.cli.output import WIDTH, clean, table, terminal
from spoolq.facts import Facts, Side
from spoolq.hosts import SILENT, HostSpool
from spoolq.store.base import EVERY_QUEUE, WorkerView
from spoolq.units import MANY, jobs, say_age, say_size, when
from spoolq.verdict import DEGRADED, OK, Verdict

NARROWEST = 40
SHOWN = 20  # queues, workers, hosts; the rest is counted
_GAP = 2
_LARGE = 10_000_000


def show(facts: Facts, verdict: Verdict, limits: Mapping[str, str]) -> None:
    colour = "green" if verdict.level == OK else "yellow" if verdict.level == DEGRADED else "red"
    sentence = clean(verdict.sentence[:1].upper() + verdict.sentence[1:])
    for text, bold in ((f"{verdict.lost}. {verdict.todo}.", True), (sentence, False)):
        for line in _wrapped(text, _width()):
            click.echo(click.style(line, fg=colour, bold=bold))
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
    if facts.schedules:
        names = ", ".join(f"{name} for {say_age(max(0.0, facts.at - since))}" for name, since in sorted(facts.schedules.items()))
        _line("Paused", f"schedules: {names} (`spoolq schedule resume`)", [])
    _queues(facts, limits)
    _hosts(facts)
    _workers(facts)


def _line(label: str, name: str, words: list[str]) -> None:
    for line in [*_wrapped(clean(name), _width() - 7), *_wrapped(clean("; ".join(words)), _width() - 7)]:
        click.echo(f"{label:<6} {line}")
        label = ""


def _width() -> int:
    """80, or what a narrower terminal has."""
    columns = click.get_current_context().terminal_width or (
        os.get_terminal_size(sys.stdout.fileno()).columns if terminal() else WIDTH
    )
    return min(WIDTH, max(NARROWEST, columns))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _fitted(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str], shrink: Sequence[str]) -> None:
    """A table that fits: of the columns in `shrink` the widest are shortened first."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = {header: max(map(len, column)) for header, column in zip(headers, zip(headers, *cells, strict=True), strict=True)}
    while sum(widths.values()) + _GAP * (len(headers) - 1) > _width():
        widest = max(shrink, key=lambda header: widths[header])
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    short = [[_short(cell, widths[header]) for header, cell in zip(headers, row, strict=True)] for row in cells]
    table(headers, short, right=right)


def _short(cell: str, width: int) -> str:
    """With its beginning and its end: names differ in either."""
    if len(cell) <= width:
        return cell
    end = (width - 2) // 3
    return f"{cell[: width - 2 - end]}..{cell[len(cell) - end :]}"


def _count(number: int) -> str:
    return f"{number:,}" if number < _LARGE else f"{number / 1e6:,.0f} M"


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
    drains = "drained by somebody here" if side.attended else "nobody drains it now (`spoolq drain`, or a worker, does)"
    words = [f"{jobs(info.rows)} waiting{oldest}", drains, *_paused(side)]
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
            *(depth.queue, side.kind, _count(depth.ready), _count(depth.scheduled), _count(depth.claimed), say_age(depth.oldest)),
            *([limits.get(depth.queue, "")] if limits else []),
        )
        for side in sides
        for depth in side.depths
    ]
    if not rows:
        return
    click.echo()
    _fitted(
        ("QUEUE", "IN", "READY", "SCHEDULED", "RUNNING", "OLDEST", *(["LIMIT"] if limits else [])),
        rows[:SHOWN],
        right=("READY", "SCHEDULED", "RUNNING", "OLDEST"),
        shrink=("QUEUE", "LIMIT") if limits else ("QUEUE",),
    )
    _more(len(rows), "queues", "spoolq queues list")


def _hosts(facts: Facts) -> None:
    """Their spools, this host's among them; nothing where there is only that one and it is well."""
    troubled = [(state, silent) for state, silent in facts.hosts if silent > SILENT or state.rows or state.quarantined]
    if len(facts.hosts) < 2 and not troubled:
        return
    click.echo()
    rows = [_host(state, silent) for state, silent in facts.hosts]
    _fitted(
        ("HOST", "ROWS", "IN DOUBT", "ASIDE", "FULL", "A SECOND", "OLDEST", "HEARD OF"),
        rows[:SHOWN],
        right=("ROWS", "IN DOUBT", "ASIDE", "FULL", "A SECOND", "OLDEST"),
        shrink=("HOST", "HEARD OF"),
    )
    _more(len(rows), "hosts", "spoolq status --json")
    for state, silent in facts.hosts[:SHOWN]:
        if silent > SILENT and (held := state.rows + state.quarantined):
            text = f"{state.host} was not heard of for {say_age(silent)}, {jobs(held)} in its spool then: {state.path} there"
            for line in _wrapped(clean(text), _width()):
                click.echo(line)


def _host(state: HostSpool, silent: float) -> tuple[str, ...]:
    rate = "paused" if state.paused else f"{state.rate:,.0f}" if state.rate else "-"
    heard = f"{say_age(silent)} ago{', silent' if silent > SILENT else ''}"
    numbers = [f"{each:,}" if each <= MANY else f"{MANY:,}+" for each in (state.rows, state.in_doubt, state.quarantined)]
    return (state.host, *numbers, f"{100 * state.share:.0f} %", rate, say_age(state.oldest), heard)


def _workers(facts: Facts) -> None:
    sides = [facts.primary] if facts.spool is None else [facts.primary, facts.spool]
    rows = [_worker(view, side) for side in sides for view in side.workers]
    if not rows:
        return
    click.echo()
    _fitted(("WORKER", "IN", "KIND", "BUSY", "HEARD", "QUEUES"), rows[:SHOWN], right=("BUSY",), shrink=("WORKER", "QUEUES"))
    _more(len(rows), "workers", "spoolq status --json")


def _worker(view: WorkerView, side: Side) -> tuple[str, ...]:
    info = view.info
    # Within its lease one that was killed on another host looks like one that lives, so what is said is when it was heard of.
    gone = view.lease_left < 0 or info.key in side.dead
    heard = f"{say_age(max(0.0, info.lease - view.lease_left))} ago{', gone' if gone else ''}"
    queues = ",".join(info.queues) or "*"
    busy = f"{len(view.working)}/{info.threads}" if info.threads and info.kind == "worker" else f"{view.claims}"
    return f"{info.host}:{info.pid}", side.kind, info.role, busy, heard, queues if info.kind == "worker" else "spool to Redis"


def _more(count: int, what: str, command: str) -> None:
    if count > SHOWN:
        click.echo(f"... and {count - SHOWN} more {what}: {command}")
