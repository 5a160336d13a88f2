"""One thread does the work; callers wait with a limit, and know what became of their job when it runs out."""

from __future__ import annotations

import fcntl
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_stack

import pytest

from spoolq.errors import GuardHeld, StoreFull, StoreUnavailable
from spoolq.store.effects import Effects
from spoolq.store.sqlite import SQLiteStore, driver
from spoolq.store.sqlite.session import Session
from tests.faults.app import at_once
from tests.unit.sqlite.helpers import claim, message, raw, run, worker
from tests.waiting import eventually

Open = Callable[..., SQLiteStore]
BEGUN = 2.0  # seconds in which an operation is begun, also where the thread that does it is given no core at first


class Hang:
    """An operation that does not end until it is let go, as on a disk that hangs."""

    def __init__(self, store: SQLiteStore, *, writes: bool = True) -> None:
        self.begun, self.go, self.error = threading.Event(), threading.Event(), [None]
        self._thread = threading.Thread(target=self._run, args=(store, writes))

    def _run(self, store: SQLiteStore, writes: bool) -> None:
        def work(session: Session) -> None:
            self.begun.set()
            self.go.wait(60)

        store._run(work, 60, writes=writes)

    def __enter__(self) -> Hang:
        self._thread.start()
        assert self.begun.wait(40)
        return self

    def __exit__(self, *exc: object) -> None:
        self.go.set()
        self._thread.join(40)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process in the middle of its commit."""
    fd = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def together(count: int, call: Callable[[int], object]) -> list[object]:
    """Call from so many threads at once; what each returned or raised."""
    results: list[object] = [None] * count

    def one(n: int) -> None:
        try:
            results[n] = call(n)
        except Exception as error:
            results[n] = error

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def in_one_commit(store: SQLiteStore, count: int, call: Callable[[int], object], *, writes: bool = True) -> list[object]:
    """As `together`, while the store does something else: it has all of them before it when it goes on."""
    results: list[object] = []
    waiting = threading.Thread(target=lambda: results.extend(together(count, call)))
    with Hang(store, writes=writes):
        waiting.start()
        eventually(lambda: store._writer._queue.qsize() == count)
    waiting.join(40)
    return results


def stored(store: SQLiteStore, id: str, timeout: float = 2.0) -> bool:
    """Whether it is stored now, perhaps by a call that wasn't told so in time; False while the store still is overdue."""
    try:
        return len(store.put([message(id)], timeout=timeout)) == 1
    except StoreUnavailable:
        return False


def commits(store: SQLiteStore) -> list[str]:
    """Statements that end a transaction, from now on."""
    seen: list[str] = []
    session = store._writer._transactions._session
    assert session is not None
    session._connection.set_trace_callback(lambda sql: seen.append(sql) if sql in ("COMMIT", "ROLLBACK") else None)
    return seen


def test_callers_share_a_commit(store: SQLiteStore) -> None:
    store.put([message("0")])
    seen = commits(store)
    assert in_one_commit(store, 16, lambda n: store.put([message(f"x{n}")])) == [[True]] * 16
    assert seen.count("COMMIT") <= 2
    assert store.waiting() == 17


def test_what_was_not_begun_in_time_is_withdrawn(store: SQLiteStore) -> None:
    store.put([message("0")])
    with Hang(store):
        with pytest.raises(StoreUnavailable, match="Nothing was stored") as caught:
            store.put([message("1")], timeout=0.05)
        assert (caught.value.reason, caught.value.maybe_applied) == ("timeout", False)
    assert store.put([message("2")]) == [True]
    assert store.waiting() == 2


def test_what_was_begun_is_not_known(store: SQLiteStore) -> None:
    go = threading.Event()

    def slow(session: Session) -> None:
        session.execute("INSERT INTO meta (key, value) VALUES ('a', 'b')")
        go.wait(30)

    with pytest.raises(StoreUnavailable, match="not known whether") as caught:
        store._run(slow, BEGUN, not_after=1234.5)
    assert (caught.value.reason, caught.value.maybe_applied, caught.value.not_after) == ("timeout", True, 1234.5)
    go.set()
    assert store.meta("a") == "b"


def test_a_read_leaves_nothing_unknown(store: SQLiteStore) -> None:
    go = threading.Event()
    with pytest.raises(StoreUnavailable) as caught:
        store._run(lambda session: go.wait(30), 0.05, writes=False)
    assert not caught.value.maybe_applied
    go.set()


