"""`spoolq drain`."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from types import SimpleNamespace
from typing import IO, Any

import pytest

from spoolq.app import SpoolQ
from spoolq.cli.progress import Progress
from spoolq.sieve import Drained
from tests.cli.conftest import Run, finish, start
from tests.cli.hands import fill, spooled
from tests.clock import Clock
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

Start = Callable[..., Server]


def outage(server: Server, count: int) -> list[str]:
    """So many jobs, spooled while the server was away."""
    server.kill()
    ids = fill(server.url, count)
    server.start()
    return ids


def test_once_moves_everything_and_says_so(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 700)
    said = spoolq("drain", "--once", "--timeout", "30s", "--url", fresh_server.url)
    assert said.code == 0, said.err
    assert said.out.startswith("Moved 700 jobs in ")
    assert said.out.endswith("; 0 left.\n")
    assert fresh_server.client().llen("resque:queue:mail") == 700
    assert spooled(fresh_server.url) == 0


def test_json_lines(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 3)
    said = spoolq("drain", "--once", "--timeout", "30s", "--json", "--url", fresh_server.url)
    *_, last = said.lines
    keys = {"schema", "event", "at", "moved", "already_there", "expired", "quarantined", "left", "rate", "eta", "error"}
    assert set(last) >= keys
    assert (last["event"], last["moved"], last["left"], last["error"]) == ("done", 3, 0, None)


def test_dry_run_moves_nothing(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 3)
    said = spoolq("drain", "--dry-run", "--url", fresh_server.url)
    assert said.out == f"Would move 3 jobs into {fresh_server.url}#resque: mail 3.\n"
    assert spoolq("drain", "--dry-run", "--json", "--url", fresh_server.url).json["would_move"] == 3
    assert spooled(fresh_server.url) == 3


def test_redis_away_and_nothing_moved_is_69_and_says_what_is_safe(spoolq: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = spoolq("drain", "--once", "--url", nowhere)
    assert said.code == 69
    assert "refused" in said.err
    assert "3 jobs are safe in the spool " in said.err
    assert "Traceback" not in said.err
    assert spooled(nowhere) == 3


def test_a_full_redis_has_no_room(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 2)
    fresh_server.client().config_set("maxmemory", 1)
    said = spoolq("drain", "--once", "--url", fresh_server.url)
    assert said.code == 75  # it answers
    assert "Redis is full" in said.err
    assert "2 jobs are safe in the spool " in said.err
    assert "; they go on when Redis has room (`spoolq drain`).\n" in said.err


def test_nothing_left_to_move_is_0_even_without_redis(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 1)
    assert spoolq("drain", "--once", "--url", fresh_server.url).code == 0
    fresh_server.kill()
    assert spoolq("drain", "--once", "--url", fresh_server.url).code == 0


def test_once_bears_an_outage_for_its_timeout(fresh_server: Server) -> None:
    fresh_server.kill()
    fill(fresh_server.url, 3)
    process = start("drain", "--once", "--timeout", "30", "--url", fresh_server.url)
    assert process.stderr is not None
    assert "does not take jobs" in process.stderr.readline()
    fresh_server.start()
    said = finish(process)
    assert (said.code, said.out[:12]) == (0, "Moved 3 jobs")


def test_no_spool_is_not_nothing_to_do(spoolq: Run, nowhere: str) -> None:
    for args in (("--once",), ("--dry-run",)):
        said = spoolq("drain", *args, "--url", nowhere)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("spoolq: no spool at ")


def test_an_sqlite_queue_has_nothing_to_drain(run: Run) -> None:
    said = run("drain", "--url", "sqlite:///jobs.db")
    assert said.code == 78
    assert "is an SQLite queue: it has no spool" in said.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_goes_on_until_it_is_told_to_stop(fresh_server: Server, number: int) -> None:
    outage(fresh_server, 3)
    process = start("drain", "--url", fresh_server.url)
    eventually(lambda: fresh_server.client().llen("resque:queue:mail") == 3)
    process.send_signal(number)
    said = finish(process)
    assert said.code == 0, said.err
    assert said.out.startswith("Moved 3 jobs in ")


@pytest.mark.parametrize("args", [("--rate", "0"), ("--batch", "0"), ("--timeout", "soon")])
def test_wrong_usage(run: Run, args: tuple[str, ...]) -> None:
    assert run("drain", *args).code == 2


def progress(monkeypatch: pytest.MonkeyPatch, live: bool, as_json: bool = False) -> tuple[Any, Drained, Clock, list[int]]:
    clock, done, left = Clock(100.0), Drained(), [1000]
    monkeypatch.setattr("spoolq.cli.progress.terminal", lambda err: live)
    spool = SimpleNamespace(waiting=lambda: left[0])
    return Progress(spool, SimpleNamespace(progress=done), as_json, clock=clock), done, clock, left  # type: ignore[arg-type]


def test_a_terminal_sees_rate_and_time_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown, done, clock, left = progress(monkeypatch, live=True)
    clock.now, done.moved, left[0] = 102.0, 400, 600
    shown.report(done)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip() == "400 moved, 600 to go, 200 a second, 3.0 s left"
    assert len(said.err) <= 80
    shown.report(done)
    assert capsys.readouterr().err == "", "not more often than people can read"


def test_the_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown, done, clock, _ = progress(monkeypatch, live=True)
    for second in range(1, 20):
        clock.now, done.moved = 100.0 + second, 1000 * min(second, 10)
        shown.report(done)
    assert "0 a second" in capsys.readouterr().err.rsplit("\r", 1)[-1]


def test_an_outage_is_said_in_the_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from spoolq.errors import StoreUnavailable

    shown, done, clock, _ = progress(monkeypatch, live=True)
    clock.now, done.error = 101.0, StoreUnavailable("x", reason="refused")
    shown.report(done)
    assert capsys.readouterr().err.strip() == "1,000 jobs safe in the spool, waiting for Redis (refused)"


def test_a_log_gets_a_line_now_and_then_and_only_when_something_moved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, done, clock, _ = progress(monkeypatch, live=False)
    for second in range(1, 60):
        clock.now, done.moved = 100.0 + second, min(second, 15)
        shown.report(done)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_json_has_a_line_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown, done, clock, _ = progress(monkeypatch, live=False, as_json=True)
    for tenth in range(1, 31):
        clock.now = 100.0 + tenth / 10
        shown.report(done)
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_the_spool_is_made_where_draining_goes_on(fresh_server: Server, tmp_path: Path) -> None:
    process = start("drain", "--spool", str(tmp_path / "spool.db"), "--url", fresh_server.url)
    try:
        eventually((tmp_path / "spool.db").exists)
    finally:
        process.terminate()
        finish(process)


def stopped_without(process: Popen[str], lock: IO[bytes]) -> bool:
    """Stop it where it doesn't hold that lock; where it does, let it go on."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until then it may still take it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process.send_signal(signal.SIGCONT)
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def test_a_spool_that_is_not_to_be_had_for_a_while_does_not_end_it(fresh_server: Server, tmp_path: Path) -> None:
    """Another process holds the commit lock for longer than `disk_limit`, or the disk hangs."""
    path = tmp_path / "spool.db"
    with SpoolQ(fresh_server.url, spool=path, spool_min_free=0) as q:
        spool, job = q.spool, q.remote("send", "mail").job
        assert spool is not None
        spool.spool([q.message(job(0))])
        process = start("drain", "--spool", path, "--url", fresh_server.url, SPOOLQ_DISK_LIMIT="0.3", SPOOLQ_SPOOL_MIN_FREE="0")
        assert process.stderr is not None
        eventually(lambda: not spool.waiting())
        with open(f"{path}-lock", "rb+") as lock:
            eventually(lambda: stopped_without(process, lock))
            spool.spool([q.message(job(1))])
            fcntl.flock(lock, fcntl.LOCK_EX)
            process.send_signal(signal.SIGCONT)
            # the first to ask is told the one, whoever comes next the other; a service beside may be first, and doesn't say so
            assert any("not begun within" in line or "has not answered for" in line for line in process.stderr)
        eventually(lambda: fresh_server.client().llen("resque:queue:mail") == 2, within=30)
        process.terminate()
        assert finish(process).code == 0


