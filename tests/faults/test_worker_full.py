"""A full Redis is worked on: its workers claim, settle and rescue, and so make room."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest

from tests.faults.working import Place, failures
from tests.servers import Server


@pytest.fixture
def server(fresh_server: Server) -> Server:
    return fresh_server


def test_sixty_jobs_are_finished_while_it_stays_full(place: Place, server: Server) -> None:
    """Done, failed for good, tried again, and taken over from a worker that was killed: nothing is left, and nothing waited for
    room. The control is what stock verbs for a claim, a failure and a retry are answered at the same time."""
    held = [place.enqueue("hold", n) for n in range(10)]
    killed = place.worker(threads=10, LEASE="1s")
    place.begun(10)
    killed.kill()
    done = [place.enqueue("note", n) for n in range(20)]
    again = [place.enqueue("second", n) for n in range(15)]
    failed = [place.enqueue("broken", n) for n in range(15)]
    with server.full(), contextlib.closing(server.client()) as control:
        assert control.info("memory")["used_memory"] > control.info("memory")["maxmemory"] > 0
        place.open_gate()
        # a lease longer than one may get no core beside the other
        workers = [place.worker(LEASE="8s", TEST_GOODBYE="20") for _ in range(2)]
        place.done()
        for command in (
            "LMOVE resque:queue:work elsewhere LEFT LEFT",
            "RPUSH resque:failed entry",
            "RPUSH resque:queue:work job",
        ):
            with pytest.raises(Exception, match="maxmemory"):
                control.execute_command(*command.split())
        assert place.q.remote("note", "work").enqueue().route == "spool"
        for worker in workers:
            worker.end()
            assert not worker.said("can't be settled")
        assert place.left() == {}
        assert len(failures(server)) == 15
    assert place.runs() == {**dict.fromkeys([*held, *done], 1), **dict.fromkeys([*again, *failed], 2)}
    assert {line.attempt for line in place.trace() if line.id in held} == {1}
    assert Counter(failure["payload"]["id"] for failure in failures(server)) == Counter(failed)
    counts = place.store.counters()
    assert (counts["processed"], counts["failed"], counts["retried"]) == (45, 15, 10 + 15 + 15)
    place.left_by_all()
    assert place.q.spool is not None
    assert place.q.spool.info().settlements == 0
