"""`spoolq status`, `spoolq health` and `spoolq spool info`."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.failurelog.assembly import outbox_of
from spoolq.failurelog.outbox import Outbox
from spoolq.store.sqlite import SQLiteStore
from tests.cli.conftest import Run, finish, start
from tests.cli.hands import fill
from tests.contract.hands import message
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

URL = "sqlite:///jobs.db"


def fits(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines() if "/" not in line)  # a path is as it is


def _spool(url: str) -> Path:
    with SpoolQ(url) as q:
        return q.settings.spool_path


def test_an_error_of_our_own_is_unknown(run: Run, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would end with 1, which says: degraded."""

    def broken(*_: object) -> None:
        raise LookupError("no such thing")

    monkeypatch.setattr("spoolq.facts._primary", broken)
    said = run("health", "--url", nowhere)
    assert (said.code, said.out) == (3, "unknown: an error of spoolq's own: LookupError: no such thing\n")


def test_a_path_that_cant_even_be_looked_at_is_unknown(run: Run, nowhere: str) -> None:
    """As on a disk that fails. 1 would say: degraded."""
    Path("loop.db").symlink_to("loop.db")
    said = run("health", "--url", nowhere, "--spool", "loop.db")
    assert (said.code, said.err) == (3, "")
    assert "loop.db can't be looked at: Too many levels of symbolic links" in said.out
    said = run("failed", "list", "--url", nowhere, "--spool", "loop.db")
    assert said.code == 73
    assert said.err.startswith("spoolq: ")


def test_all_well(run: Run, server: Server) -> None:
    fill(server.url, 3)
    said = run("status", "--url", server.url)
    assert said.code == 0
    assert said.out.startswith("Nothing is lost on this host. There is nothing to do.\n3 ready, 0 running; no spool at")
    assert "no file there" in said.out
    assert fits(said.out)
    said = run("health", "--url", server.url)
    assert (said.code, said.out) == (
        0,
        f"ok: nothing is lost on this host. 3 ready, 0 running; no spool at {_spool(server.url)} so far.\n",
    )


