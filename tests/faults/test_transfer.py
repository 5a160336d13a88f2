"""Jobs that are exported and imported, with real Redis behind: whatever an operator does with the file, no id is queued twice.

A control stands beside: rows put in by hand, without what an import gives them, are.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spoolq import SpoolQ, transfer
from spoolq.drain import Drainer
from spoolq.errors import ConfigError
from spoolq.sieve import Drained
from spoolq.store.base import DRAIN_PAUSED
from tests.faults.app import application, arrived
from tests.servers import Binary, Server
from tests.waiting import eventually


@pytest.fixture
def server(one_binary: Binary, shared_servers: Callable[[Binary], Server]) -> Server:
    """One server is enough: what differs between them is none of an export's business."""
    running = shared_servers(one_binary)
    with running.client() as control:
        control.flushall()
    return running


def drain(q: SpoolQ) -> Drained:
    """Empty its spool, and wait until the ids of these puts are forgotten, but for those that are given."""
    assert q.spool is not None
    drainer = Drainer(q.spool, q.primary, q.breaker, q.worker_info((), 1, "drainer"), timeout=0.3)
    done = drainer.run_once(20.0)
    drainer.close()
    return done


@contextmanager
def host(name: str, server: Server, folder: Path, **settings: str) -> Iterator[SpoolQ]:
    """A host of its own, with its spool."""
    (folder / name).mkdir(exist_ok=True)
    with application(server.url, folder / name, **settings) as q:
        yield q


def spooled(q: SpoolQ, count: int) -> list[str]:
    """So many jobs, in its spool."""
    assert q.spool is not None
    messages = [q.message(q.remote("t", "work").job(number)) for number in range(count)]
    q.spool.spool(messages)
    return [message.id for message in messages]


def export(q: SpoolQ, *, move: bool = False, id: str = "x", sync: Callable[[], None] = lambda: None) -> bytes:
    assert q.spool is not None
    out = io.BytesIO()
    transfer.export(q.spool.upkeep, q.spool.info(), out, id=id, at=1.0, sync=sync if move else None)
    return out.getvalue()


def load(q: SpoolQ, file: bytes, **options: bool) -> transfer.Imported:
    assert q.spool is not None
    return transfer.load(q.spool.upkeep, io.BytesIO(file), destination=q.settings.destination, **options)


def test_a_spool_moves_to_another_machine(server: Server, tmp_path: Path) -> None:
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        ids = spooled(a, 250)
        file = export(a, move=True)
        assert a.spool is not None
        assert a.spool.waiting() == 0
        done = load(b, file)
        assert (done.added, done.known, done.bad, done.whole) == (250, 0, [], True)
        drain(a)
        drain(b)
        assert arrived(server) == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_copy_that_is_imported_elsewhere_is_queued_once(server: Server, tmp_path: Path, first: str) -> None:
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        ids = spooled(a, 20)
        assert load(b, export(a)).added == 20
        for q in (a, b) if first == "a" else (b, a):
            drain(q)
        assert arrived(server) == dict.fromkeys(ids, 1)


def test_a_file_imported_on_two_hosts_and_again_is_queued_once(server: Server, tmp_path: Path) -> None:
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b, host("c", server, tmp_path) as c:
        ids = spooled(a, 20)
        file = export(a, move=True)
        for q in (b, c):
            load(q, file)
            drain(q)
        again = load(b, file)
        assert (again.added, again.before) == (0, 20)
        other = load(b, file.replace(b'"export": "x"', b'"export": "y"'))  # as if exported anew
        assert other.added == 20
        drain(b)
        load(a, file)
        drain(a)
        assert arrived(server) == dict.fromkeys(ids, 1)


def test_an_export_that_was_killed_after_any_line_loses_and_doubles_nothing(server: Server, tmp_path: Path) -> None:
    """Some rows are in the file and in the spool, those behind in the spool only."""
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        ids = spooled(a, 250)
        assert a.spool is not None
        out = _Breaks(lines=131)  # a head, 100 jobs, that they were removed, 29 jobs
        with pytest.raises(OSError, match="killed"):
            transfer.export(a.spool.upkeep, a.spool.info(), out, id="x", at=1.0, sync=lambda: None)  # type: ignore[arg-type]
        assert a.spool.waiting() == 150
        done = load(b, out.getvalue() + b'{"kind": "job", "id": "cu')
        assert (done.added, len(done.bad), done.whole) == (129, 1, False)
        drain(b)
        drain(a)
        assert arrived(server) == dict.fromkeys(ids, 1)


class _Breaks(io.BytesIO):
    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self.left:
            raise OSError("killed")
        self.left -= 1
        return super().write(data)


