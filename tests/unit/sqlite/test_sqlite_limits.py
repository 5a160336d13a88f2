"""Full: puts are refused, loudly, while there still is room to settle and to drain."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.errors import PayloadError, StoreFull
from spoolq.job import Failure
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore, limits
from spoolq.store.sqlite.limits import count_rows
from spoolq.store.sqlite.session import Session
from spoolq.store.sqlite.settings import MIB
from tests.unit.sqlite.helpers import claim, message, raw, run, worker

Open = Callable[..., SQLiteStore]
KIB = b"x" * 1024


def fill(store: SQLiteStore, payload: bytes = KIB, most: int = 100_000) -> int:
    """Put until not one more is taken. How many went in."""
    count, step = 0, 20
    while count < most:
        try:
            store.put([message(f"f{count + i}", payload=payload) for i in range(step)])
            count += step
        except StoreFull:
            if step == 1:
                return count
            step = 1
    raise AssertionError("never full")


def test_past_its_size_a_put_is_refused_and_nothing_is_dropped(open_store: Open) -> None:
    store = open_store(max_bytes=4 * MIB, role="spool")
    count = fill(store)
    assert 1000 < count < 4096
    with pytest.raises(StoreFull, match=r"spool_max_bytes.*Nothing was dropped"):
        store.spool([message("more", payload=KIB)])
    with pytest.raises(StoreFull):
        store.ready(1.0)
    assert store.waiting() == count
    assert store.info().bytes <= 4 * MIB


def test_a_full_file_is_claimed_settled_failed_and_drained(open_store: Open) -> None:
    store = open_store(max_bytes=4 * MIB, role="spool")
    count = fill(store)
    claims = claim(store, 1, 200)
    assert len(claims) == 200
    store.ack(claims[:100], Effects(counters=(("done", 100),)))
    for one in claims[100:150]:
        store.retry(one, one.payload + b"xx", 0.0)
    for one in claims[150:170]:
        store.fail(one, Failure("id", "q", "w", "E", "why", (), 1.0, one.payload))
    store.release(claims[170:])
    drainer = worker("d", kind="drainer")
    left = count - 120
    assert store.waiting() == left
    while handoffs := store.take(drainer, 500, MIB, store.now() + 5):
        store.handed_over(handoffs)
        left -= len(handoffs)
    assert (left, store.waiting()) == (0, 0)
    assert store.put([message("again", payload=KIB)]) == [True]


def test_claiming_makes_no_row_grow(open_store: Open) -> None:
    """Rows are as wide from birth as when they are claimed, taken, in doubt: at the page limit there is no room to grow."""
    store = open_store(max_bytes=4 * MIB)
    count = fill(store, payload=b"x" * 300)
    before = _pages(store)
    assert len(claim(store, 1, count)) == count
    store.unregister(worker())
    assert len(store.rescue(worker("r"), count)) == count
    assert _pages(store) <= before * 1.04  # the index of claims; rows that grow by a byte each split every page of theirs


def test_taking_makes_no_row_grow(open_store: Open) -> None:
    store = open_store(max_bytes=4 * MIB, role="spool")
    count = fill(store, payload=b"x" * 300)
    before = _pages(store)
    taken = store.take(worker("d", kind="drainer"), count, 1 << 30, store.now() + 5)
    assert len(taken) == count
    store.give_back(taken, applied="maybe")
    assert _pages(store) <= before * 1.04


def test_a_full_file_that_is_moved_aside_makes_room(path: Path, open_store: Open) -> None:
    store = open_store(max_bytes=4 * MIB)
    count = fill(store)
    store._run(lambda session: session.all("PRAGMA wal_checkpoint(TRUNCATE)"), writes=False)
    path.rename(path.with_name("full.db"))
    assert store.put([message("1", payload=KIB)]) == [True]
    assert store.waiting() == 1
    assert open_store(path.with_name("full.db")).waiting() == count


def test_with_the_head_room_used_up_a_claim_takes_fewer(open_store: Open) -> None:
    """At the page limit itself, where nothing can grow any more."""
    store = open_store(max_bytes=4 * MIB)
    count = fill(store, payload=b"x" * 50)
    store._run(
        lambda session: session.execute(f"PRAGMA max_page_count = {session.scalar('PRAGMA page_count')}") and None, writes=False
    )
    left, call = count, 0
    while left:
        call += 1
        claims = claim(store, call, 1000)
        assert claims, (left, call)
        store.ack(claims)
        left -= len(claims)
    assert store.waiting() == 0


def _pages(store: SQLiteStore) -> int:
    found: int = store._run(
        lambda session: session.scalar("PRAGMA page_count") - session.scalar("PRAGMA freelist_count"), writes=False
    )
    return found


def test_past_its_rows_a_put_is_refused_whole(open_store: Open) -> None:
    store = open_store(max_rows=10)
    assert store.put([message(str(n)) for n in range(8)]) == [True] * 8
    with pytest.raises(StoreFull, match=r"holds 8 jobs and may hold 10 .spool_max_rows") as caught:
        store.put([message(f"x{n}") for n in range(3)])
    assert caught.value.reason == "rows"
    assert store.waiting() == 8
    assert store.put([message("8"), message("9")]) == [True, True]
    store.ack(claim(store, 1, 5))
    assert store.put([message(f"y{n}") for n in range(5)]) == [True] * 5
    with pytest.raises(StoreFull):
        store.put([message("z")])


def test_rows_are_counted_with_gaps_too(open_store: Open) -> None:
    """The span of the numbers is more than the limit, the rows are less."""
    store = open_store(max_rows=100)
    store.put([message("first")])
    for n in range(5):
        store.put([message(f"{n}-{i}") for i in range(90)])
        claims = store.claim(worker(), n + 1, ["q"], 200).claims
        store.ack(claims[1:])
        store.release(claims[:1])
    assert store.waiting() == 1
    assert store.put([message(f"z{i}") for i in range(99)]) == [True] * 99


def test_the_disk_is_left_some_room(path: Path, open_store: Open) -> None:
    free = shutil.disk_usage(path.parent).free
    store = open_store(min_free=free * 2)
    with pytest.raises(StoreFull, match=r"free on the disk.*spool_min_free") as caught:
        store.put([message("1")])
    assert (caught.value.reason, caught.value.maybe_applied) == ("disk", False)
    assert claim(store, 1) == ()


def test_the_room_that_it_names_is_less_than_it_leaves(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolq.store.sqlite.limits.disk_free", lambda path: 10 * MIB)
    store = open_store(min_free=9 * MIB)

    def fill() -> None:
        for n in range(30):
            store.put([message(str(n), payload=b"x" * 100_000)])

    with pytest.raises(StoreFull) as caught:
        fill()
    found = re.search(r"([0-9.]+) MiB free on the disk, and ([0-9.]+) MiB", str(caught.value))
    assert found is not None, caught.value
    assert float(found[1]) <= float(found[2]), "what it has put since it looked is no room"


def test_a_payload_that_never_fits_is_the_jobs_own_fault(open_store: Open) -> None:
    store = open_store(max_bytes=2 * MIB)
    with pytest.raises(PayloadError, match="takes 1,048,576 at most"):
        store.put([message("1", payload=b"x" * (MIB + 1))])
    with pytest.raises(PayloadError):
        store.spool([message("1", payload=b"x" * (MIB + 1))])


@pytest.mark.parametrize("run_at", [float("nan"), float("inf"), 1e15])
def test_a_time_that_is_none(store: SQLiteStore, run_at: float) -> None:
    with pytest.raises(PayloadError, match="run_at"):
        store.put([message("1", run_at=run_at)])


@pytest.mark.parametrize(("id", "queue"), [("\ud800", "q"), ("1", "\udfff")])
def test_text_that_is_none(store: SQLiteStore, id: str, queue: str) -> None:
    with pytest.raises(PayloadError, match="not valid text"):
        store.put([message(id, queue)])


def test_a_pinned_wal_counts_and_is_told(path: Path, open_store: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign reader keeps the WAL from being reset: it grows until puts are refused, and is reset once the reader is gone."""
    store = open_store(max_bytes=4 * MIB)
    store.put([message("0")])
    reader = raw(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM jobs").fetchone()
    count = fill(store)
    assert count < 1500
    assert path.with_name("jobs.db-wal").stat().st_size > MIB
    assert "a reader keeps it from being checkpointed" in caplog.text
    reader.close()
    while store.take(worker("d", kind="drainer"), 100, 1 << 30, 0.0):
        pass
    store.unregister(worker("d", kind="drainer"))


TMPFS = """
import os, sys
from spoolq.errors import StoreFull
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1] + "/jobs.db", min_free=0, role="spool", timeout=20.0)
stored = []
try:
    for n in range(100_000):
        store.spool([Message(str(n), "q", b"x" * 1000)])
        stored.append(n)
except StoreFull as error:
    print("full", error.reason)
ballast = os.open(sys.argv[1] + "/ballast", os.O_WRONLY | os.O_CREAT)
refused = 0
for n in range(3):
    try:
        store.spool([Message(f"more-{n}", "q", b"x" * 100_000)])
    except StoreFull:
        refused += 1
print("refused", refused)
print("waiting", store.waiting() == len(stored))
check = store._run(lambda session: session.scalar("PRAGMA integrity_check"), writes=False)
print("check", check)
"""


def test_on_a_disk_that_is_really_full_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    mount = ["unshare", *flags, "sh", "-c", f'mount -t tmpfs -o size=3m none {tmp_path} && exec "$@"', "sh"]
    if shutil.which("unshare") is None or run("", before=mount).returncode:
        pytest.skip("no right to mount a tmpfs")
    done = run(TMPFS, tmp_path, before=mount)
    assert done.stdout.splitlines() == ["full full", "refused 3", "waiting True", "check ok"], done.stderr


def test_many_rows_are_not_counted_at_each_put(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above half of the file each put looks at the marks, and counting a million rows takes longer than to store one."""
    counted: list[int | None] = []

    def count(session: Session, limit: int | None = None) -> int:
        counted.append(limit)
        return count_rows(session, limit)

    monkeypatch.setattr(limits, "_COUNT_ALWAYS", 4)
    monkeypatch.setattr(limits, "count_rows", count)
    store = open_store(max_rows=40)
    store.put([message(f"first {n}") for n in range(30)])
    monkeypatch.setattr(store._limits, "_clock", lambda: 1e9)
    counted.clear()
    for n in range(10):
        store._limits._marked = float("-inf")
        assert store.put([message(f"more {n}")]) == [True]
    assert len(counted) == 1
    with pytest.raises(StoreFull):
        store.put([message("one too many")])
