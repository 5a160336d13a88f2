"""`spoolq accounts`: whether it balances."""

from __future__ import annotations

from spoolq.app import SpoolQ
from spoolq.bookkeeping import Bookkeeper
from tests.cli.conftest import Run
from tests.cli.hands import fail, fill
from tests.servers import Server

URL = "sqlite:///jobs.db"


def test_a_table_by_queue_and_over_all(run: Run) -> None:
    fill(URL, 3)
    fill(URL, 2, "media")
    with SpoolQ(URL) as q:
        fail(q.primary, q)
    said = run("accounts", "--url", URL)
    assert said.code == 0
    assert [line.split() for line in said.out.splitlines()] == [
        ["QUEUE", "CAME", "DONE", "FAILED", "ELSE", "THERE", "MISSING"],
        ["mail", "3", "0", "3", "0", "0", "0"],
        ["media", "2", "0", "0", "0", "2", "0"],
        ["all", "5", "0", "3", "0", "2", "0"],
    ]
    total = run("accounts", "--json", "--url", URL).json["total"]
    assert (total["came"], total["went"], total["waiting"], total["missing"]) == ({"put": 5}, {"failed": 3}, 2, 0)
    assert run("status", "--json", "--url", URL).json["accounts"]["total"] == total


def test_what_is_missing_is_said_in_the_first_line_until_it_is_written_off(run: Run, server: Server) -> None:
    fill(server.url, 3)
    with server.client() as control:
        control.lpop("resque:queue:mail")
    said = run("accounts", "--url", server.url)
    assert (said.code, said.out.splitlines()[-1].split()) == (1, ["all", "3", "0", "0", "0", "2", "1"])
    said = run("status", "--url", server.url)
    assert said.out.startswith("1 job is missing in Redis.")
    assert all(len(line) <= 80 for line in said.out.splitlines() if "/" not in line)
    assert run("health", "--url", server.url).code == 1
    assert run("accounts", "--write-off", "--url", server.url).code == 2, "nobody is there to answer"
    assert run("accounts", "--write-off", "--yes", "--url", server.url).code == 0
    assert run("accounts", "--url", server.url).code == 0
    assert run("status", "--url", server.url).out.startswith("Nothing is lost on this host.")


def test_what_went_with_its_count_is_missing_and_of_no_queue(run: Run, server: Server) -> None:
    fill(server.url, 3)
    with SpoolQ(server.url) as q:
        assert q.spool is not None
        Bookkeeper(q.primary, q.spool).turn()
        with server.client() as control:
            control.flushall()
    said = run("accounts", "--url", server.url)
    assert (said.code, said.out.splitlines()[-1].split()) == (1, ["all", "3", "0", "0", "0", "0", "3"])
    assert "3 jobs went together with Redis's count: of which queues isn't known." in said.err


def test_while_redis_is_gone_the_spool_is_counted_and_it_says_so(run: Run, nowhere: str) -> None:
    fill(nowhere, 2)
    said = run("accounts", "--url", nowhere)
    assert (said.code, said.out.splitlines()[-1].split()) == (0, ["mail", "2", "0", "0", "0", "2", "0"])
    assert "can't be read now, and isn't counted" in said.err


def test_where_nothing_can_be_read_it_says_that(run: Run, nowhere: str) -> None:
    said = run("accounts", "--url", nowhere)
    assert (said.code, said.out) == (1, "")
    assert "nothing can be said" in said.err
