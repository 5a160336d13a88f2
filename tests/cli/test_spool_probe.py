"""`spoolq spool probe`: the end of an outage at once, for every process of the host."""

from __future__ import annotations

from pathlib import Path

from spoolq.app import SpoolQ
from spoolq.dashboard.views import spool as view
from tests.cli.conftest import Run
from tests.servers import Server


def route(run: Run, url: str) -> object:
    return run("enqueue", "send", "1", "--queue", "mail", "--url", url, "--json").json["route"]


def test_an_answer_sends_the_jobs_of_every_process_to_redis_again(run: Run, server: Server) -> None:
    with SpoolQ(server.url) as q:  # stands for a process that has met an outage, and was killed in it
        q.breaker.failed("refused", "nobody there")
    assert route(run, server.url) == "spool"
    ran = run("spool", "probe", "--url", server.url)
    assert (ran.code, ran.out.startswith("Redis answers (")) == (0, True)
    assert route(run, server.url) == "primary"
    found = run("spool", "probe", "--url", server.url, "--json").json
    assert (found["schema"], found["answers"], found["used"], found["seconds"] > 0) == (1, True, True, True)


def test_a_redis_that_is_away_is_exit_69(run: Run, nowhere: str) -> None:
    ran = run("spool", "probe", "--url", nowhere)
    assert (ran.code, ran.out) == (69, "")
    assert "Redis does not take jobs: Redis" in ran.err
    told = run("spool", "probe", "--url", nowhere, "--json")
    assert (told.code, told.json["answers"], told.json["seconds"]) == (69, False, None)


def test_a_queue_in_a_file_has_no_redis_to_ask(run: Run, tmp_path: Path) -> None:
    assert run("spool", "probe", "--url", f"sqlite:///{tmp_path}/q.db").code == 2


def test_it_is_the_dashboards_own_probe() -> None:
    from spoolq.cli import spool_probe

    assert view.probe_now is spool_probe.probe_now
