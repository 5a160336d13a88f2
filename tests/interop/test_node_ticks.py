"""Periodic jobs beside node-resque's schedulers: they share one lock, and each tick is one job whoever has it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from spoolq import SpoolQ
from tests.interop.conftest import Node
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.node

LOCK = "resque:resque_scheduler_leader_lock"


@pytest.fixture
def working(server: Server, tmp_path: Any) -> Iterator[Callable[[str], tuple[SpoolQ, Callable[[], None]]]]:
    """Begin a worker on a host of its own that enqueues each second, and leaves the jobs where they can be counted. Returns its
    application, and what ends it."""
    with ExitStack() as all_of_them:

        def begin(name: str) -> tuple[SpoolQ, Callable[[], None]]:
            stack = all_of_them.enter_context(ExitStack())
            q = stack.enter_context(SpoolQ(server.url, spool=str(tmp_path / f"{name}.db"), deadline=20.0, spool_min_free=0))
            q.periodic(1)(q.task(name="tick", queue="ticks")(lambda: None))
            worker = q.worker(queues="elsewhere", threads=1, async_concurrency=0)
            thread = threading.Thread(target=worker.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(worker.stop)
            return q, stack.close

        yield begin


def ticks(server: Server) -> Counter[str]:
    with server.client() as control:
        return Counter(json.loads(payload)["id"] for payload in control.lrange("resque:queue:ticks", 0, -1))


def leader(server: Server) -> str:
    with server.client() as control:
        return (control.get(LOCK) or b"").decode()


def more(server: Server, count: int = 3) -> None:
    """Wait until there are so many more ticks, and see that none is there twice."""
    before = len(ticks(server))
    eventually(lambda: len(ticks(server)) >= before + count, what="more ticks")
    assert set(ticks(server).values()) == {1}


@pytest.mark.one_server
def test_a_scheduler_of_node_keeps_ours_from_leading_and_no_tick_is_lost(
    node: Node, working: Callable[[str], tuple[SpoolQ, Callable[[], None]]], server: Server
) -> None:
    stock = node.start("scheduler", "--seconds", "120", "--leader-seconds", "6")
    held = stock.wait_for("leader")["name"]
    apps = [working(name)[0] for name in ("one", "two")]
    more(server)
    assert not any(q.primary.leads() for q in apps)
    assert leader(server) == held
    stock.process.kill()  # its lock ends by itself
    eventually(lambda: sum(q.primary.leads() for q in apps) == 1, what="one of ours leads")
    more(server)


def test_ours_keeps_a_scheduler_of_node_from_leading_which_takes_over_when_ours_ends(
    node: Node, working: Callable[[str], tuple[SpoolQ, Callable[[], None]]], server: Server
) -> None:
    q, end = working("one")
    eventually(q.primary.leads)
    stock = node.start("scheduler", "--seconds", "120", "--leader-seconds", "6")
    stock.wait_for("ready")
    more(server)
    assert stock.of("leader") == []
    with server.client() as control:
        assert control.get(LOCK) is not None
    end()  # which gives the lock back
    stock.wait_for("leader")
    assert "spoolq" not in leader(server)
    assert set(ticks(server).values()) == {1}