def test_a_row_that_redis_has_already_is_not_queued_again(server: Server, tmp_path: Path) -> None:
    """In doubt, with the marker of its attempt in Redis: the doubt travels along."""
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        assert a.spool is not None
        message = a.message(a.remote("t", "work").job(1))
        a.primary.put([message], hold=True)
        a.spool.spool([message], not_after=a.primary.now() + 5)
        load(b, export(a, move=True))
        done = drain(b)
        assert (done.moved, done.already_there) == (0, 1)
        assert arrived(server) == {message.id: 1}


def test_a_failure_that_was_run_again_is_a_put_of_its_own(server: Server, tmp_path: Path) -> None:
    """An operator's re-run has a run number, so the first run's marker doesn't swallow it, here or there."""
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        assert a.spool is not None
        job = a.remote("t", "work").job(1)
        a.primary.put([a.message(job)], hold=True)
        from dataclasses import replace

        a.spool.spool([a.message(replace(job, run=1))])
        load(b, export(a))
        for q in (a, b):
            drain(q)
        assert arrived(server) == {job.id: 2}


def test_another_destination_is_refused_and_sent_there_only_when_that_is_said(server: Server, tmp_path: Path) -> None:
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        ids = spooled(a, 3)
        file = export(a, move=True).replace(a.settings.destination.encode(), b"redis://elsewhere:1/0#resque")
        with pytest.raises(ConfigError, match=r"for redis://elsewhere:1/0#resque.*Nothing was imported; --to-here"):
            load(b, file)
        assert b.spool is not None
        assert b.spool.waiting() == 0
        assert load(b, file, to_here=True).added == 3
        drain(b)
        assert set(arrived(server)) == set(ids)


@pytest.mark.parametrize("how", ["a copy", "killed", "taken meanwhile"])
def test_what_its_own_redis_may_have_is_not_set_loose_in_another(server: Server, tmp_path: Path, how: str) -> None:
    """Of jobs that were in doubt for neither, those alone that the export has removed go there."""
    with host("a", server, tmp_path) as a, host("b", server, tmp_path, namespace="other") as b:
        ids = spooled(a, 250)
        assert a.spool is not None
        assert b.spool is not None
        taken = iter([a.spool])

        def sync() -> None:
            """A drainer beside the exporter: its put is under way when it gives up."""
            for spool in taken:
                who = a.worker_info((), 1, "drainer")
                handoffs = spool.take(who, 3, 1 << 20, a.primary.now() + 5)
                a.primary.put([handoff.message for handoff in handoffs], hold=True)
                spool.give_back(handoffs, applied="maybe")

        if how == "a copy":
            file, doubtful = export(a), 250
        elif how == "taken meanwhile":
            file, doubtful = export(a, move=True, sync=sync), 3
        else:
            # the second page is written, and neither removed, or that not told
            lines = export(a, move=True).splitlines(keepends=True)
            file, doubtful = b"".join(lines[:202]), 100
            load(a, b"".join([lines[0], *lines[102:202]]))
        done = load(b, file, to_here=True)
        assert done.doubtful == doubtful == b.spool.info().quarantined
        drain(a)
        drain(b)
        here, there = arrived(server), arrived(server, prefix="other")
        assert max((here + there).values()) == 1
        assert set(here) | set(there) | {one.id for _, one in b.spool.upkeep.quarantined(limit=250)} >= set(ids[:200])
        assert len(there) == done.added - doubtful


def test_without_what_an_import_gives_its_rows_a_copy_is_queued_twice(server: Server, tmp_path: Path) -> None:
    """The control: plain rows in two spools, one drained after the other."""
    with host("a", server, tmp_path) as a, host("b", server, tmp_path) as b:
        assert a.spool is not None
        assert b.spool is not None
        message = a.message(a.remote("t", "work").job(1))
        for q in (a, b):
            q.spool.spool([message])
        for q in (a, b):
            drain(q)
        assert arrived(server) == {message.id: 2}


def test_a_unique_job_that_was_moved_away_keeps_no_equal_one_out(server: Server, tmp_path: Path) -> None:
    with host("a", server, tmp_path, accept="spool") as q, host("b", server, tmp_path) as other:
        assert q.spool is not None
        q.spool.set_meta(DRAIN_PAUSED, "1")
        unique = q.remote("t", "work").using(unique="until_done")
        first, also = unique.enqueue(1), unique.enqueue(2)
        export(q)
        assert unique.enqueue(1).id == first.id, "of a copy it stays"
        file = export(q, move=True)
        second = unique.enqueue(1)
        assert (second.route, second.new) == ("spool", True)
        load(other, file)
        done = drain(other)
        assert done.moved + done.already_there == 2  # there already: the answer to their put came late
        q.spool.set_meta(DRAIN_PAUSED, None)
        drain(q)  # or the application itself, which forwards what it wrote ahead
        eventually(lambda: q.spool is not None and q.spool.counters().get("unique") == 1, what="the equal one to be dropped")
        assert arrived(server) == {first.id: 1, also.id: 1}
