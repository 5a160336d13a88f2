"""The periodic jobs that the application declares."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

from spoolq import pauses, ticker
from spoolq.dashboard import picking
from spoolq.dashboard.asking import Action, Answer, Ask, Done, NotThere, View
from spoolq.job import new_id
from spoolq.periodic import Entry
from spoolq.units import when

RUNS = 5
"""Runs to come that are shown."""


@dataclass(frozen=True, slots=True)
class Line:
    """A schedule. Times in epoch seconds; `paused`: since when, None where it isn't."""

    name: str
    task: str
    queue: str
    text: str
    words: str
    tz: str
    missed: str
    following: tuple[int, ...]
    last: float | None
    paused: float | None


def show(ask: Ask) -> Answer:
    """Each schedule, with its next runs."""
    now, why = time.time(), ""
    paused: dict[str, float] = {}
    last: dict[str, float | None] = {}
    if ask.facts.primary.state == "absent":  # a file that the first job makes: nothing has run, and nothing is paused
        pass
    elif not picking.answers(ask):
        why = ask.facts.primary.error or "it does not answer"
    else:
        paused = dict(pauses.paused(ask.q.primary))
        last = {entry.name: ticker.last(ask.q.primary, entry) for entry in ask.q.entries.values()}
    lines = [_line(entry, now, last.get(entry.name), paused.get(entry.name)) for entry in ask.q.entries.values()]
    others = sorted(paused.keys() - ask.q.entries.keys())
    shows = {"lines": lines, "why": why, "others": others}
    document = {
        "at": when(ask.facts.at),
        "schedules": [
            {
                **dataclasses.asdict(line),
                "following": [when(tick) for tick in line.following],
                "last": when(line.last),
                "paused": line.paused is not None,
                "paused_at": when(line.paused),
            }
            for line in lines
        ],
        "paused_elsewhere": others,
        "away": why or None,
    }
    return Answer("cron.html", "Cron", shows, document)


def _line(entry: Entry, now: float, last: float | None, paused: float | None) -> Line:
    job, timing = entry.make(entry.id(0)), entry.when
    following = tuple(entry.following(RUNS, now))
    return Line(entry.name, job.task, job.queue, timing.text, timing.words(), timing.tz, entry.missed, following, last, paused)


def _named(ask: Ask) -> str:
    return ask.form.get("name", "")


def _entry(ask: Ask) -> Entry:
    entry = ask.q.entries.get(_named(ask))
    if entry is None:
        raise NotThere("No such schedule is declared by the application that this dashboard was started with.")
    return entry


def _run(ask: Ask) -> Done:
    entry = _entry(ask)
    job = dataclasses.replace(entry.make(new_id()), given=False)
    receipt = ask.q.submit([job])[0]
    detail: dict[str, Any] = {"schedule": entry.name, "id": receipt.id, "route": receipt.route}
    return Done(f"Enqueued {receipt.id} of {entry.name} ({receipt.route}).", "/cron", detail)


def _pause(ask: Ask) -> Done:
    name = _entry(ask).name
    changed = pauses.pause(ask.q.primary, name, time.time())
    return Done(
        f"{name} {'is' if changed else 'was'} paused{'' if changed else ' already'}.", "/cron", {"schedule": name}, changed
    )


def _resume(ask: Ask) -> Done:
    name = _named(ask)  # one that is paused may be declared no more
    changed = pauses.resume(ask.q.primary, name)
    return Done(f"{name} {'goes on with its next tick' if changed else 'was not paused'}.", "/cron", {"schedule": name}, changed)


VIEWS = (View("cron", "/cron", show, "Cron"),)
ACTIONS = (
    Action("cron.run", "/cron/run", _run),
    Action("cron.pause", "/cron/pause", _pause),
    Action("cron.resume", "/cron/resume", _resume),
)
