"""`spoolq failed`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spoolq.app import SpoolQ
from spoolq.job import Attempt, Failure
from spoolq.tracking import cancel_key
from tests.cli.conftest import Run
from tests.cli.hands import fail, fill
from tests.servers import Server

pytestmark = pytest.mark.one_server

URL = "sqlite:///jobs.db"


@pytest.fixture
def ids() -> list[str]:
    """Three failures in a queue file, newest first."""
    fill(URL, 3)
    with SpoolQ(URL) as q:
        return fail(q.primary, q, error="no \x1b[31maddress")


def left(run: Run) -> list[str]:
    return [failure["id"] for failure in run("failed", "list", "--json", "--url", URL).json["failures"]]


def test_list(run: Run, ids: list[str]) -> None:
    said = run("failed", "list", "--url", URL)
    rows = said.out.splitlines()
    assert rows[0].split() == ["FAILED", "JOB", "TASK", "QUEUE", "IN", "ERROR"]
    assert ids[0] in rows[1]
    assert rows[1].endswith("send  mail   sqlite  ValueError: no \\x1b[31maddress")
    assert "example.com" not in said.out, "arguments are not shown in lists"


def test_list_is_paged(run: Run, ids: list[str]) -> None:
    document = run("failed", "list", "--limit", "1", "--skip", "1", "--json", "--url", URL).json
    assert document["count"] == 3
    assert [failure["id"] for failure in document["failures"]] == [ids[1]]
    assert run("failed", "list", "--limit", "1", "--url", URL).err == "1 of 3 failures; more with --limit and --skip.\n"


def test_one_that_was_called_back_before_it_failed_runs_again_all_the_same(run: Run, ids: list[str]) -> None:
    with SpoolQ(URL) as q:
        assert q.cancel(ids[0]).outcome == "late"
        assert run("failed", "retry", ids[0], "--url", URL).code == 0
        assert q.primary.value(cancel_key(ids[0])) is None


def test_an_empty_log(run: Run) -> None:
    fill(URL, 1)
    said = run("failed", "list", "--url", URL)
    assert (said.code, said.out, said.err) == (0, "", "No failures.\n")


def test_show(run: Run, ids: list[str]) -> None:
    said = run("failed", "show", ids[1], "--url", URL)
    assert said.code == 0
    assert "error     ValueError: no \\x1b[31maddress" in said.out
    assert "1@example.com" in said.out
    assert "\n  shop.py:9\n" in said.out
    document = run("failed", "show", ids[1], "--url", URL, "--json").json
    assert (document["id"], document["attempts"], document["backtrace"]) == (ids[1], 4, ["shop.py:9"])


def test_show_tells_of_every_attempt_that_is_known(run: Run) -> None:
    at = 1795511017.25
    history = (
        Attempt(1, at - 60, "OSError", "no\nroute", "web2:7", 0.5),
        Attempt(5, at - 1, "WorkerDied", "gone"),
        Attempt(6, at, "ValueError", "", "web1:4242", 1234.5),
    )
    with SpoolQ(URL) as q:
        failure = Failure("a", "mail", "web1:4242:mail", "ValueError", "", ("trace",), at, b'{"class":"send","id":"a"}', 6)
        more = {"history": history, "host": "web1", "pid": 4242, "versions": {"spoolq": "0.1.0", "python": "3.11.7"}}
        fill(URL, 1)
        worker = q.worker_info(("mail",), 1)
        [claim] = q.primary.claim(worker, 1, ("mail",), 1).claims
        q.primary.fail(claim, replace(failure, **more))
    said = run("failed", "show", "a", "--url", URL)
    lines = said.out.splitlines()
    start = lines.index("ATTEMPT  ENDED                           AFTER  ON         ERROR")
    assert lines[start + 1 : start + 7] == [
        "      1  2026-11-24T09:02:37.250Z      0.500 s  web2:7     OSError: no\\nroute",
        "    ...  (3 more)",
        "      5  2026-11-24T09:03:36.250Z                          WorkerDied: gone",
        "      6  2026-11-24T09:03:37.250Z  1,234.500 s  web1:4242  ValueError",
        "",
        "  trace",
    ]
    assert "ran by    spoolq 0.1.0, python 3.11.7" in lines
    document = run("failed", "show", "a", "--url", URL, "--json").json
    assert (document["host"], document["pid"], document["versions"]["python"]) == ("web1", 4242, "3.11.7")
    assert document["history"][0] == {
        "attempt": 1,
        "ended_at": "2026-11-24T09:02:37.250Z",
        "took": 0.5,
        "worker": "web2:7",
        "exception": "OSError",
        "error": "no\nroute",
    }
    assert document["history"][1]["worker"] is None


@pytest.mark.parametrize("verb", ["show", "retry", "remove"])
def test_an_unknown_id_is_named(run: Run, ids: list[str], verb: str) -> None:
    said = run("failed", verb, "nobody", "--url", URL)
    assert said.code == 1
    assert "no failure of " in said.err
    assert "nobody" in said.err
    assert "`spoolq failed list`" in said.err
    assert len(left(run)) == 3


def test_retry_puts_back_what_it_can_and_names_the_rest(run: Run, ids: list[str]) -> None:
    said = run("failed", "retry", ids[0], "nobody", "--url", URL)
    assert (said.code, said.out) == (1, "Put back 1 job.\n")
    assert "no failure of nobody" in said.err
    assert left(run) == ids[1:]
    (queue,) = run("queues", "list", "--json", "--url", URL).json["queues"]
    assert queue["ready"] == 1


def test_retry_all(run: Run, ids: list[str]) -> None:
    assert run("failed", "retry", "--all", "--dry-run", "--url", URL).out == "Would put back 3 jobs.\n"
    assert left(run) == ids
    document = run("failed", "retry", "--all", "--json", "--url", URL).json
    assert document == {"schema": 1, "dry_run": False, "found": 3, "retried": 3, "unknown": []}
    assert left(run) == []


def test_remove_asks_and_names_the_count(run: Run, ids: list[str]) -> None:
    said = run("failed", "remove", "--all", "--url", URL, input="n\n")
    assert said.code == 1
    assert "Delete 3 failures for good (3 in the queue" in said.err
    assert left(run) == ids
    assert run("failed", "remove", ids[0], "--yes", "--url", URL).out == "Deleted 1 failure.\n"
    assert left(run) == ids[1:]


def test_all_is_all_where_a_job_is_in_the_log_several_times(run: Run, server: Server) -> None:
    entry = '{"payload":{"class":"send","args":[],"id":"a"},"queue":"mail","failed_at":"2026-01-01T00:00:00Z","error":"%d"}'
    with server.client() as control:
        control.rpush("resque:failed", *(entry % n for n in range(3)))
        assert "Delete 3 failures for good (3 in " in run("failed", "remove", "a", "--url", server.url, input="n\n").err
        assert run("failed", "remove", "--all", "--yes", "--url", server.url).out == "Deleted 3 failures.\n"
        control.rpush("resque:failed", *(entry % n for n in range(3)))
        assert run("failed", "retry", "--all", "--url", server.url).out == "Put back 1 job.\n"
        assert (control.llen("resque:failed"), control.llen("resque:queue:mail")) == (0, 1)


def test_equal_entries_without_an_id_are_as_many_jobs(run: Run, server: Server) -> None:
    """Stock workers write the same of equal jobs that fail in the same second."""
    entry = '{"payload":{"class":"send","args":[]},"queue":"mail","failed_at":"2026-01-01T00:00:00Z","error":"x"}'
    with server.client() as control:
        control.rpush("resque:failed", *[entry] * 3)
        said = run("failed", "retry", "--all", "--url", server.url)
        assert (said.code, said.out) == (0, "Put back 3 jobs.\n")
        assert (control.llen("resque:failed"), control.llen("resque:queue:mail")) == (0, 3)


def test_a_failure_at_a_time_that_no_calendar_has_is_shown(run: Run, server: Server) -> None:
    with server.client() as control:
        control.rpush("resque:failed", '{"payload":{"class":"send","id":"a"},"queue":"mail","failed_at":500000000000}')
    assert run("failed", "list", "--json", "--url", server.url).json["failures"][0]["failed_at"] is None
    assert "500000000000" in run("failed", "show", "a", "--url", server.url).out


@pytest.mark.parametrize("args", [(), ("x", "--all")])
def test_ids_or_all(run: Run, args: tuple[str, ...]) -> None:
    assert run("failed", "retry", *args, "--url", URL).code == 2


def test_failures_of_both_stores(run: Run, server: Server) -> None:
    fill(server.url, 1)
    with SpoolQ(server.url) as q:
        (in_redis,) = fail(q.primary, q)
        assert q.spool is not None
        q.spool.put([q.message(q.remote("send", "mail").job("x"))])
        (in_spool,) = fail(q.spool, q)
    found = run("failed", "list", "--json", "--url", server.url).json["failures"]
    assert {failure["id"]: failure["in"] for failure in found} == {in_redis: "redis", in_spool: "spool"}
    assert run("failed", "show", in_spool, "--url", server.url).code == 0
    assert run("failed", "retry", in_redis, "--url", server.url).out == "Put back 1 job.\n"


def test_without_redis_those_of_the_spool_are_shown(run: Run, nowhere: str) -> None:
    fill(nowhere, 1)
    with SpoolQ(nowhere) as q:
        assert q.spool is not None
        (id,) = fail(q.spool, q)
    said = run("failed", "list", "--url", nowhere)
    assert said.code == 69
    assert id in said.out
    assert "refused" in said.err
    assert [failure["id"] for failure in run("failed", "list", "--json", "--url", nowhere).json["failures"]] == [id]
    said = run("failed", "retry", "--all", "--url", nowhere)
    assert (said.code, said.out) == (69, "")  # all can't be told, so nothing is changed by half
    assert "`--in spool` asks this host's spool alone" in said.err
    assert run("failed", "retry", id, "--url", nowhere).out == "Put back 1 job.\n"


def test_without_redis(spoolq: Run, nowhere: str) -> None:
    said = spoolq("failed", "list", "--url", nowhere)
    assert (said.code, said.out) == (69, "")
    assert "Nothing was spooled on this host" in said.err


def test_failures_are_grouped_by_error_and_task(run: Run) -> None:
    with SpoolQ(URL) as q:
        fill(URL, 3)
        failed = fail(q.primary, q)
        document = run("failed", "groups", "--json", "--url", URL).json
        assert document["logs"] == {"sqlite": {"count": 3, "looked_at": 3}}
        [group] = document["groups"]
        assert (group["exception"], group["task"], group["count"], group["queues"]) == ("ValueError", "send", 3, {"mail": 3})
        assert group["id"] == failed[0]
        said = run("failed", "groups", "--newest", 2, "--url", URL)
        assert "Of the newest 2 of 3 failures" in said.err
        assert run("failed", "groups", "--class", "KeyError", "--url", URL).out == ""
        dry = run("failed", "retry", "--class", "ValueError", "--dry-run", "--json", "--url", URL).json
        assert (dry["found"], dry["retried"]) == (3, 0)
