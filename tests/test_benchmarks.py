"""The benchmark runs, and says beside what, and on what. Its figures are nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def bench(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.usefixtures("one_binary")
def test_it_prints_a_table_and_writes_the_same_figures(tmp_path: Path) -> None:
    done = bench("--jobs", 500, "--only", "drain", "redis", "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {row["name"] for row in figures["rows"]} >= {"drain", "work, no-op jobs, Redis"}
    for row in figures["rows"]:
        assert row["name"] in done.stdout
        assert row["raw_name"] in done.stdout
        assert row["ours"] > 0 < row["raw"]
    assert figures["about"].keys() == {"date", "python", "redis_py", "sqlite", "server", "cores", "load"}
    assert all(value in done.stdout for value in figures["about"].values())


def test_figures_that_could_not_be_written_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = bench("--json", tmp_path / "absent" / "figures.json")
    assert done.returncode == 2
    assert "there is no directory" in done.stderr


@pytest.mark.usefixtures("one_binary")
def test_workers_are_measured_in_turn_without_the_network_where_the_peers_are_left_out(tmp_path: Path) -> None:
    files = ["--json", tmp_path / "figures.json", "--markdown", tmp_path / "table.md"]
    who = ["--only", "spoolq, SQLite", "spoolq, Redis, 2"]
    done = bench("--peers", tmp_path / "peers", "--rounds", 1, "--jobs", 1000, *who, *files)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [row["name"] for row in figures["rows"]] == ["spoolq, Redis, 2 processes on both cores", "spoolq, SQLite, synced"]
    for row in figures["rows"]:
        for figure in ("jobs_per_second", "pick_up_p50_ms", "pick_up_p99_ms"):
            assert 0 < row[figure]["min"] <= row[figure]["median"] <= row[figure]["max"]
        assert row["name"] in (tmp_path / "table.md").read_text()
    assert figures["about"]["spoolq"]
    assert not (tmp_path / "peers").exists()


def test_nobody_to_measure_is_said(tmp_path: Path) -> None:
    done = bench("--peers", tmp_path, "--only", "celery", "--json", tmp_path / "figures.json")
    assert done.returncode == 2
    assert "nobody has that in the name" in done.stderr
