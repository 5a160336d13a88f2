"""`at_front=True` through everything that a job may go through before a worker has it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq import PayloadError, SpoolQ, transfer
from tests.faults.app import drain
from tests.servers import Server

pytestmark = pytest.mark.one_server


def app(url: str, folder: Path, **settings: object) -> SpoolQ:
    return SpoolQ(url, spool=folder / "spool.db", spool_min_free=0, deadline="5s", disk_limit="20s", **settings)


def in_redis(server: Server) -> list[int]:
    """The numbers in the queue, the next one first."""
    with server.client() as control:
        return [json.loads(payload)["args"][0] for payload in control.lrange("resque:queue:work", 0, -1)]


def test_it_goes_to_the_front_in_redis(server: Server, tmp_path: Path) -> None:
    with app(server.url, tmp_path) as q:
        task = q.remote("t", "work")
        task.enqueue(1)
        task.using(at_front=True).enqueue(2)
        q.enqueue_many([task.job(3), task.using(at_front=True).job(4), task.using(at_front=True, queue="other").job(0)])
        assert task.using(id="five").using(at_front=True).enqueue(5).new
        assert task.using(id="five", at_front=True).enqueue(5).new is False
        assert in_redis(server) == [5, 4, 2, 1, 3]


@pytest.mark.parametrize("accept", ["primary", "spool"])
def test_an_outage_and_a_drain_keep_it(fresh_server: Server, tmp_path: Path, accept: str) -> None:
    fresh_server.kill()
    with app(fresh_server.url, tmp_path, accept=accept) as q:
        task = q.remote("t", "work")
        for number in (1, 2):
            assert task.enqueue(number).route == "spool"
        for number in (3, 4):
            assert task.using(at_front=True).enqueue(number).route == "spool"
        fresh_server.start()
        with fresh_server.client() as control:
            control.rpush("resque:queue:work", '{"class":"t","queue":"work","args":[0]}')
        drain(q)
        found = in_redis(fresh_server)
        assert [number for number in found if number] == [4, 3, 1, 2]
        assert found.index(0) > 1, "and what was there meanwhile"


def test_so_does_a_move_to_another_spool(server: Server, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    dead = "redis://127.0.0.1:1/0"
    with app(dead, tmp_path) as a, app(dead, tmp_path / "b") as b, app(server.url, tmp_path / "b") as there:
        task = a.remote("t", "work")
        task.enqueue(1)
        task.using(at_front=True).enqueue(2)
        assert a.spool is not None
        assert b.spool is not None
        out = io.BytesIO()
        transfer.export(a.spool.upkeep, a.spool.info(), out, id="x", at=1.0, sync=lambda: None)
        assert transfer.load(b.spool.upkeep, io.BytesIO(out.getvalue()), destination=b.settings.destination).added == 2
        there.drainer(spool=there.adopt(tmp_path / "b" / "spool.db", to_here=True)).run_once(20.0)
    assert in_redis(server) == [2, 1]


def test_where_queues_keep_order_it_is_refused_and_nothing_of_the_call_is_stored(server: Server, tmp_path: Path) -> None:
    with app(server.url, tmp_path, ordering="fifo") as q:
        task = q.remote("t", "work")
        for call in (
            lambda: task.using(at_front=True).enqueue(1),
            lambda: q.enqueue_many([task.job(1), task.using(at_front=True).job(2)]),
        ):
            with pytest.raises(PayloadError, match="at_front breaks the order that ordering='fifo' promises"):
                call()
        assert in_redis(server) == []


@pytest.mark.parametrize(
    "launch",
    [
        lambda task: task.using(at_front=True, delay=5),
        lambda task: task.using(at_front=True).using(at=4e9),
        lambda task: task.using(delay=5).using(at_front=True),
        lambda task: task.using(at_front=True).enqueue_in(5, 1),
    ],
)
def test_with_a_delay_it_is_refused(tmp_path: Path, launch: Callable[[object], object]) -> None:
    with (
        app("redis://127.0.0.1:1/0", tmp_path) as q,
        pytest.raises(PayloadError, match="at_front= is for jobs that are due at once"),
    ):
        launch(q.remote("t", "work"))