def test_while_one_is_overdue_others_are_refused_at_once(store: SQLiteStore) -> None:
    store.put([message("0")])
    with Hang(store):
        with pytest.raises(StoreUnavailable):
            store.put([message("1")], timeout=1.0)
        with (
            at_once(0.8),
            pytest.raises(StoreUnavailable, match=r"not asked again\. Nothing was stored") as caught,
        ):
            store.put([message("2")], timeout=1.0)
        assert (caught.value.reason, caught.value.maybe_applied) == ("overdue", False)
    assert eventually(lambda: stored(store, "3", timeout=0.3))
    assert store.waiting() == 2


def test_one_short_limit_refuses_nobody_who_has_more_time(store: SQLiteStore) -> None:
    store.put([message("0")])
    with Hang(store) as hang:
        with pytest.raises(StoreUnavailable):
            store.put([message("1")], timeout=0.01)
        threading.Timer(0.1, hang.go.set).start()
        assert store.put([message("2")], timeout=40) == [True]


def test_waiting_for_the_lock_counts_and_nothing_was_stored(path: Path, store: SQLiteStore) -> None:
    store.put([message("0")])
    with locked(path):
        with pytest.raises(StoreUnavailable, match="another process holds the lock") as caught:
            store.put([message("1")], timeout=0.3)
        assert not caught.value.maybe_applied
        with at_once(0.2), pytest.raises(StoreUnavailable, match="not asked again"):
            store.put([message("2")], timeout=0.3)
    assert eventually(lambda: stored(store, "3"))
    assert store.waiting() == 2


def test_reading_needs_no_lock(path: Path, store: SQLiteStore) -> None:
    store.put([message("0")])
    with locked(path):
        assert store.waiting() == 1


def test_a_foreign_writer_is_waited_for_and_then_named(path: Path, open_store: Open) -> None:
    store = open_store(timeout=0.3)
    store.put([message("0")], timeout=40)
    foreign = raw(path)
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        store.put([message("1")], timeout=40)
    assert (caught.value.reason, caught.value.maybe_applied) == ("locked", False)
    foreign.execute("ROLLBACK")
    foreign.close()
    assert store.put([message("1")], timeout=40) == [True]


def test_a_removed_lock_file_is_made_anew(path: Path, store: SQLiteStore) -> None:
    store.put([message("0")])
    path.with_name("jobs.db-lock").unlink()
    assert store.put([message("1")]) == [True]
    with locked(path), pytest.raises(StoreUnavailable):
        store.put([message("2")], timeout=0.05)


def test_whoever_can_not_look_at_its_place_does_not_keep_the_lock(path: Path, open_store: Open) -> None:
    """A path that leads nowhere for a while, as with a mount that comes and goes."""
    place, away = path.parent / "place", path.parent / "away"
    place.mkdir()
    store = open_store(place / "jobs.db")
    store.put([message("0")])
    place.rename(away)
    place.touch()
    with pytest.raises(StoreUnavailable, match="Nothing was stored"):
        store.put([message("1")])
    place.unlink()
    away.rename(place)
    done = run(
        "import sys; from spoolq.store.sqlite import SQLiteStore; from spoolq.job import Message\n"
        "print(SQLiteStore(sys.argv[1], timeout=20.0).put([Message('2', 'q', b'')]))",
        store.path,
    )
    assert done.stdout == "[True]\n", done.stderr
    assert store.put([message("3")]) == [True]


def test_one_callers_refusal_is_not_its_neighbours(store: SQLiteStore) -> None:
    """In one shared commit: a guard that is held, a bug, and fifteen jobs."""
    store.put([message("0")], Effects(acquire=(("k", "me", 60.0),)))

    def call(n: int) -> object:
        if n == 3:
            return store.put([message("guarded")], Effects(acquire=(("k", "other", 60.0),)))
        if n == 7:
            return store._run(lambda session: session.execute("INSERT INTO counters VALUES ('x', 1)") and 1 / 0)
        return store.put([message(f"x{n}")])

    results = in_one_commit(store, 16, call)
    assert isinstance(results.pop(7), ZeroDivisionError)
    assert isinstance(results.pop(3), GuardHeld)
    assert results == [[True]] * 14
    assert store.waiting() == 15
    assert store.counters() == {}


