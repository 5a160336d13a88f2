"""One check: what it looks at, why that matters, and how it comes to its findings."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from spoolq.doctor.look import Look, Unseen
from spoolq.store.upkeep import Finding

Subject = Literal["server", "spool", "work", "host"]
Run = Callable[[Look], Iterable[Finding]]
LONG = frozenset({"inside", "structure", "checksum", "damaged", "quarantine", "full", "wal", "reserve", "mode"})
"""What `deep` gives all the time that it takes: the look into the file, and who waits for it."""


@dataclass(frozen=True, slots=True)
class Check:
    """`asks` says what is looked at, as it should be; `why`, what goes wrong otherwise. Both are for people, and stand in the
    docs."""

    name: str
    subject: Subject
    asks: str
    why: str
    run: Run

    def examine(self, look: Look) -> list[Finding]:
        """What it finds, at least one finding, each under the check's own name, in bounded time. Never raises."""
        said = look.within(self.name, lambda look: list(self.run(look)), long=self.name in LONG)
        if isinstance(said, Unseen):
            said = [Finding("", "unknown", str(said), said.remedy)]
        return [one._replace(name=self.name) for one in said] or [Finding(self.name, "ok", self.asks, "")]


class Room:
    """The checks of one subject, in the order in which they are told."""

    def __init__(self, subject: Subject) -> None:
        self.subject: Subject = subject
        self.checks: list[Check] = []

    def check(self, name: str, asks: str, why: str) -> Callable[[Run], Run]:
        """Decorate the function that looks."""

        def add(run: Run) -> Run:
            self.checks.append(Check(name, self.subject, asks, why, run))
            return run

        return add


def problem(what: str, remedy: str) -> Finding:
    """Jobs are lost or refused, or may be."""
    return Finding("", "problem", what, remedy)


def warning(what: str, remedy: str) -> Finding:
    """It works, and somebody should look."""
    return Finding("", "warning", what, remedy)


def note(what: str, remedy: str = "") -> Finding:
    """Good to know."""
    return Finding("", "note", what, remedy)


def short(text: str, most: int = 80) -> str:
    """The beginning of a text of foreign origin, which may be of any length."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def some(names: Iterable[str], most: int = 5) -> str:
    """The first few of them, and how many more: however many there are, a finding stays short."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(short(name) for name in every[:most]) + more


def typed(*words: object) -> str:
    """Words of a command as they are typed: a foreign name in it is one word, whatever a shell would make of it."""
    return " ".join(shlex.quote(str(word)) for word in words)