def test_a_wrong_path_is_an_error_at_once(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert spoolq("drain", "--spool", tmp_path / "file" / "spool.db", "--url", fresh_server.url).code == 73


def test_pause_and_resume_are_kept_in_the_spool_and_shown(spoolq: Run, fresh_server: Server) -> None:
    outage(fresh_server, 3)
    said = spoolq("drain", "pause", "--url", fresh_server.url)
    assert (said.code, said.out.split(" of ")[0], said.out[-11:]) == (0, "Draining", "is paused.\n")
    assert spoolq("drain", "--url", fresh_server.url, "pause").out.endswith("was paused already.\n"), "options in front hold too"
    told = spoolq("drain", "pause", "--json", "--url", fresh_server.url).json
    assert (told["paused"], told["changed"]) == (True, False)
    assert told["waiting"] > 0
    once = spoolq("drain", "--once", "--url", fresh_server.url)
    assert once.code == 75
    assert "paused since " in once.err
    assert "`spoolq drain resume` lets it go on" in once.err
    assert "3 jobs are safe in the spool " in once.err
    assert spoolq("status", "--json", "--url", fresh_server.url).json["spool"]["info"]["drain_paused_at"].endswith("Z")
    assert "draining is paused since " in spoolq("status", "--url", fresh_server.url).out.replace("\n       ", " ")
    assert "paused since " in spoolq("spool", "info", "--url", fresh_server.url).out
    asked = (spoolq("health", "--url", fresh_server.url) for _ in range(20))  # busy, it may find that Redis takes too long
    assert any((health.code, "draining is paused" in health.out) == (1, True) for health in asked)
    assert spoolq("drain", "resume", "--url", fresh_server.url).out.endswith("goes on.\n")
    assert spoolq("drain", "--once", "--url", fresh_server.url).code == 0
    assert spoolq("status", "--json", "--url", fresh_server.url).json["spool"]["info"]["drain_paused_at"] is None


def test_a_pause_needs_a_spool(spoolq: Run, nowhere: str) -> None:
    for word in ("pause", "resume"):
        said = spoolq("drain", word, "--url", nowhere)
        assert (said.code, said.out) == (1, "")
        assert said.err.startswith("spoolq: no spool at ")


def test_a_pause_is_said_in_the_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from spoolq.errors import StoreUnavailable

    shown, done, clock, _ = progress(monkeypatch, live=True)
    clock.now, done.error = 101.0, StoreUnavailable("x", reason="paused")
    shown.report(done)
    assert capsys.readouterr().err.strip() == "1,000 jobs safe in the spool, draining is paused (`spoolq drain resume`)"


def test_kept_rows_are_shown_as_what_they_are_and_keep_no_drain_from_ending(spoolq: Run, fresh_server: Server) -> None:
    env = {"SPOOLQ_URL": fresh_server.url, "SPOOLQ_KEEP": "1s"}
    fresh_server.kill()
    assert spoolq("enqueue", "send", "1", "--queue", "mail", SPOOLQ_ACCEPT="spool", **env).out.split()[1] == "spool"
    fresh_server.start()
    said = spoolq("drain", "--once", **env)
    assert (said.code, said.out.endswith("; 0 left.\n")) == (0, True)
    assert "Redis has 1 job that this host watches" in said.err
    assert "1 in Redis, and kept until it has persisted them" in spoolq("status", **env).out
    assert "kept         1 (Redis has them" in spoolq("spool", "info", **env).out
    assert spoolq("spool", "info", "--json", **env).json["kept"] == 1
    asked = (spoolq("health", **env) for _ in range(20))  # busy, it may find that Redis takes too long
    assert any((health.code, "1 watched until Redis has persisted them" in health.out) == (0, True) for health in asked)
    # Its time is up: the next one lets it go
    eventually(lambda: spoolq("drain", "--once", **env).code == 0 and spoolq("spool", "info", "--json", **env).json["kept"] == 0)
    assert fresh_server.client().llen("resque:queue:mail") == 1


def test_a_drain_that_goes_on_watches(fresh_server: Server, spoolq: Run) -> None:
    env = {"SPOOLQ_URL": fresh_server.url, "SPOOLQ_KEEP": "1s"}
    spoolq("enqueue", "send", "1", "--queue", "mail", SPOOLQ_ACCEPT="spool", **env)
    process = start("drain", **env)
    try:

        def over() -> bool:
            info = spoolq("spool", "info", "--json", **env).json
            return bool((info["rows"], info["kept"]) == (0, 0))

        eventually(over, what="a row that was handed over, and let go")
        assert fresh_server.client().llen("resque:queue:mail") == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert finish(process).code == 0


def test_a_timeout_without_once_is_wrong_usage(spoolq: Run, nowhere: str) -> None:
    said = spoolq("drain", "--timeout", "1s", "--url", nowhere)
    assert (said.code, said.out) == (2, "")
    assert "--timeout needs --once" in said.err
