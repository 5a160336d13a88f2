"""`spoolq probe`: an orchestrator takes nobody out of service for an outage, and ends who is stuck."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Run, finish, start
from tests.waiting import eventually


def test_redis_down_is_ready_and_degraded(spoolq: Run, run: Run, nowhere: str) -> None:
    assert run("enqueue", "send", "1", "--queue", "mail", "--url", nowhere).code == 0
    ready = spoolq("probe", "ready", "--url", nowhere)
    assert ready.code == 0, ready.err
    assert ready.out.startswith("degraded: Redis ")
    assert "(refused); 1 job is safe in the spool" in ready.out
    assert run("health", "--url", nowhere).code == 1, "which is for people, and would fail a probe"
    document = run("probe", "ready", "--url", nowhere, "--json").json
    assert (document["ready"], document["state"]) == (True, "degraded")


def test_who_would_lose_a_job_is_not_ready(run: Run, nowhere: str, tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"no database" * 1000)
    ran = run("probe", "ready", "--url", nowhere, "--spool", tmp_path / "s.db")
    assert ran.code == 1
    assert ran.out.startswith("critical: ")
    assert run("probe", "ready", "--config", tmp_path / "none.toml").code == 1


def test_a_file_that_is_still_to_be_made_is_ready(run: Run, tmp_path: Path) -> None:
    assert run("probe", "ready", "--url", f"sqlite:///{tmp_path}/q.db").code == 0
    assert not (tmp_path / "q.db").exists()


@pytest.mark.parametrize("processes", [(), ("--processes", "1")])
def test_a_worker_is_live_while_it_goes_round(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: tuple[str, ...]
) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    url = f"sqlite:///{tmp_path}/q.db"
    none = run("probe", "live", "--url", url)
    assert (none.code, none.out) == (1, "not live: no worker runs here\n")
    worker = start("worker", "shop:q", *processes, SHOP_URL=url)
    try:
        eventually(lambda: run("probe", "live", "--url", url).code == 0, what="a live worker")
        os.kill(worker.pid, signal.SIGSTOP)
        document = run("probe", "live", "--url", url, "--json").json
        assert document["live"] is True, "not yet silent for half a minute"
        os.kill(worker.pid, signal.SIGCONT)
        worker.send_signal(signal.SIGTERM)
        assert finish(worker).code == 0
        assert run("probe", "live", "--url", url).code == 1
    finally:
        worker.kill()
        worker.communicate()


def test_what_a_dead_worker_left_is_not_a_live_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    url = f"sqlite:///{tmp_path}/q.db"
    worker = start("worker", "shop:q", SHOP_URL=url)
    try:
        eventually(lambda: run("probe", "live", "--url", url).code == 0)
    finally:
        worker.kill()
        worker.communicate()
    ran = run("probe", "live", "--url", url)
    assert (ran.code, ran.out) == (1, "not live: no worker runs here\n")