def test_when_the_shared_transaction_fails_each_is_tried_alone(store: SQLiteStore) -> None:
    """One caller's job breaks the transaction for all (as a full disk does); the others are stored all the same."""
    store.put([message("0")])

    def breaks(session: Session) -> None:
        session.execute("INSERT INTO counters VALUES ('x', 1)")
        session.execute("ROLLBACK")
        raise driver.Error("database or disk is full")

    results = in_one_commit(store, 8, lambda n: store._run(breaks) if n == 2 else store.put([message(f"x{n}")]))
    assert isinstance(results.pop(2), StoreFull)
    assert results == [[True]] * 7
    assert store.waiting() == 8


@pytest.mark.parametrize("how", ["the directory is gone", "the thread stumbles"])
def test_what_was_rolled_back_is_answered_to_nobody_as_done(path: Path, store: SQLiteStore, how: str) -> None:
    """A full file, while the disk can't be asked for its room; and what is no error of anybody's."""
    store.put([message("0")])
    away = path.parent.with_name("away")

    def breaks(session: Session) -> None:
        if how == "the thread stumbles":
            raise SystemExit
        path.parent.rename(away)
        session.execute("PRAGMA max_page_count = 1")
        session.execute("CREATE TABLE filler (x)")
        session.execute("INSERT INTO filler VALUES (zeroblob(9000000))")

    results = in_one_commit(store, 4, lambda n: store._run(breaks) if n == 3 else store.put([message(f"x{n}")]), writes=False)
    if away.exists():
        away.rename(path.parent)
    assert [type(result) for result in results] == [StoreUnavailable] * 4
    assert store.waiting() == 1


def test_a_commit_that_failed_is_not_known(store: SQLiteStore) -> None:
    """A write error while committing: the frames may be there after a crash."""
    store.put([message("0")])
    done = run(
        """
import resource, signal, sys
from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SQLiteStore(sys.argv[1], timeout=20.0)
store.put([Message("1", "q", b"x" * 100)])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
try:
    store.put([Message("2", "q", b"x" * 100_000)])
except StoreUnavailable as error:
    print(error.reason, error.maybe_applied)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
print(store.put([Message("3", "q", b"x" * 100_000)]))
print([claim.payload[:3] for claim in store.claim(WorkerInfo("w", "h", 1, ("q",)), 1, ["q"], 9).claims])
""",
        store.path,
    )
    assert done.stdout.splitlines() == ["io True", "[True]", "[b'{}', b'xxx', b'xxx']"], done.stderr


