"""The command as a whole: help, version, what it loads, and what a fault looks like."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from spoolq import __version__
from spoolq.cli import COMMANDS, main
from spoolq.cli.faults import exits
from spoolq.errors import (
    ConfigError,
    MaybeStored,
    NoPlace,
    NotStored,
    PayloadError,
    SpoolDamaged,
    SpoolFull,
    SpoolqError,
    StoreUnavailable,
    UnknownTask,
)
from tests.cli.conftest import ROOT, Run


def test_version(run: Run) -> None:
    assert run("--version").out == f"spoolq, version {__version__}\n"


def test_help_lists_every_command_without_loading_it(run: Run) -> None:
    said = run("--help")
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name in COMMANDS)
    assert all(len(line) <= 80 for line in said.out.splitlines())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_command_has_help_that_fits_a_terminal(run: Run, name: str) -> None:
    said = run(name, "--help")
    assert said.code == 0
    assert all(len(line) <= 80 for line in said.out.splitlines())


def groups(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        yield path
        for name in command.list_commands(context := click.Context(command)):
            child = command.get_command(context, name)
            assert child is not None
            yield from groups(child, *path, name)


@pytest.mark.parametrize("path", list(groups(main)), ids=" ".join)
def test_no_list_of_commands_breaks_off_in_the_middle_of_a_sentence(run: Run, path: tuple[str, ...]) -> None:
    said = run(*path, "--help")
    assert said.code == 0
    assert "..." not in said.out.partition("\nCommands:\n")[2]


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    said = run("frobnicate")
    assert (said.code, said.out) == (2, "")
    assert "No such command 'frobnicate'" in said.err


def test_loading_the_command_line_loads_no_command_and_no_driver() -> None:
    code = (
        "import sys, spoolq.cli; "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('redis', 'sqlite3', 'sqlite_utils', 'tenacity', 'rich')"
        " or m == 'spoolq.config' or m.startswith('spoolq.cli.')]; print(bad)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout == "[]\n"


def test_python_m_spoolq_is_the_command(spoolq: Run) -> None:
    assert spoolq("--version").out == f"spoolq, version {__version__}\n"
    assert spoolq("--help").out.startswith("Usage: spoolq ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (NoPlace("x"), 73),
        (PayloadError("x"), 1),
        (UnknownTask("x"), 1),
        (SpoolqError("x"), 1),
        (NotStored("x", not_stored=["a"]), 73),
        (SpoolFull("x", not_stored=["a"]), 73),
        (MaybeStored("x", unknown=["a"]), 75),
        (SpoolDamaged("x"), 73),
        (StoreUnavailable("x", reason="refused"), 69),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(error: SpoolqError, code: int) -> None:
    import click

    with pytest.raises(click.ClickException) as caught, exits():
        raise error
    assert (caught.value.exit_code, caught.value.message) == (code, "x")


def test_an_error_that_nobody_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exits():
        _ = 1 / 0


def test_a_wrong_setting_is_one_line_and_exit_78(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_DEADLINE", "soon")
    said = run("queues", "list")
    assert (said.code, said.out) == (78, "")
    assert said.err == (
        "spoolq: deadline = 'soon' (from SPOOLQ_DEADLINE): expected a duration such as 30, 30s, 5m or 250ms, from 1ms to 60s\n"
    )


def test_an_unknown_variable_is_a_warning_on_standard_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_DEADLIN", "1s")
    said = run("config", "show", "--json")
    assert said.json["warnings"] == ["unknown variable SPOOLQ_DEADLIN, did you mean SPOOLQ_DEADLINE?"]
    assert said.err == "spoolq: unknown variable SPOOLQ_DEADLIN, did you mean SPOOLQ_DEADLINE?\n"


def test_log_format_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    pytest.importorskip("pythonjsonlogger")
    monkeypatch.setenv("SPOOLQ_DEADLIN", "1s")
    line = json.loads(run("config", "show", "--json", "--log-format", "json").err)
    assert (line["level"], line["logger"], line["pid"]) == ("WARNING", "spoolq", os.getpid())
    assert line["time"].endswith("+00:00")
    assert line["message"].startswith("unknown variable SPOOLQ_DEADLIN")


def test_quiet_leaves_warnings_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_DEADLIN", "1s")
    assert run("config", "show", "--json", "--quiet").err == ""


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("health",),
        ("queues", "list"),
        ("queues", "purge", "mail", "--yes"),
        ("failed", "list"),
        ("failed", "show", "x"),
        ("failed", "retry", "--all"),
        ("failed", "remove", "--all", "--yes"),
        ("spool", "info"),
        ("drain", "--once"),
        ("drain", "--dry-run"),
        ("config", "show"),
        ("config", "check"),
    ],
)
@pytest.mark.parametrize("where", ["redis", "sqlite"])
def test_looking_makes_no_file(run: Run, tmp_path: Path, nowhere: str, command: tuple[str, ...], where: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    run(*command, "--url", nowhere if where == "redis" else "sqlite:///jobs.db")
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [("config", "show"), ("--help",), ("drain", "--help")])
def test_an_output_on_a_full_disk_is_one_line(command: tuple[str, ...], unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, "-m", "spoolq", *command], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (1, "spoolq: the output can't be written: No space left on device\n")


@pytest.mark.parametrize(
    ("command", "closed", "code"),
    [
        ("config show", ">&-", 0),
        ("worker jobs:q --burst", ">&- 2>&-", 0),
        ("worker jobs:q --burst", "2>/dev/full", 0),
        ("drain --once --url redis://127.0.0.1:1/0 --spool spool.db", "2>&-", 1),  # there is no spool
        ("queues purge mail --app jobs:q", "<&-", 2),  # nobody is there to answer
    ],
)
def test_a_stream_that_is_closed_or_full_keeps_no_command_from_its_work(
    tmp_path: Path, command: str, closed: str, code: int
) -> None:
    (tmp_path / "jobs.py").write_text(
        "from spoolq import SpoolQ\n"
        "q = SpoolQ('sqlite:///jobs.db', spool_min_free=0)\n"
        "mail = q.task(queue='mail', name='mail')(lambda: None)\n"
    )
    subprocess.run(
        [sys.executable, "-c", "import jobs; jobs.mail.enqueue()"],
        cwd=tmp_path,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    ran = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m spoolq {command} {closed}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
