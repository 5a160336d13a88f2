"""The figures of a run: kept as JSON after each of them, so that a run that was stopped can go on, and shown as a table."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.rows import Row

MORE = {
    "p50_ms": "p50 {:.2f} ms",
    "p99_ms": "p99 {:.2f} ms",
    "worst_ms": "worst {:.1f} ms",
    "first_ms": "first {:.1f} ms",
    "new_ms": "of a new process {:.1f} ms",
    "raises_percent": "{:.0f} % of calls raise",
    "blocks": "blocks: given up after {:.0f} s",
    "started": "its 100th job after {:.2f} s",
    "commands_per_second": "idle {:.1f} commands/s",
    "run_per_second": "{:.1f}/s with those that scripts call",
    "cpu_percent": "idle CPU {:.2f} %",
    "spooled": "{:.0f} went to the spool",
    "taken_out": "takes jobs out before they run",
}


class ChangedError(Exception):
    """What was measured before was measured on something else."""


class Results:
    """Of each row, of each contender, what each round gave. `about` is what was measured on: of a file that is there, `fixed` of
    it must be the same. Raises ChangedError."""

    def __init__(self, path: Path, about: Mapping[str, str], fixed: Iterable[str]) -> None:
        self.path = path
        self.about = dict(about)
        self.rounds: dict[str, dict[str, list[dict[str, float]]]] = {}
        if path.exists():
            kept = json.loads(path.read_text())
            for name in fixed:
                if kept["about"].get(name) != self.about[name]:
                    raise ChangedError(f"{name}: {kept['about'].get(name)} in {path}, {self.about[name]} here")
            self.rounds = {row["name"]: {who: each["rounds"] for who, each in row["contenders"].items()} for row in kept["rows"]}

    def done(self, row: Row, name: str) -> int:
        """How many rounds there are."""
        return len(self.rounds.get(row.name, {}).get(name, ()))

    def add(self, row: Row, name: str, figures: Mapping[str, float]) -> None:
        """One more."""
        self.rounds.setdefault(row.name, {}).setdefault(name, []).append(dict(figures))

    def write(self, rows: Iterable[Row]) -> None:
        """Keep all that there is, in one step."""
        beside = self.path.with_name(f"{self.path.name}.new")
        beside.write_text(json.dumps({"about": self.about, "rows": [self._document(row) for row in rows]}, indent=1))
        os.replace(beside, self.path)

    def _document(self, row: Row) -> dict[str, Any]:
        found = self.rounds.get(row.name, {})
        each = {name: {"rounds": rounds, **_spread(rounds, row.figure)} for name, rounds in found.items()}
        return {"name": row.name, "figure": row.figure, "goal": row.goal, "contenders": each}

    def ratio(self, row: Row, name: str) -> float | None:
        """The first contender's figure over another's, the median of the rounds that both had."""
        found = self.rounds[row.name]
        ours = found[next(iter(found))]
        pairs = [(mine[row.figure], theirs[row.figure]) for mine, theirs in zip(ours, found[name], strict=False)]
        return statistics.median(mine / theirs for mine, theirs in pairs) if all(theirs for _, theirs in pairs) else None

    def markdown(self, rows: Iterable[Row]) -> str:
        """A table: medians, with the lowest and the highest round, and how many times another's figure the first one's is."""
        lines = ["| what | who | median (lowest to highest) | the first beside it | more | goal |", "|---|---|---|---|---|---|"]
        for row in rows:
            for number, (name, rounds) in enumerate(self.rounds.get(row.name, {}).items()):
                figures = _spread(rounds, row.figure)
                form = ",.0f" if figures["median"] >= 100 else ",.2f"
                amount = f"{figures['median']:{form}} ({figures['min']:{form}} to {figures['max']:{form}})"
                ratio = self.ratio(row, name) if number else None
                more = [
                    text.format(statistics.median(each[key] for each in rounds if key in each))
                    for key, text in MORE.items()
                    if key != row.figure and any(key in each for each in rounds)
                ]
                cells = (
                    f"{row.name}, {row.figure.replace('_', ' ')}" if not number else "",
                    name,
                    amount,
                    f"{ratio:.2f}" if ratio is not None else "",
                    ", ".join(more),
                    row.goal if not number else "",
                )
                lines.append(f"| {' | '.join(cells)} |")
        return "\n".join([*lines, "", ", ".join(f"{key} {value}" for key, value in self.about.items()), ""])


def _spread(rounds: list[dict[str, float]], figure: str) -> dict[str, float]:
    each = [one[figure] for one in rounds]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}