def test_a_sync_that_failed_is_made_good_before_others_may_commit_though_its_caller_has_left(
    path: Path, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process would write behind it in the -wal, and acknowledge, would be lost with it."""
    store.put([message("0")])
    commit, rewrite, go_on = Session.commit, Session.rewrite, threading.Event()
    free_meanwhile: list[bool] = []

    def fails(session: Session) -> None:
        go_on.wait(30)
        monkeypatch.setattr(Session, "commit", commit)
        commit(session)
        error = driver.Error("disk I/O error")
        error.sqlite_errorcode = 10
        raise error

    def looks(session: Session) -> None:
        fd = os.open(f"{path}-lock", os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free_meanwhile.append(True)
        except BlockingIOError:
            free_meanwhile.append(False)
        finally:
            os.close(fd)
        rewrite(session)

    monkeypatch.setattr(Session, "commit", fails)
    monkeypatch.setattr(Session, "rewrite", looks)
    with pytest.raises(StoreUnavailable, match="not known whether"):
        store.put([message("1")], timeout=BEGUN)
    go_on.set()
    assert eventually(lambda: free_meanwhile) == [False]
    assert eventually(lambda: stored(store, "2"))
    assert free_meanwhile == [False]


def test_what_neither_returned_nor_raised_is_not_known_and_the_thread_goes_on(store: SQLiteStore) -> None:
    def dies(session: Session) -> None:
        session.execute("INSERT INTO counters VALUES ('x', 1)")
        raise SystemExit

    with pytest.raises(StoreUnavailable) as caught:
        store._run(dies)
    assert (caught.value.reason, caught.value.maybe_applied) == ("thread", True)
    assert store.put([message("1")]) == [True]
    assert store.counters() == {}


def test_closing_answers_what_waits(path: Path, store: SQLiteStore, open_store: Open) -> None:
    store.put([message("0")])
    hang = Hang(store)
    with hang:
        results: list[object] = []
        waiting = threading.Thread(target=lambda: results.extend(together(4, lambda n: store.put([message(f"x{n}")]))))
        waiting.start()
        eventually(lambda: store._writer._queue.qsize() == 4)
        began = time.monotonic()
        store.close(0.1)
        assert time.monotonic() - began < 30, "the operation that hangs does so for a minute"
    waiting.join(40)
    assert results == [[True]] * 4
    store.close(40)
    assert len(claim(open_store(), 1)) == 5


def test_a_store_that_is_dropped_ends_its_thread(path: Path) -> None:
    store = SQLiteStore(path, timeout=20.0)
    store.put([message("1")])
    thread = store._writer._thread
    assert thread is not None
    del store
    gc.collect()
    thread.join(40)
    assert not thread.is_alive()


FORKS = """
import os, sys
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
path, before = sys.argv[1], sys.argv[2] == "before"
store = SQLiteStore(path, timeout=20.0)
if before:
    store.put([Message("parent-before", "q", b"")])
children = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        for i in range(20):
            assert store.put([Message(f"child-{n}-{i}", "q", b"")]) == [True]
        if n == 0:
            os._exit(0)
        if n == 1:
            store.close()
        sys.exit(0)
    children.append(pid)
for i in range(20):
    assert store.put([Message(f"parent-{i}", "q", b"")]) == [True]
codes = [os.waitpid(pid, 0)[1] for pid in children]
store.put([Message("parent-after", "q", b"")])
print(codes, store.waiting())
store.close()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fork_leaves_both_with_a_store_of_their_own(path: Path, when: str) -> None:
    done = run(FORKS, path, when)
    assert done.stdout.strip() == f"[0, 0, 0] {82 if when == 'before' else 81}", done.stderr
    check = raw(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_a_child_that_outlives_its_parent_does_not_hold_the_lock(path: Path, store: SQLiteStore) -> None:
    done = run(
        """
import os, signal, sys, threading
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], timeout=20.0)
begun, end = threading.Event(), os.pipe()
def hang(session):
    begun.set()
    threading.Event().wait()
threading.Thread(target=lambda: store._run(hang, 30), daemon=True).start()
begun.wait()
if os.fork() == 0:
    os.close(end[1])
    os.close(1), os.close(2)
    os.read(end[0], 1)
    os.execvp("sleep", ["sleep", "30"])  # longer than a put waits
os.kill(os.getpid(), signal.SIGKILL)
""",
        path,
    )
    assert done.returncode == -9, done.stderr
    assert store.put([message("1")]) == [True]


def test_the_parents_end_does_not_disturb_a_child_that_works(path: Path) -> None:
    done = run(
        """
import os, sys
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], timeout=20.0)
store.put([Message("0", "q", b"")])
ready, go = os.pipe(), os.pipe()
if os.fork() == 0:
    store.put([Message("1", "q", b"")])
    os.write(ready[1], b".")
    os.read(go[0], 1)
    store.put([Message("2", "q", b"")])
    print(store.waiting(), flush=True)
    os._exit(0)
os.read(ready[0], 1)
store.close()
os.write(go[1], b".")
os.wait()
""",
        path,
    )
    assert done.stdout.strip() == "3", done.stderr


CHILD = """
import os, subprocess, sys
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore, anchors, session, writer

class Nothing(set):
    def add(self, what): pass

path = sys.argv[1]
if sys.argv[2] == "open":  # the control: a child that begins anew although its parent had the file open
    writer._writers = Nothing()
    os.register_at_fork(after_in_child=lambda: store._writer.forget())
    session.inherited = sys.modules["spoolq.store.sqlite.transactions"].inherited = Nothing()
    anchors._SET = None
store = SQLiteStore(path, timeout=20.0)
store.put([Message("parent", "q", b"")])
ready, go = os.pipe(), os.pipe()
if os.fork() == 0:
    store.put([Message("child-1", "q", b"")])
    os.write(ready[1], b".")
    os.read(go[0], 1)
    for n in range(2, 5):
        assert store.put([Message(f"child-{n}", "q", b"")]) == [True]
    os._exit(0)
os.read(ready[0], 1)
store.close()
look = "import sys; from spoolq.store.sqlite import SQLiteStore as S; s = S(sys.argv[1], timeout=20.0); s.waiting(); s.close()"
subprocess.run([sys.executable, "-c", look, path], check=True)
os.write(go[1], b".")
os.wait()
"""


@pytest.mark.parametrize(("parent", "kept"), [("closed", 5), ("open", 2)])
def test_what_a_child_acknowledged_is_there_whoever_closes_the_file_meanwhile(path: Path, parent: str, kept: int) -> None:
    """The control: SQLite's locks aren't inherited. Whoever closes last deletes the -wal that the child writes to."""
    done = run(CHILD, path, parent)
    assert (done.returncode, done.stderr) == (0, "")
    look = raw(path)
    assert look.execute("SELECT count(*) FROM jobs").fetchone() == (kept,)
    look.close()


def test_a_child_of_a_process_whose_disk_hung_is_refused(path: Path) -> None:
    done = run(
        """
import os, sys, threading
from spoolq.errors import StoreUnavailable
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore, writer
writer._CLOSING = 0.1
store = SQLiteStore(sys.argv[1], timeout=20.0)
begun = threading.Event()
def hang(session):
    begun.set()
    threading.Event().wait()
threading.Thread(target=lambda: store._run(hang, 60), daemon=True).start()
begun.wait()
parent = os.pipe()
if os.fork() == 0:
    os.close(parent[1])
    os.read(parent[0], 1)  # until it is gone, and its lock with it
    for one in (store, SQLiteStore(sys.argv[1], timeout=20.0)):
        try:
            one.put([Message("1", "q", b"")])
        except StoreUnavailable as error:
            print(error.reason, error.maybe_applied, flush=True)
    os._exit(0)
os._exit(0)
""",
        path,
    )
    assert done.stdout == "forked False\nforked False\n", done.stderr


def test_forks_of_several_threads_at_once(path: Path) -> None:
    done = run(
        """
import os, sys, threading
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], timeout=20.0)
def fork(name):
    for n in range(5):
        store.put([Message(f"{name}-{n}", "q", b"")])
        if (pid := os.fork()) == 0:
            store.put([Message(f"{name}-{n}-child", "q", b"")])
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
threads = [threading.Thread(target=fork, args=(name,)) for name in "abcd"]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(store.waiting())
""",
        path,
    )
    assert done.stdout == "40\n", done.stderr


@pytest.mark.parametrize("role", ["primary", "spool"])
def test_a_row_whose_caller_was_told_that_nobody_knows_is_remembered_as_a_given_one(
    open_store: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    store = open_store(role=role)
    store.waiting()
    commit, go_on = Session.commit, threading.Event()
    monkeypatch.setattr(Session, "commit", lambda session: go_on.wait(30) and commit(session))
    put = store.put if role == "primary" else store.spool
    with pytest.raises(StoreUnavailable) as unknown:
        put([message("1")], timeout=BEGUN)
    assert unknown.value.maybe_applied
    go_on.set()
    eventually(lambda: store.waiting() == 1)
    if role == "spool":
        assert store.recall(["1"]) == ["waiting"]
        [handoff] = store.take(worker("d", kind="drainer"), 10, 1 << 20, 0.0)
        assert (handoff.message.given, handoff.in_doubt) == (True, True)
    else:
        store.ack(claim(store, 1))
        assert store.put([message("1", given=True)]) == [False]


@pytest.mark.parametrize("begun", [False, True])
def test_a_start_that_was_interrupted_leaves_one_thread_at_the_file(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """By a signal handler that raises, before the new thread began, or as it begins, when nobody can see yet that it lives."""
    store, real, interrupted = open_store(), threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        interrupted.append(thread)
        if begun:
            real(thread)
            eventually(lambda: "_turn" in [f.f_code.co_name for f, _ in walk_stack(sys._current_frames()[thread.ident or 0])])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        patched.setattr(threading.Thread, "is_alive", lambda thread: False)
        with pytest.raises(KeyboardInterrupt):
            store.put([message("1")])
    assert store.put([message("2")]) == [True]
    if not begun:
        real(interrupted[0])
        interrupted[0].join(40)
    mine = [thread for thread in threading.enumerate() if getattr(thread, "_target", None) == store._writer._loop]
    assert mine == [store._writer._thread]
    assert (interrupted == mine) is begun


def test_where_no_thread_can_be_had_what_was_refused_is_not_stored_later(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(StoreUnavailable, match="no thread can be started"):
            store.put([message("refused")])
    store.put([message("taken")])
    assert [one.payload for one in claim(store, 1)] == [b"{}"]