def test_an_outage(run: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = run("status", "--url", nowhere)
    assert said.code == 0
    assert re.match(
        r"Nothing is lost on this host. Start Redis, then run `spoolq drain`.\n"
        r"Redis down for [\d.]+ s \(refused\); 3 jobs are safe in the spool, oldest",
        said.out,
    )
    assert "Redis  redis://127.0.0.1:" in said.out
    assert "mail   spool" in said.out
    said = run("health", "--url", nowhere)
    assert said.code == 1
    assert re.match(r"degraded: nothing is lost on this host. Redis down for [\d.]+ s \(refused\); 3 jobs are safe", said.out)
    assert (said.out.count("\n"), said.err) == (1, "")


def test_an_outage_on_a_full_disk_is_critical(run: Run, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(nowhere, 3)
    monkeypatch.setenv("SPOOLQ_SPOOL_MIN_FREE", "1024TiB")
    said = run("health", "--url", nowhere)
    assert said.code == 2
    assert said.out.startswith("critical: new jobs are refused. ")
    assert "3 jobs are safe in the spool" in said.out
    shown = run("status", "--url", nowhere).out
    assert "TAKES NO JOBS" in shown


def test_a_spool_that_is_no_database(run: Run, nowhere: str) -> None:
    with open("spool.db", "wb") as file:
        file.write(b"holiday pictures " * 1000)
    said = run("health", "--url", nowhere, "--spool", "spool.db")
    assert said.code == 2
    assert "spool.db" in said.out
    assert run("status", "--url", nowhere, "--spool", "spool.db").code == 0


def test_a_spool_that_could_not_be_made_is_critical_before_it_is_needed(run: Run, nowhere: str) -> None:
    said = run("health", "--url", nowhere, "--spool", "missing/spool.db")
    assert said.code == 2
    assert "new jobs are refused" in said.out
    assert "there is no directory" in said.out


def test_a_wrong_setting_is_unknown_to_a_monitor(run: Run) -> None:
    said = run("health", "--url", "amqp://h")
    assert said.code == 3
    assert said.out.startswith("unknown: url = 'amqp://h': unknown scheme")
    assert run("health", "--url", "amqp://h", "--json").json["state"] == "unknown"


def test_a_full_redis_is_not_an_absent_one(run: Run, start_server: Callable[..., Server]) -> None:
    server = start_server()
    fill(server.url, 2)
    server.client().config_set("maxmemory", 1)
    said = run("status", "--url", server.url)
    assert said.out.startswith("Nothing is ")
    assert "Redis is full (oom); no spool at" in said.out
    assert "mail   redis      2" in said.out
    assert run("health", "--url", server.url).code == 1


def test_what_the_producers_of_this_host_have_found_out_is_shown(run: Run, server: Server) -> None:
    with SpoolQ(server.url) as q:
        q.breaker.failed("slow")
    assert run("health", "--url", server.url).out.startswith("degraded: nothing is lost on this host. Redis answers too slowly")
    assert "producers here have gone to the spool for " in run("status", "--url", server.url).out
    breaker = run("status", "--json", "--url", server.url).json["breaker"]
    assert (breaker["open"], breaker["reason"]) == (True, "slow")
    with SpoolQ(server.url) as q:
        assert not q.breaker.allows()
        q.breaker.succeeded()
    assert run("health", "--url", server.url).out.startswith("ok: ")


def test_a_single_box(run: Run) -> None:
    assert run("health", "--url", URL).out.startswith("unknown: no queue at ")
    said = " ".join(run("status", "--url", URL).out.split())  # it is wrapped where the path is long
    assert said.startswith("Whether anything is lost isn't known. Look whether that is the right path. No queue at ")
    fill(URL, 2)
    assert run("health", "--url", URL).out == "ok: nothing is lost on this host. 2 ready, 0 running.\n"
    assert fits(run("status", "--url", URL).out)


def test_failures_that_wait_for_a_bucket_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_FAILURE_LOG", "s3://bucket/web")
    fill(URL, 1)
    with SpoolQ(URL) as q:
        for url in ("s3://bucket/web", "s3://old/web"):
            box = Outbox(outbox_of(q.settings, url), url, max_bytes=1 << 20)
            box.append([b"{}"])
    said = run("status", "--url", URL).out
    assert "Outbox s3://bucket/web\n       1 file of failures on this disk, oldest 0." in said
    assert "failure_log names no bucket for them" in " ".join(said.split())
    uploads = run("status", "--json", "--url", URL).json["uploads"]
    assert {(one["to"], one["files"]) for one in uploads} == {("s3://bucket/web", 1), (None, 1)}
    assert fits(said)


def test_many_queues_are_counted_and_not_all_listed(run: Run) -> None:
    for number in range(25):
        fill(URL, 1, f"queue-{number}")
    said = run("status", "--url", URL)
    assert said.out.endswith("... and 5 more queues: spoolq queues list\n")


def test_json_keeps_its_keys(run: Run, server: Server, nowhere: str) -> None:
    """Keys may be added. One that goes or changes its meaning needs another schema number."""
    side = {"kind", "state", "error", "reason", "latency", "failures", "queues", "workers"}
    for url in (server.url, nowhere):
        fill(url, 1)
        for command in ("status", "health"):
            document = run(command, "--json", "--url", url).json
            assert set(document) >= {"schema", "state", "lost", "summary", "at", "primary", "spool", "breaker", "uploads"}
            assert set(document["primary"]) >= side | {"address"}
            assert set(document["spool"]) >= side | {"path", "accepts", "refuses", "info"}
            assert set(document["breaker"]) >= {"open", "reason", "since"}
    (queue,) = document["spool"]["queues"]
    assert set(queue) >= {"queue", "ready", "scheduled", "claimed", "oldest", "oldest_at"}
    facts = {"path", "destination", "schema", "sqlite", "rows", "in_doubt", "claimed", "quarantined", "failures", "bytes"}
    facts |= {"limit_bytes", "disk_free", "min_free", "oldest", "oldest_at"}
    assert set(document["spool"]["info"]) >= facts
    assert document["spool"]["info"]["rows"] == 1


def test_watch_writes_a_document_a_line_until_it_is_interrupted(nowhere: str) -> None:
    process = start("status", "--watch", "--every", "0.1", "--json", "--url", nowhere)
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert lines[0]["at"] < lines[1]["at"]
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert (said.code, said.err) == (0, "")


def test_spool_info(run: Run, nowhere: str) -> None:
    fill(nowhere, 3)
    said = run("spool", "info", "--url", nowhere)
    rows = {line[:12].strip(): line[13:] for line in said.out.splitlines()}
    assert rows["waiting"].startswith("3 jobs, oldest ")
    assert rows["for"] == f"{nowhere}#resque"
    assert rows["size"].endswith(" of 1 GiB")
    assert rows["full"].startswith("0 % (by spool_m")
    assert rows["reserve"].startswith("8 MiB ")
    document = run("spool", "info", "--json", "--url", nowhere).json
    assert (document["schema"], document["rows"], document["destination"]) == (1, 3, f"{nowhere}#resque")


def test_an_absent_spool_is_never_an_empty_one(run: Run, nowhere: str) -> None:
    said = run("spool", "info", "--url", nowhere)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("spoolq: no spool at ")


def test_a_spool_for_another_redis_is_refused_with_both_named(run: Run, nowhere: str) -> None:
    run("enqueue", "send", "--url", nowhere, "--spool", "spool.db")
    said = run("spool", "info", "--url", "redis://elsewhere:1/0", "--spool", "spool.db")
    assert said.code == 78
    assert nowhere in said.err
    assert "redis://elsewhere:1/0" in said.err


def test_a_worker_is_listed(run: Run, server: Server) -> None:
    from spoolq.app import SpoolQ

    with SpoolQ(server.url) as q:
        worker = q.worker_info(["mail"], 4)
        q.primary.register(worker)
        said = run("status", "--url", server.url)
        (shown,) = run("status", "--json", "--url", server.url).json["primary"]["workers"]
    assert f"{worker.host}:{worker.pid}" in said.out
    assert (shown["pid"], shown["threads"], shown["queues"]) == (worker.pid, 4, ["mail"])


def test_a_worker_is_shown_with_when_it_was_heard_of(run: Run) -> None:
    with SpoolQ(URL) as q:
        q.primary.register(q.worker_info(("mail",), 4, lease=60.0))
        (line,) = [line for line in run("status", "--url", URL).out.splitlines() if " worker " in line]
        assert re.search(r"sqlite  worker   0/4  [0-9.]+ s ago +mail$", line), line
        assert "gone" not in line
        gone = q.worker_info(("mail",), 4, lease=0.05)
        q.primary.register(gone)

        def said() -> list[str]:
            return [line for line in run("status", "--url", URL).out.splitlines() if "s ago, gone" in line]

        assert len(eventually(said)) == 1


def test_what_a_worker_that_works_in_redis_again_left_in_the_spool_is_not_shown(run: Run, server: Server) -> None:
    with SpoolQ(server.url) as q:
        q.primary.register(q.worker_info(("mail",), 4, lease=60.0))
        assert q.spool is not None
        q.spool.register(q.worker_info(("mail",), 4, lease=0.05))
        other = replace(q.worker_info(("mail",), 4, lease=0.05), pid=1)
        q.spool.register(other)
        spool = q.spool
        eventually(lambda: all(view.lease_left < 0 for view in spool.workers()))
        gone = [line for line in run("status", "--url", server.url).out.splitlines() if "gone" in line]
        assert len(gone) == 1, "the one whose process is nowhere"
        listed = run("workers", "list", "--json", "--url", server.url).json["workers"]
        assert sorted((one["pid"] == 1, one["in"]) for one in listed) == [(False, "redis"), (True, "spool")], listed


def test_a_drainer_with_nothing_to_move_is_not_said_to_be_gone(run: Run, server: Server) -> None:
    """It keeps no lease while there is nothing to take."""
    with SpoolQ(server.url) as q:
        assert q.spool is not None
        q.spool.spool([message(id) for id in "ab"])
        path, ago = q.settings.spool_path, time.time() - 60.0
        with closing(SQLiteStore(path, role="spool", min_free=0, clock=lambda: ago, timeout=20.0)) as before:
            idle, dead = (replace(q.worker_info((), 1, "drainer", 5.0), key=key) for key in ("idle", "dead"))
            before.handed_over(before.take(idle, 1, 1 << 20, ago))
            assert len(before.take(dead, 1, 1 << 20, ago)) == 1
        assert [(view.info.key, view.lease_left < 0) for view in q.spool.workers()] == [("dead", True), ("idle", True)], (
            "the control"
        )
        shown = run("status", "--json", "--url", server.url).json["spool"]["workers"]
    assert [one["key"] for one in shown] == ["dead"], "the one that holds a row"


def test_a_queue_from_which_nobody_takes_is_somebody_s_business_once_its_jobs_have_waited(run: Run, fresh_server: Server) -> None:
    url = fresh_server.url
    fill(url, 2)
    assert run("health", "--url", url).code == 0, "somebody may be about to"
    with fresh_server.client() as control:
        older(control, 100.0)
        said = run("status", "--url", url)
        assert said.out.startswith("Nothing is lost on this host. See that a `spoolq worker` runs.\n"), said.out
        assert "2 jobs wait to be run, oldest 1 min 4" in said.out
        assert "and no worker takes from mail: start `spoolq worker` for it" in " ".join(said.out.split())
        assert run("health", "--url", url).code == 1
        assert run("status", "--json", "--url", url).json["primary"]["untaken"] == ["mail"]
        control.sadd("resque:workers", "ruby:5:mail,films")  # Resque's own may be at it
        assert run("health", "--url", url).code == 0
        control.hset("resque:workers:heartbeat", "ruby:5:mail,films", "2020-01-01T00:00:00Z")
        assert run("health", "--url", url).code == 1
    with SpoolQ(url) as q:
        q.primary.register(q.worker_info(("films",), 1, lease=600.0))
        assert run("health", "--url", url).code == 1
        q.primary.register(q.worker_info(("mail",), 1, lease=600.0))
        assert run("health", "--url", url).code == 0


def older(control: Any, seconds: float) -> None:
    """The jobs of the queue `mail`, as if they had been enqueued so long ago."""
    for place, payload in enumerate(control.lrange("resque:queue:mail", 0, -1)):
        job = json.loads(payload)
        control.lset("resque:queue:mail", place, json.dumps(job | {"enqueued_at": job["enqueued_at"] - seconds}))


HOLDS = """
@q.task(queue="mail")
def hold():
    import time
    open("held", "w").close()
    time.sleep(600)
"""


def test_a_worker_that_was_killed_here_is_gone_at_once_not_when_its_lease_is_over(run: Run, fresh_server: Server) -> None:
    with open("shop.py", "a") as module:
        module.write(HOLDS)
    url = fresh_server.url
    with SpoolQ(url) as q:
        q.remote("hold", "mail").enqueue()
    with start("worker", "shop:q", "--no-drain", SHOP_URL=url) as worker:
        eventually(Path("held").exists, within=60)
        assert run("health", "--url", url).code == 0
        worker.kill()
        worker.communicate()
    said = run("health", "--url", url)
    assert said.code == 1
    assert f"1 job is held by a worker that is gone ({socket.gethostname()}:{worker.pid}), and nobody takes it over" in said.out
    [line] = [line for line in run("status", "--url", url).out.splitlines() if " worker " in line and "redis" in line]
    assert ", gone" in line
    assert "warning: claims: 1 job held by workers that are gone" in run("doctor", "--only", "claims", "--url", url).out
    with SpoolQ(url) as q:
        q.primary.register(q.worker_info(("mail",), 1, lease=600.0))
        assert run("health", "--url", url).code == 0, "it will take it over"
        assert run("doctor", "--only", "claims", "--url", url).code == 0
