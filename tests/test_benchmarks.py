"""The benchmark runs, says beside what and on what, and goes on where it was stopped. Its figures are nobody's business here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.contenders import CONTENDERS, HERE, WANTED
from benchmarks.hole import Hole
from benchmarks.plot import growth
from benchmarks.rows import FULL, GOALS, MORE
from benchmarks.wakeups import WAYS

ROOT = Path(__file__).parents[1]
SHORT = ("--share", 0.05, "--beside")
"""Without the network: the raw limit alone."""


def bench(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def files(tmp_path: Path, one_binary: object) -> list[object]:
    return ["--json", tmp_path / "figures.json", "--markdown", tmp_path / "table.md", "--peers", tmp_path / "peers"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_kind_of_measure_gives_figures_and_a_table(tmp_path: Path, files: list[object]) -> None:
    only = ("gone, one caller", "work, SQLite", "pick-up", "drain", "memory")
    done = bench("quick", "--rounds", 1, "--only", *only, *files, *SHORT, "--also", ROOT)
    assert done.returncode == 0, done.stderr
    figures, table = json.loads((tmp_path / "figures.json").read_text()), (tmp_path / "table.md").read_text()
    measured = {row["name"]: row for row in figures["rows"] if row["contenders"]}
    assert measured.keys() == {row.name for row in GOALS if any(word in row.name for word in only)}
    for name, row in measured.items():
        assert name in table
        assert [who.split(" of ")[0].split(",")[0] for who in row["contenders"]] == ["spoolq", "spoolq", "raw"], name
        for who, each in row["contenders"].items():
            assert f"| {who} |" in table
            assert 0 < each["min"] <= each["median"] <= each["max"]
            assert each["rounds"][0][row["figure"]] == each["median"]
            if name.startswith("pick-up") and who.startswith("spoolq"):
                idle = each["rounds"][0]
                assert 0 < idle["cpu_percent"] < 100
                assert ("Redis" in who) == (0 < idle.get("commands_per_second", 0) <= idle.get("run_per_second", 0))
    about = figures["about"]
    assert about.keys() >= {"date", "commit", "machine", "cores", "python", "redis_py", "sqlite", "server", "load", "took"}
    assert all(value in table for value in about.values())
    assert table in done.stdout
    assert not (tmp_path / "peers").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_full_goes_on_with_what_is_missing_on_the_same_machine_only(tmp_path: Path, files: list[object]) -> None:
    kept = tmp_path / "figures.json"

    def rounds() -> list[dict[str, float]]:
        row = next(row for row in json.loads(kept.read_text())["rows"] if row["name"] == "drain, 10,000 rows")
        found: list[dict[str, float]] = row["contenders"]["spoolq, Redis"]["rounds"]
        return found

    for wanted in (1, 2):
        before = rounds() if kept.exists() else []
        done = bench("full", "--rounds", wanted, "--only", "drain, 10,000 rows", "--share", 0.001, *files, "--beside")
        assert done.returncode == 0, done.stderr
        assert len(rounds()) == wanted
        assert rounds()[: len(before)] == before
    done = bench("full", "--rounds", 3, "--only", "drain, 10,000 rows", *files, *SHORT)
    assert (done.returncode, "share: 0.001 in" in done.stderr) == (2, True), done.stderr
    kept.write_text(kept.read_text().replace('"python": "', '"python": "2.7 or '))
    done = bench("full", "--rounds", 3, "--only", "drain, 10,000 rows", *files, *SHORT)
    assert (done.returncode, "python: 2.7 or" in done.stderr) == (2, True), done.stderr
    assert len(rounds()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["quick", "--json", "absent/figures.json"], "there is no directory"),
        (["quick", "--markdown", "absent/table.md"], "there is no directory"),
        (["bench", "--only", "nonsense"], "no row has that in its name"),
        (["bench", "--beside", "nonsense"], "no {'nonsense'}"),
        (["bench", "--rounds", "0"], "from 1 up"),
        (["bench", "--also", "tests"], "no checkout of spoolq"),
    ],
)
def test_what_can_not_be_measured_is_refused_before_anything_is(arguments: list[str], said: str) -> None:
    done = bench(*arguments)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_every_row_is_measured_beside_somebody_and_everybody_in_some_row() -> None:
    rows = [*GOALS, *MORE, *FULL]
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert all(any(one.name.startswith(who) for one in CONTENDERS) for who in row.who), row.name
        assert row.contenders(())[0].package == "spoolq"
    assert {one.name for row in rows for one in row.contenders(())} == {one.name for one in CONTENDERS}
    assert {one.package for one in CONTENDERS} == {*HERE, *WANTED}


def test_quick_has_each_goal_beside_the_limit_and_one_peer() -> None:
    found = {row.name: row.contenders((), few=True) for row in GOALS}
    for name, who in found.items():
        packages = [one.package for one in who]
        assert packages.index("spoolq") == 0, name
        assert packages.count("spoolq") == 1, name
        assert "raw" in packages or len(who) == 1, name
    beside = {name: [one.name for one in who if one.package not in HERE] for name, who in found.items()}
    assert all(len(names) < 2 for names in beside.values()), beside
    peers = {name: names[0] for name, names in beside.items() if names}
    assert peers["work, Redis"] == "dramatiq, Redis, prefetch 200", "its goal is that one's"
    assert peers["work, SQLite"] == "huey, SQLite, synced, 4 threads", "as this one's"


def test_what_grows_is_drawn_from_the_figures_of_a_run(tmp_path: Path) -> None:
    def row(name: str, spoolq: float, raw: float) -> dict[str, object]:
        each = {"spoolq, Redis": {"median": spoolq}, "huey, Redis": {"median": 7.0}, "raw, Redis": {"median": raw}}
        return {"name": name, "figure": "per_second", "contenders": each}

    rows = [row("work, Redis", 100, 900), row("work, Redis, 10 queues", 90, 800), row("drain, 10,000 rows", 5000, 6000)]
    assert growth(rows) == {
        "queues": {
            ("work, Redis", "spoolq"): [(1.0, 100), (10.0, 90)],
            ("work, Redis", "raw"): [(1.0, 900), (10.0, 800)],
        }
    }
    figures, svg = tmp_path / "figures.json", tmp_path / "plot.svg"
    figures.write_text(json.dumps({"about": {"commit": "<c0ffee>"}, "rows": rows}))
    done = bench("plot", "--json", figures, "--svg", svg)
    assert done.returncode == 0, done.stderr
    drawn = svg.read_text()
    assert len(list(ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    assert "prefers-color-scheme:dark" in drawn
    figures.write_text(json.dumps({"about": {}, "rows": rows[:1]}))
    done = bench("plot", "--json", figures, "--svg", svg)
    assert (done.returncode, "at two sizes" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("after", ["", "black hole"])
def test_the_hole_hands_on_until_it_swallows_and_lets_nobody_in(after: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        hole = Hole(server.getsockname()[1])
        try:
            with socket.create_connection(("127.0.0.1", hole.port), 40) as near:
                far, _ = server.accept()
                with far:
                    near.sendall(b"ask")
                    assert far.recv(10) == b"ask"
                    far.sendall(b"answer")
                    assert near.recv(10) == b"answer"
                    if after:
                        hole.open()
                        near.sendall(b"ask")
                        far.settimeout(0.2)
                        with pytest.raises(TimeoutError):
                            far.recv(10)
                        with pytest.raises(TimeoutError), socket.create_connection(("127.0.0.1", hole.port), 0.2):
                            pass
        finally:
            hole.close()


@pytest.mark.slow
def test_each_way_of_waking_a_process_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.wakeups", "2"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    lines = [re.split(r" *\| *", line.strip("| ")) for line in done.stdout.splitlines()[2:]]
    assert [line[0] for line in lines] == [way.name for way in WAYS]
    assert all(float(line[1].replace(",", "")) > 0 and float(line[5]) >= 1 for line in lines)
