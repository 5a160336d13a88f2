"""A move of a whole queue that is killed loses nothing, runs nothing twice, and is ended by the next one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq import SpoolQ, wire
from spoolq.job import Job
from spoolq.store.base import Store
from tests.cli.conftest import finish, start
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

COUNT = 12_000


def fill(store: Store) -> list[str]:
    names = [f"j{n:05}" for n in range(COUNT)]
    for at in range(0, COUNT, 500):
        store.put([wire.message(Job(name, "t", "from", ())) for name in names[at : at + 500]], timeout=10.0)
    return names


def ids(store: Store, queue: str) -> list[str]:
    found, after = list[str](), None
    while True:
        jobs, after = store.waiting_jobs.page(queue, after=after, limit=500)
        found += [wire.decode(job.payload, queue).id for job in jobs]
        if after is None:
            return found


def ready(store: Store, queue: str) -> int:
    return next((depth.ready for depth in store.depths() if depth.queue == queue), 0)


@pytest.fixture(params=["redis", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path, start_server: Callable[..., Server]) -> str:
    return start_server().url if request.param == "redis" else f"sqlite:///{tmp_path}/jobs.db"


def test_a_move_that_is_killed_is_ended_by_the_next_one(url: str, tmp_path: Path) -> None:
    with SpoolQ(url, spool=tmp_path / "spool.db") as q:
        names = fill(q.primary)
        moving = start("queues", "move", "from", "to", "--url", url, "--spool", str(tmp_path / "spool.db"))
        eventually(lambda: ready(q.primary, "to"), within=60.0)
        moving.kill()
        moving.wait()
        moved, left = ids(q.primary, "to"), ids(q.primary, "from")
        assert moved + left == names, "in their order, each of them once"
        assert 0 < len(moved) < COUNT, "it was killed on its way"
        said = finish(start("queues", "move", "from", "to", "--url", url, "--spool", str(tmp_path / "spool.db")), within=120)
        assert (said.code, said.out) == (0, f"Moved {len(left):,} jobs from from to to.\n")
        assert ids(q.primary, "to") == names
        assert ids(q.primary, "from") == []
