"""`spoolq locks`."""

from __future__ import annotations

from spoolq.app import SpoolQ
from spoolq.job import Receipt
from tests.cli.conftest import Run
from tests.servers import Server

URL = "sqlite:///jobs.db"


def lock(url: str, *args: object) -> Receipt:
    with SpoolQ(url, deadline=20.0) as q:
        return q.remote("send", "mail").using(unique="until_done", unique_for=600).enqueue(*args)


def test_list(run: Run) -> None:
    first, second = lock(URL, 1), lock(URL, "é\n")
    said = run("locks", "list", "--url", URL)
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["LOCK", "IN", "HOLDER", "LEFT"]
    assert [row[:3] for row in rows[1:]] == [
        ['lock:send:mail:["é\\n"]', "sqlite", second.id],
        ["lock:send:mail:[1]", "sqlite", first.id],
    ]
    document = run("locks", "list", "--url", URL, "--json").json
    assert [one["holder"] for one in document["locks"]] == [second.id, first.id]
    assert all(590 < one["left"] <= 600 for one in document["locks"])


def test_none_is_said(run: Run) -> None:
    lock(URL, 1)
    assert run("locks", "remove", "lock:send:mail:[1]", "--yes", "--url", URL).code == 0
    said = run("locks", "list", "--url", URL)
    assert (said.code, said.out) == (0, "")
    assert "No lock in" in said.err


def test_no_lock_is_not_said_of_a_redis_that_is_away(run: Run, nowhere: str) -> None:
    with SpoolQ(nowhere) as q:
        assert q.remote("send", "mail").enqueue(1).route == "spool"
    said = run("locks", "list", "--url", nowhere)
    assert said.code == 69
    assert "No lock" not in said.err


def test_removing_asks_and_lets_the_next_one_in(run: Run) -> None:
    first = lock(URL, 1)
    said = run("locks", "remove", "lock:send:mail:[1]", "--url", URL, input="n\n")
    assert said.code == 1
    assert f"Remove the lock lock:send:mail:[1], held by {first.id}?" in said.err
    assert not lock(URL, 1).new
    said = run("locks", "remove", "lock:send:mail:[1]", "--url", URL, "--yes")
    assert (said.code, said.out) == (0, "Removed lock:send:mail:[1] from sqlite:///jobs.db.\n") or said.out.startswith("Removed")
    assert lock(URL, 1).new


def test_one_that_is_not_there(run: Run) -> None:
    lock(URL, 1)
    said = run("locks", "remove", "lock:send:mail:[2]", "--url", URL, "--yes")
    assert (said.code, said.out) == (1, "")
    assert "no lock named" in said.err


def test_those_of_node_are_among_them(run: Run, server: Server) -> None:
    with server.client() as control:
        control.set("resque:lock:SendMail:mail:[1]", "99999999999")
    document = run("locks", "list", "--url", server.url, "--json").json
    assert document["locks"] == [{"in": "redis", "lock": "lock:SendMail:mail:[1]", "holder": "node-resque", "left": None}]
    assert run("locks", "list", "--url", server.url).out.split()[-2:] == ["no", "end"]
    run("locks", "remove", "lock:SendMail:mail:[1]", "--url", server.url, "--yes", "--json")
    with server.client() as control:
        assert not control.exists("resque:lock:SendMail:mail:[1]")
