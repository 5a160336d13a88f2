"""The page that compares node-resque's interface with ours: it has a row for every name of the package, and names tests that are
there."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "node-resque.md"
STATES = {"done", "differently", "left out"}
pytestmark = pytest.mark.node


def names(package: Path) -> set[str]:
    """`Queue.enqueue`, `Worker.on("poll")`, `WorkerOptions.timeout`, `Retry.options.retryLimit`: all that the types show, and the
    options that the plugins read, of which the types say nothing."""
    found: set[str] = set()
    for path in package.rglob("*.d.ts"):
        owner = ""
        for line in path.read_text("utf-8").splitlines():
            if begun := re.match(r"(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type) (\w+)", line):
                owner = begun[1]
            elif line.startswith("}"):
                owner = ""
            elif owner and (member := re.match(r" {4}(?:abstract )?(\w+)[?]?[(:]", line)):
                if member[1] not in ("on", "once"):
                    found.add(f"{owner}.{member[1]}")
                elif member[1] == "on":
                    found |= {f'{owner}.on("{event}")' for event in re.findall(r'"(\w+)"', line.split(",")[0])}
    for path in (package / "dist" / "plugins").glob("*.js"):
        text = path.read_text("utf-8")
        found |= {
            f"{path.stem}.options.{option}" for option in re.findall(rf"\b(?:this\.options|options\.{path.stem})\.(\w+)", text)
        }
    return found


def rows() -> list[tuple[list[str], str, str]]:
    """The names of each row, its state, and the cell of its tests."""
    found = []
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            found.append((re.findall(r"`([^`]+)`", cells[0]), cells[1].partition(":")[0].strip(), cells[3]))
    return found


def test_every_name_of_the_package_has_one_row(peers: tuple[str, Path]) -> None:
    expected = names(peers[1] / "node_modules" / "node-resque")
    assert {"Queue.enqueue", 'Worker.on("poll")', "SchedulerOptions.stuckWorkerTimeout", "Retry.options.retryLimit"} <= expected
    counted = Counter(name for row, _, _ in rows() for name in row)
    assert sorted(expected - counted.keys()) == [], "forgotten"
    assert sorted(counted.keys() - expected) == [], "not in the package"
    assert [name for name, count in counted.items() if count > 1] == []


def test_every_state_is_one_of_four_and_what_is_done_names_a_test_that_is_there() -> None:
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
    }
    for row, state, tests in rows():
        assert state in STATES, row
        named = re.findall(r"`(test_\w+)`", tests)
        assert set(named) <= defined, f"{row}: {set(named) - defined}"
        assert named or state != "done", f"{row} is done, and no test shows it"
