"""The demo, run for real in a process of its own, and the count at its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from spoolq.cli import demo_table, server
from spoolq.cli.demo_scene import Run as One
from spoolq.job import Receipt
from tests.cli.conftest import ROOT, Run, finish, start
from tests.waiting import eventually

HERE = {"TMPDIR": "."}  # the demo's directory, in the test's own


def table(out: str) -> dict[str, str]:
    """The rows of the table by name."""
    rows = dict(re.findall(r"^ +(\S.*?) {2,}([\d.,]+(?: ms)?)(?: +<- .*)?$", out, re.MULTILINE))
    assert "lost" in rows, out
    return rows


def number(rows: dict[str, str], start: str) -> int:
    (value,) = [rows[start]] if start in rows else [value for name, value in rows.items() if name.startswith(start)]
    return int(value.replace(",", ""))


def nothing_left(tmp_path: Path) -> bool:
    return not list(tmp_path.glob("spoolq-demo-*"))


def processes_of(directory: Path) -> list[int]:
    """Servers and workers that work in that directory or have a file of it open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            places = [os.readlink(process / "cwd"), *(os.readlink(fd) for fd in (process / "fd").iterdir())]
        except OSError:
            continue
        if any(place.startswith(str(directory)) for place in places) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def log_of(pid: int) -> str:
    """The worker's log, when this process writes to it."""
    try:
        found = os.readlink(f"/proc/{pid}/fd/2")
    except OSError:  # gone meanwhile
        return ""
    return found if found.endswith("worker.log") else ""


