"""APP: what can be given, and what is said of one that can't be used."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.disks import mounted


def settings(run: Run, *args: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = run("config", "show", "--json", *args).json["settings"]
    return found


def test_an_app_brings_its_own_settings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "redis://shop:1/0")
    assert settings(run, "--app", "shop:q")["url"]["value"] == "redis://shop:1/0"


def test_the_attribute_may_be_left_out_where_there_is_only_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "redis://shop:1/0")
    assert settings(run, "--app", "shop")["url"]["value"] == "redis://shop:1/0"


def test_the_command_line_is_laid_over_an_app_and_its_spool_follows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "redis://shop:1/0")
    own = settings(run, "--app", "shop:q")
    other = settings(run, "--app", "shop:q", "--url", "redis://other:2/0")
    assert other["url"] == {"value": "redis://other:2/0", "origin": "argument"}
    assert other["spool"]["value"] != own["spool"]["value"]
    assert other["spool_min_free"]["value"] == own["spool_min_free"]["value"] == 0


def test_config_reaches_the_app(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("retries = 42\n")
    assert settings(run, "--app", "shop:q", "--config", "other.toml")["retries"] == {"value": 42, "origin": "other.toml"}


@pytest.mark.parametrize(
    ("app", "source", "says"),
    [
        ("nothere:q", None, "APP 'nothere:q': no module 'nothere' in {cwd} or on Python's path"),
        ("app.nothere:q", "", "APP 'app.nothere:q': no module 'app.nothere' in {cwd}"),
        ("app:q", "import nothere.inner", "APP 'app:q': app can't be imported: No module named 'nothere' ({cwd}/app.py, line 1)"),
        ("app:q", "x = 1\n1 / 0", "app can't be imported: ZeroDivisionError: division by zero ({cwd}/app.py, line 2)"),
        ("app:q", "x = (", "app can't be imported: SyntaxError: '(' was never closed (app.py, line 1)"),
        ("app:q", "raise SystemExit(3)", "app can't be imported: SystemExit: 3"),
        ("app:q", "x = 1", "APP 'app:q' has no such attribute; {cwd}/app.py has no SpoolQ object"),
        ("app:x", "x = 1", "APP 'app:x' is no SpoolQ object; {cwd}/app.py has no SpoolQ object"),
        (
            "app:x",
            "from spoolq import SpoolQ\njobs = SpoolQ()\nmore = SpoolQ()",
            "APP 'app:x' has no such attribute; it has app:jobs, app:more",
        ),
        ("app", "from spoolq import SpoolQ\njobs = SpoolQ()\nmore = SpoolQ()", "names no attribute; it has app:jobs, app:more"),
        (
            "app:q",
            "from spoolq import SpoolQ\nq = SpoolQ(deadline='x')",
            "from 1ms to 60s ({cwd}/app.py, line 2)",
        ),
        ("app.py:q", "", "APP 'app.py:q': name the module, not its file: app:q"),
        ("./app.py:q", "", "APP './app.py:q': expected module:attribute, such as shop.jobs:q"),
        (":q", "", "expected module:attribute"),
    ],
)
def test_an_app_that_can_not_be_used(run: Run, tmp_path: Path, app: str, source: str | None, says: str) -> None:
    import sys

    if source is not None:
        (tmp_path / "app.py").write_text(source)
    try:
        said = run("worker", app)
    finally:
        sys.modules.pop("app", None)
    assert (said.code, said.out) == (78, "")
    assert says.format(cwd=tmp_path) in said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 2


def test_an_installed_command_finds_an_app_in_the_working_directory(spoolq: Run) -> None:
    said = spoolq("config", "show", "--app", "shop:q")
    assert (said.code, "spool_min_free" in said.out) == (0, True)


@pytest.mark.root
def test_a_disk_that_nobody_can_write_is_not_taken_for_another_user_s(
    spoolq: Run, run: Run, nowhere: str, tmp_path: Path
) -> None:
    with mounted("tmpfs", tmp_path) as disk:
        at = ("--url", nowhere, "--spool", str(disk.path / "spool.db"))
        assert spoolq("enqueue", "mail", *at).code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        said = run("health", *at)
        assert said.code == 2  # the next job would be refused
        assert "spool.db: its file system is read-only" in said.out
        assert run("spool", "info", *at).code == 73
        assert spoolq("drain", "--once", "--url", nowhere, "--spool", disk.path).code == 73
        assert "is on a read-only file system" in run("config", "check", *at).out
        assert "is on a read-only file system" in run("health", "--url", nowhere, "--spool", disk.path / "none.db").out
