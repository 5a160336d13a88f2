"""Is this deployment well, and which settings hold here?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from spoolq.config import KINDS
from spoolq.dashboard.asking import Action, Answer, Ask, Done, View
from spoolq.settings_words import plain, words
from spoolq.units import when

if TYPE_CHECKING:
    from spoolq.store.upkeep import Finding

MARKS = {"problem": "bad", "warning": "warn", "unknown": "unknown", "note": "info", "ok": "ok"}


def show(ask: Ask) -> Answer:
    """Findings, worst first, and the settings with where each came from."""
    examination = ask.desk.examination
    examination.look()
    findings = list(examination.findings)
    every = ask.query.get("all") == "1"
    counts = {level: sum(one.level == level for one in findings) for level in MARKS}
    shown = ask.q.settings.shown()
    shows = {
        "findings": lines([one for one in findings if every or one.level not in ("ok", "note")]),
        "counts": counts,
        "every": every,
        "at": examination.at,
        "running": examination.running,
        "marks": MARKS,
        "settings": [(name, words(name, shown[name]), ask.q.origins[name]) for name in KINDS],
        "file": ask.q.origins.file,
        "warnings": ask.q.origins.warnings,
    }
    document = {
        "at": when(examination.at),
        "running": examination.running,
        "findings": [one._asdict() for one in findings],
        "settings": {name: {"value": plain(shown[name]), "origin": ask.q.origins[name]} for name in KINDS},
        "warnings": list(ask.q.origins.warnings),
    }
    return Answer("doctor.html", "Doctor", shows, document)


class Line(NamedTuple):
    """A row of the table: a finding, and the checks that have it."""

    level: str
    names: tuple[str, ...]
    what: str
    remedy: str


def lines(findings: Sequence[Finding]) -> list[Line]:
    """Each finding a line; those that could not be looked at for the same reason are one."""
    found: dict[tuple[str, str, str, int], Line] = {}
    for number, one in enumerate(findings):
        key = one.level, one.what, one.remedy, 0 if one.level == "unknown" else number
        names = found[key].names if key in found else ()
        found[key] = Line(one.level, (*names, one.name), one.what, one.remedy)
    return list(found.values())


def _again(ask: Ask) -> Done:
    ask.desk.examination.look(0.0)
    until = time.monotonic() + 5.0
    while ask.desk.examination.running and time.monotonic() < until:
        time.sleep(0.05)
    done: dict[str, Any] = {"running": ask.desk.examination.running}
    return Done("Looked again." if not done["running"] else "It is being looked at.", "/doctor", done)


VIEWS = (View("doctor", "/doctor", show, "Doctor"),)
ACTIONS = (Action("doctor.look", "/doctor/look", _again),)
