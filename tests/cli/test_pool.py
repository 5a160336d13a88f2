"""`spoolq pool`: what is known of pools without any running, and what may be said to them."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from spoolq.autoscale import assembly
from spoolq.autoscale.board import Board, State
from tests.cli.conftest import Run
from tests.cli.hands import fill
from tests.servers import Server
from tests.unit.autoscale.test_board import STATE

URL = "sqlite:///jobs.db"


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))


def shown(url: str, *states: State) -> None:
    """As pools of this host show them."""
    with SpoolQ(url) as q:
        for state in states:
            Board(assembly.folder(q.settings), state.key).show(replace(state, at=time.monotonic(), pid=os.getpid()))


def test_list_says_what_each_wants_has_and_why(run: Run) -> None:
    fill(URL, 1)
    shown(URL, STATE)
    said = run("pool", "list", "--url", URL)
    assert said.code == 0, said.err
    header, row = said.out.splitlines()
    assert header.split() == ["POOL", "PID", "STATE", "WANTED", "WORK", "LEAVING", "BOUNDS", "BY", "WHY"]
    assert row.split()[:1] + row.split()[2:] == ["web1/bulk", "running", "3", "2", "1", "1:4", "operator", "40", "jobs", "wait"]
    [found] = run("pool", "list", "--url", URL, "--json").json["pools"]
    assert (found["address"], found["wanted"], found["ready"], found["why"], found["cause"]) == (
        *("web1/bulk", 3, 2, "40 jobs wait", "backlog"),
    )
    assert 0.0 <= found["heard"] < 30.0


def test_status_has_a_line_of_each(run: Run) -> None:
    fill(URL, 1)
    shown(URL, STATE)
    said = " ".join(run("status", "--url", URL).out.split())
    assert "Pool web1/bulk 3 process(es) wanted, 2 work, 1 finish what they run (1:4 by an operator); 40 jobs wait" in said
    assert [pool["address"] for pool in run("status", "--url", URL, "--json").json["pools"]] == ["web1/bulk"]


def test_without_a_pool_it_says_how_one_is_started(run: Run) -> None:
    fill(URL, 1)
    said = run("pool", "list", "--url", URL)
    assert (said.code, said.out) == (0, "")
    assert "--processes MIN:MAX" in said.err
    said = run("pool", "scale", "2", "--url", URL)
    assert said.code == 1
    assert "name it (HOST/NAME), or give --all" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("0",), "queues pause --all"),
        (("3:1",), "1 <= MIN <= MAX"),
        (("many",), "a number of processes, MIN:MAX or auto"),
        (("2", "web1"), "expected HOST/NAME"),
        (("2", "web1/"), "expected HOST/NAME"),
        (("2", "*"), "expected HOST/NAME"),
        (("2", "web1/bulk", "--all"), "not both"),
    ],
)
def test_what_can_be_no_word_is_refused_and_nothing_is_kept(run: Run, words: tuple[str, ...], says: str) -> None:
    fill(URL, 1)
    said = run("pool", "scale", *words, "--url", URL)
    assert said.code == 2
    assert says in " ".join(said.err.split())


def test_of_several_pools_one_must_be_named(run: Run) -> None:
    fill(URL, 1)
    shown(URL, STATE, replace(STATE, key="k2", name="mail"))
    said = run("pool", "scale", "2", "--url", URL)
    assert said.code == 1
    assert "there are 2 pools; name one, or give --all: web1/bulk, web1/mail" in said.err
    assert run("pool", "scale", "2", "web1/mail", "--url", URL).code == 0
    said = run("pool", "scale", "auto", "--all", "--url", URL)
    assert said.out == f"The size of its start for all pools, in the queue {Path('jobs.db').resolve()}.\n"
    with SpoolQ(URL) as q:
        assert '"scale": "2"' in (q.primary.meta("pool-scale:web1/mail") or "")
        assert q.primary.meta("pool-scale:web1/bulk") is None
        assert '"scale": "auto"' in (q.primary.meta("pool-scale:*") or "")


def test_the_one_pool_that_there_is_needs_no_name(run: Run) -> None:
    fill(URL, 1)
    shown(URL, STATE)
    assert run("pool", "scale", "2:3", "--url", URL, "--json").json == {
        "schema": 1,
        "pool": "web1/bulk",
        "scale": "2:3",
        "in": ["sqlite"],
    }


def test_while_redis_is_away_the_spool_keeps_it(run: Run, nowhere: str, tmp_path: Path) -> None:
    with SpoolQ(nowhere) as q:
        q.remote("send", "mail").enqueue("a@example.com")
    shown(nowhere, STATE)
    said = run("pool", "scale", "2", "--url", nowhere)
    assert said.code == 69
    assert "2 process(es) for pool web1/bulk, in the spool" in said.out
    assert "tell Redis when it is back" in said.err
    said = run("pool", "list", "--url", nowhere)
    assert said.code == 69
    assert "web1/bulk" in said.out


def test_pools_of_other_hosts_are_known_through_redis(run: Run, server: Server) -> None:
    with SpoolQ(server.url) as q:
        house = replace(q.worker_info(("mail",), 0), host="web2")
        q.primary.heartbeat(house)
        from spoolq.store.effects import Effects

        elsewhere = replace(STATE, key="k9", host="web2")
        q.primary.put([], Effects(values=((f"pool:{house.key}", elsewhere.encoded(), 60.0),)))
    [found] = run("pool", "list", "--url", server.url, "--json").json["pools"]
    assert (found["address"], found["heard"]) == ("web2/bulk", None)
    assert run("pool", "scale", "5", "--url", server.url).out.startswith("5 process(es) for pool web2/bulk, in ")
