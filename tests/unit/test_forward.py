"""What a process hands over in its background, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import SpoolQ
from spoolq.errors import NotStored, PayloadError, SpoolFull
from tests.servers import NOWHERE, Server
from tests.waiting import eventually


@pytest.fixture
def q(server: Server, tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(server.url, deadline=20, spool=tmp_path / "spool.db", spool_min_free=0, disk_limit=20, accept="spool") as q:
        yield q


def length(server: Server) -> int:
    with server.client() as control:
        found: int = control.llen("resque:queue:default")
        return found


def test_what_was_accepted_arrives_without_anybodys_doing(q: SpoolQ, server: Server) -> None:
    receipts = [q.enqueue("t", number) for number in range(3)]
    assert {receipt.route for receipt in receipts} == {"spool"}
    eventually(lambda: length(server) == 3)
    eventually(lambda: q.spool is not None and q.spool.info().kept == 3)


def test_closing_hands_over_what_was_accepted(q: SpoolQ, server: Server) -> None:
    q.enqueue_many([q.remote("t").job(number) for number in range(200)])
    q.close(40.0)
    assert length(server) == 200


def test_one_launch_may_differ_from_the_setting(q: SpoolQ) -> None:
    assert eventually(lambda: q.remote("t").using(accept="primary").enqueue(1).route == "primary")
    with pytest.raises(PayloadError, match="accept='disk'"):
        q.remote("t").using(accept="disk")  # type: ignore[arg-type]


def test_a_chunk_of_many_is_written_ahead_when_one_of_it_is(server: Server, tmp_path: Path) -> None:
    with SpoolQ(server.url, deadline=20, spool=tmp_path / "spool.db", spool_min_free=0, disk_limit=20) as q:
        task = q.remote("t")
        receipts = q.enqueue_many([task.job(1), task.using(accept="spool").job(2)])
        assert [receipt.route for receipt in receipts] == ["spool", "spool"]
        eventually(lambda: length(server) == 2)
        eventually(lambda: q.spool is not None and (q.spool.waiting(), q.spool.info().kept) == (0, 1))


def test_a_given_id_is_queued_once(q: SpoolQ, server: Server) -> None:
    launch = q.remote("t").using(id="mine")
    assert [launch.enqueue(1).new for _ in range(3)] == [True, False, False]
    q.close(40.0)
    assert length(server) == 1


def test_without_room_nothing_goes_round_the_spool(server: Server, tmp_path: Path) -> None:
    """The caller asked for the disk: Redis alone would promise less than that."""
    with SpoolQ(
        server.url, deadline=20, spool=tmp_path / "spool.db", spool_min_free=0, disk_limit=20, spool_max_rows=1, accept="spool"
    ) as q:
        with pytest.raises(SpoolFull, match="spool_max_rows"):
            q.enqueue_many([q.remote("t").job(number) for number in range(2)])
        assert length(server) == 0
    with (
        SpoolQ(server.url, deadline=20, spool=tmp_path / "absent" / "spool.db", disk_limit=20, accept="spool") as q,
        pytest.raises(NotStored),
    ):
        q.enqueue("t")


def test_closing_waits_for_no_redis_that_is_away(tmp_path: Path) -> None:
    with SpoolQ(NOWHERE, spool=tmp_path / "spool.db", spool_min_free=0, disk_limit=20, accept="spool") as q:
        q.enqueue("t")
        eventually(lambda: q._forwarder is not None and q._forwarder._drainer.progress.error is not None)
        assert q.spool is not None
        assert q.spool.waiting() == 1


def test_an_sqlite_queue_takes_the_setting_and_has_no_use_for_it(tmp_path: Path) -> None:
    with SpoolQ(f"sqlite:///{tmp_path}/jobs.db", accept="spool", spool_min_free=0, disk_limit=20) as q:
        assert q.enqueue("t").route == "primary"


def test_without_a_thread_the_job_is_accepted_all_the_same(q: SpoolQ, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    q.enqueue("t", "begins the spool's own thread")
    eventually(lambda: length(server) == 1)
    assert q._forwarder is not None
    for service in q._forwarder._services:
        assert service.stop(20.0)
        monkeypatch.setattr(service, "start", refuse)
    assert q.enqueue("t").route == "spool"


def refuse() -> None:
    raise RuntimeError("can't start new thread")
