"""Writes the tables of docs/faults.md: `python -m tests.faults.page`. The first is what the matrix holds every fault to, the
second the code's own table of reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spoolq.store.redis import outcomes
from spoolq.store.redis.outcomes import Reason
from tests.faults.recipes import FAULTS
from tests.faults.table import NOT_CAUSED, Outcome, expected

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def reasons() -> list[Reason]:
    """Every reason that spoolq/store/redis/outcomes.py knows, each once."""
    found = set()
    for value in vars(outcomes).values():
        if isinstance(value, Reason):
            found.add(value)
        elif isinstance(value, dict):
            found |= {one for one in value.values() if isinstance(one, Reason)}
    return sorted(found | {reason for _, reason in outcomes.BY_TEXT})


def faults() -> Iterator[str]:
    """The rows of the first table."""
    yield "| fault | what was done | cold connection | warm connection |"
    yield "|---|---|---|---|"
    for fault in FAULTS.values():
        cells = [" or ".join(map(_cell, expected(fault.name, s))) if s in fault.states else "" for s in ("cold", "warm")]
        if cells[0] == cells[1]:
            cells[1] = "the same"
        yield f"| {fault.name} | {fault.about} | {cells[0]} | {cells[1]} |"


def _cell(outcome: Outcome) -> str:
    if outcome.route == "primary":
        return "Redis"
    parts = ["spool"]
    if outcome.doubt:
        parts.append(f"in doubt (Redis {'has' if outcome.applied else 'does not have'} it)")
    parts.append(f"`{outcome.reason}`")
    if not outcome.opens:
        parts.append("breaker stays shut")
    return ", ".join(parts)


def words() -> Iterator[str]:
    """The rows of the second."""
    yield "| reason | for everybody | what to do | |"
    yield "|---|---|---|---|"
    for word in sorted({reason.word for reason in reasons()}):
        same = [reason for reason in reasons() if reason.word == word]
        wide = "yes" if all(r.server_wide for r in same) else "no" if not any(r.server_wide for r in same) else "by what it is"
        advice = " / ".join(dict.fromkeys(reason.advice for reason in same if reason.advice))
        note = f"not in the matrix: {NOT_CAUSED[word]}" if word in NOT_CAUSED else ""
        yield f"| `{word}` | {wide} | {advice} | {note} |"


def written(text: str) -> str:
    """The page with its tables made anew."""
    for rows in (list(faults()), list(words())):
        table = rf"^{re.escape(rows[0])}\n(\|.*\n)*"
        assert len(re.findall(table, text, re.M)) == 1, f"the page has no table that begins with {rows[0]}"
        text = re.sub(table, "\n".join([*rows, ""]).replace("\\", r"\\"), text, flags=re.M)
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
