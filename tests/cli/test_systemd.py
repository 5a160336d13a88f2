"""`spoolq systemd print`: units as systemd itself reads them, and what they hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spoolq.cli import COMMANDS
from spoolq.cli.systemd_unit import DESCRIPTIONS, Unit, quoted
from tests.cli.conftest import Run

KINDS = [kind for kind in DESCRIPTIONS if kind in COMMANDS]
ARGUMENTS = {"worker": ["shop:q"]}


def verified(text: str, folder: Path, name: str) -> str:
    """What systemd has to say of a unit: nothing of a good one."""
    tool = shutil.which("systemd-analyze")
    if tool is None and not os.environ.get("CI"):
        pytest.skip("systemd-analyze is not installed")
    assert tool is not None, "systemd-analyze is not installed (Debian's systemd)"
    file = folder / name
    file.write_text(text)
    said = subprocess.run([tool, "verify", str(file)], capture_output=True, text=True, check=False, timeout=60)
    return said.stdout + said.stderr + ("" if said.returncode == 0 else f"exit {said.returncode}")


@pytest.mark.parametrize("kind", KINDS)
def test_systemd_takes_each_unit(run: Run, tmp_path: Path, kind: str) -> None:
    ran = run("systemd", "print", kind, *ARGUMENTS.get(kind, []))
    assert ran.code == 0, ran.err
    assert verified(ran.out, tmp_path, f"spoolq-{kind}.service") == ""
    lines = ran.out.splitlines()
    for line in (
        *("Type=notify", "WatchdogSec=30", "KillMode=mixed", "Restart=on-failure", "RestartPreventExitStatus=2 78"),
        *("StateDirectory=spoolq", "EnvironmentFile=-/etc/spoolq/spoolq.env", f"WorkingDirectory={tmp_path}"),
        f"ExecStart={sys.executable} -m spoolq {' '.join([kind, *ARGUMENTS.get(kind, [])])}",
    ):
        assert line in lines


def test_systemd_would_not_take_a_wrong_one(tmp_path: Path) -> None:
    """The test above can fail."""
    unit = Unit("drain", ["/no/such/program"], tmp_path, "nobody", "/etc/x", 10)
    assert "/no/such/program" in verified(unit.text(), tmp_path, "spoolq-drain.service")
    assert "sometimes" in verified(unit.text().replace("on-failure", "sometimes"), tmp_path, "spoolq-drain.service")


def test_options_are_passed_through_and_read_as_the_command_reads_them(run: Run, tmp_path: Path) -> None:
    ran = run("systemd", "print", "worker", "shop:q", "--processes", "2:8", "--queues", "a,b*,!c", "--grace", "2m")
    assert "worker shop:q --processes 2:8 --queues" in ran.out
    assert "TimeoutStopSec=165" in ran.out, "the grace, and time to say good-bye"
    assert verified(ran.out, tmp_path, "spoolq-worker.service") == ""
    assert "TimeoutStopSec=70" in run("systemd", "print", "worker", "shop:q").out
    wrong = run("systemd", "print", "worker", "shop:q", "--processes", "8:2")
    assert (wrong.code, wrong.out) == (2, "")
    assert "1 <= MIN <= MAX" in wrong.err
    assert run("systemd", "print", "worker").code == 2
    assert run("systemd", "print", "drain", "--no-such-option").code == 2
    assert run("systemd", "print", "enqueue").code == 2


def test_the_spool_is_where_the_service_may_write(run: Run, tmp_path: Path) -> None:
    default = run("systemd", "print", "drain", "--url", "redis://r/0")
    assert "ReadWritePaths" not in default.out
    place = next(word for word in default.out.split() if word.startswith("SPOOLQ_SPOOL="))
    assert place.startswith("SPOOLQ_SPOOL=/var/lib/spoolq/spool-"), "StateDirectory's, in which the default spool then is"
    assert place in default.err, "producers must use the same file: nothing is drained that nobody finds"
    own = run("systemd", "print", "drain", "--spool", tmp_path / "my spools" / "s.db")
    assert f'ReadWritePaths=-"{tmp_path}/my spools"' in own.out
    assert "SPOOLQ_SPOOL" not in own.out
    assert verified(own.out, tmp_path, "spoolq-drain.service") == ""


def test_a_temporary_directory_that_is_used_is_not_hidden() -> None:
    def unit(*uses: str, folder: str = "/srv/shop") -> str:
        return Unit("worker", ["/usr/bin/spoolq"], Path(folder), "shop", "/etc/x", 70, uses=[Path(each) for each in uses]).text()

    assert "\nPrivateTmp=yes" in unit("/srv/venv")
    assert "\nPrivateTmp=yes" not in unit("/tmp/redis.sock")
    assert "\nProtectHome=yes" in unit("/srv/venv")
    assert "\nProtectHome=no" in unit("/srv/venv", folder="/home/shop/app")
    assert "\nProtectHome=no" in unit("/run/user/1000/redis.sock")


def test_a_redis_behind_a_socket_in_a_temporary_directory_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    ran = run("systemd", "print", "drain", "--url", "unix:///tmp/redis.sock?db=0")
    assert "\nPrivateTmp=yes" not in ran.out


def test_no_secret_stands_in_a_unit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("systemd", "print", "drain", "--url", "redis://:hunter2@r/0")
    assert (ran.code, ran.out) == (2, "")
    assert "environment file" in ran.err
    assert "hunter2" not in ran.err
    monkeypatch.setenv("SPOOLQ_URL", "redis://:hunter2@r/0")
    ran = run("systemd", "print", "drain")
    assert ran.code == 0
    assert "hunter2" not in ran.out + ran.err
    assert (
        "to be put into /etc/spoolq/spoolq.env: SPOOLQ_DEADLINE, SPOOLQ_DISK_LIMIT, SPOOLQ_SPOOL_MIN_FREE, SPOOLQ_URL" in ran.err
    )


@pytest.mark.parametrize(
    ("word", "unit"),
    [
        ("--queues=a,b:2", "--queues=a,b:2"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "hi" \\ there', '"say \\"hi\\" \\\\ there"'),
        ("!slow", '"!slow"'),
        ("", '""'),
        ("a;b", '"a;b"'),
    ],
)
def test_each_word_stays_one_word(word: str, unit: str) -> None:
    assert quoted(word) == unit


def test_a_line_end_in_a_word_is_refused(run: Run) -> None:
    ran = run("systemd", "print", "drain", "--namespace", "x", "--spool", "a\nExecStart=/bin/sh")
    assert (ran.code, ran.out) == (2, "")


def test_whose_it_is(run: Run) -> None:
    assert "\nUser=shop\n" in run("systemd", "print", "--user", "shop", "drain").out
    assert "\nUser=root\n" not in run("systemd", "print", "drain").out
    assert run("systemd", "print", "--environment-file", "here", "drain").code == 2


def test_the_application_s_own_settings_count(run: Run, tmp_path: Path) -> None:
    spool = tmp_path / "var" / "spool.db"
    (tmp_path / "own_app.py").write_text(
        f"from spoolq import SpoolQ\nq = SpoolQ('redis://r/0', spool={str(spool)!r}, grace='2m')\nbox = SpoolQ('sqlite:///jobs.db')\n"
    )
    ran = run("systemd", "print", "drain", "--app", "own_app:q")
    assert ran.code == 0
    assert str(spool.parent) in next(line for line in ran.out.splitlines() if line.startswith("ReadWritePaths="))
    assert "SPOOLQ_SPOOL=" not in ran.out
    assert "TimeoutStopSec=165" in run("systemd", "print", "worker", "own_app:q").out
    box = run("systemd", "print", "dashboard", "--app", "own_app:box")
    assert (box.code, "SPOOLQ_SPOOL=" in box.out) == (0, False)
    assert run("systemd", "print", "drain", "--app", "own_app:box").code == 78
    unknown = run("systemd", "print", "drain", "--app", "nowhere:q")
    assert (unknown.code, "its own settings aren't known here" in unknown.err) == (0, True)