def status(pid: int, field: str) -> str:
    """A line of what the kernel knows of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return re.findall(rf"^{field}:\s+(\S+)", text, re.MULTILINE)[0]


@pytest.mark.usefixtures("one_binary")
def test_the_story_of_an_outage_ends_with_nothing_lost_and_nothing_twice(tmp_path: Path) -> None:
    ran = finish(start("demo", "--jobs", 120, **HERE), within=90)
    assert ran.code == 0, ran.out + ran.err
    assert ran.err == ""  # no line of a log between the lines of the story
    rows = table(ran.out)
    assert number(rows, "enqueued") == number(rows, "run") == 120
    assert number(rows, "through Redis") + number(rows, "through the spool") == 120
    assert number(rows, "through the spool") >= 61
    assert number(rows, "run locally") > 0
    assert number(rows, "run locally") + number(rows, "drained") == number(rows, "through the spool")
    assert number(rows, "lost") == number(rows, "queued twice") == 0
    assert "<- wrong" not in ran.out
    assert "it logs: " in ran.out  # on a machine that is busy elsewhere the first may come before the kill
    story = ["Redis is up", "Redis is dead (SIGKILL)", "to the spool, after", "Redis is back", "the spool is empty"]
    places = [ran.out.index(line) for line in [*story, "all 120 jobs have run"]]
    assert places == sorted(places)
    assert nothing_left(tmp_path)


def test_the_story_of_one_box(tmp_path: Path) -> None:
    ran = finish(start("demo", "--jobs", 60, "--no-redis", "--keep", **HERE), within=90)
    assert ran.code == 0, ran.out + ran.err
    assert ran.err == ""
    rows = table(ran.out)
    assert number(rows, "enqueued") == number(rows, "run") == 60
    assert number(rows, "lost") == number(rows, "queued twice") == 0
    assert "Redis" not in ran.out
    (kept,) = tmp_path.glob("spoolq-demo-*")
    assert str(kept.name) in ran.out
    assert {"jobs.db", "worker.log", "runs.jsonl"} <= {path.name for path in kept.iterdir()}


@pytest.mark.usefixtures("one_binary")
def test_no_setting_of_the_user_gets_into_it(tmp_path: Path) -> None:
    (tmp_path / "spoolq.toml").write_text('namespace = "mine"\nwire = "nonsense"\n')
    ran = finish(start("demo", "--jobs", 30, **HERE, SPOOLQ_NAMESPACE="other", SPOOLQ_URL="no url", REDIS_URL="x://"), within=90)
    assert ran.code == 0, ran.out + ran.err


@pytest.fixture
def begun() -> Iterator[subprocess.Popen[str]]:
    """A demo in the middle."""
    process = start("demo", **HERE)
    assert process.stdout is not None
    while "begins to enqueue" not in (line := process.stdout.readline()):
        assert line, "it ended too early"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("one_binary")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 1)])
def test_stopped_in_the_middle_it_leaves_nothing_behind(
    tmp_path: Path, begun: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    begun.send_signal(number)
    begun.communicate(timeout=60)
    assert begun.returncode == code
    assert nothing_left(tmp_path)
    eventually(lambda: not processes_of(tmp_path / "spoolq-demo-"))


@pytest.mark.usefixtures("one_binary")
def test_a_second_signal_ends_the_wait_for_a_worker_that_hangs(tmp_path: Path, begun: subprocess.Popen[str]) -> None:
    (worker,) = eventually(lambda: [pid for pid in processes_of(tmp_path / "spoolq-demo-") if log_of(pid)])
    os.kill(worker, signal.SIGSTOP)
    try:
        eventually(lambda: status(worker, "State") == "T", what="a worker that hangs")
        begun.send_signal(signal.SIGTERM)
        told = 1 << (signal.SIGTERM - 1)
        eventually(lambda: int(status(worker, "ShdPnd"), 16) & told, what="a worker that was told to end")
        begun.send_signal(signal.SIGTERM)
        begun.communicate(timeout=60)
        assert begun.returncode == 143
        assert nothing_left(tmp_path)
        eventually(lambda: not processes_of(tmp_path / "spoolq-demo-"))
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def test_without_a_server_it_says_so_and_tells_the_other_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr("spoolq.cli.server.found", lambda: iter(()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the worker
    before, handlers = dict(os.environ), {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ran = run("demo", "--jobs", 30)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert ran.code == 0, ran.out + ran.err
    assert "pip install 'spoolq[demo]'" in ran.out
    assert "one box without Redis" in ran.out
    assert dict(os.environ) == before


# the server


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "used"),
    [
        ("Redis server v=7.0.15 sha=0:0", True),
        ("Valkey server v=9.1.0 sha=0:0", True),
        ("Redis server v=6.2.14 sha=0:0", True),
        ("Redis server v=6.0.16 sha=0:0", False),
        ("Redis server v=5.0.3 sha=0:0", False),
        ("something else", False),
    ],
)
def test_servers_that_are_too_old_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, used: bool) -> None:
    program = script(tmp_path / "redis-server", f"echo '{says}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert (program in list(server.found())) == used


def test_a_server_that_does_not_come_up_is_named_with_what_it_logged(tmp_path: Path) -> None:
    program = script(tmp_path / "redis-server", f"echo 'no such option' > {tmp_path}/server.log; exit 1")
    with pytest.raises(server.NotStartedError, match=r"redis-server did not start on port \d+: no such option"):
        server.Server(program, tmp_path).start()
    with pytest.raises(server.NotStartedError, match="can't be started"):
        server.Server(str(tmp_path / "absent"), tmp_path).start()


def test_a_killed_server_is_gone(tmp_path: Path) -> None:
    sleeper = server.Server(script(tmp_path / "redis-server", f"cd {tmp_path}; exec sleep 60"), tmp_path)
    with pytest.raises(server.NotStartedError):
        sleeper.start(within=0.1)
    assert sleeper.pid == 0
    assert not processes_of(tmp_path)


def test_a_signal_while_a_server_starts_leaves_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starting = server.Server(script(tmp_path / "redis-server", f"cd {tmp_path}; exec sleep 60"), tmp_path)

    def interrupted() -> bool:
        eventually(lambda: processes_of(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        starting.start()
    assert not processes_of(tmp_path)


# the count


def rows(receipts: list[Receipt], runs: list[One], jobs: int | None = None) -> dict[str, tuple[str, bool]]:
    found = demo_table.count(receipts, runs, len(receipts) if jobs is None else jobs, 0.01, 2.25, redis=True)
    return {row.name.strip().split(",")[0].split(" (")[0]: (row.value, row.good) for row in found}


RECEIPTS = [Receipt("a", "primary"), Receipt("b", "spool"), Receipt("c", "spool")]
RUNS = [One("a", fresh=True, local=False), One("b", fresh=True, local=True), One("c", fresh=True, local=False)]


def test_a_good_count() -> None:
    assert rows(RECEIPTS, RUNS) == {
        "enqueued": ("3", True),
        "through Redis": ("1", True),
        "through the spool": ("2", True),
        "run": ("3", True),
        "run locally": ("1", True),
        "drained from the spool into Redis": ("1", True),
        "lost": ("0", True),
        "queued twice": ("0", True),
        "run again": ("0", True),
        "slowest enqueue": ("10.0 ms", True),
    }


def test_what_is_wrong_is_seen() -> None:
    assert rows(RECEIPTS, RUNS[:2])["lost"] == ("1", False)
    assert rows(RECEIPTS, RUNS[:2])["run"] == ("2", False)
    assert rows(RECEIPTS, [*RUNS, One("b", fresh=True, local=False)])["queued twice"] == ("1", False)
    assert rows(RECEIPTS, [*RUNS, One("z", fresh=True, local=False)])["run"] == ("4", False)
    assert rows(RECEIPTS, RUNS, jobs=4)["enqueued"] == ("3", False)
    assert rows([*RECEIPTS, RECEIPTS[0]], RUNS)["enqueued"] == ("4", False)
    assert rows(RECEIPTS[1:], RUNS[1:])["through Redis"] == ("0", False)
    assert rows(RECEIPTS[:1], RUNS[:1])["through the spool"] == ("0", False)
    assert rows(RECEIPTS, [RUNS[0], RUNS[2]])["run locally"] == ("0", False)


def test_a_slow_enqueue_is_told_and_is_not_wrong() -> None:
    fast, slow = (demo_table.count(RECEIPTS, RUNS, 3, slowest, 2.25, redis=True)[-1] for slowest in (2.2, 2.3))
    assert fast == ("slowest enqueue", "2200.0 ms", True, "")
    assert slow == ("slowest enqueue", "2300.0 ms", True, "over 2.25 s: a busy machine?")


def test_a_rescued_run_is_no_second_copy() -> None:
    counted = rows(RECEIPTS, [*RUNS, One("b", fresh=False, local=True)])
    assert counted["queued twice"] == ("0", True)
    assert counted["run again"] == ("1", True)
    assert all(good for _, good in counted.values())
