"""`spoolq drain --spool FILE|DIRECTORY`: spools that others left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq.app import SpoolQ
from spoolq.cli.orphans import Orphans
from spoolq.errors import ConfigError
from spoolq.job import Message
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
from tests.cli.conftest import Run, finish, start
from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server


def left_behind(url: str, path: Path, count: int, namespace: str = "resque") -> list[str]:
    """A spool with so many jobs, made for that destination by somebody who is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with SpoolQ(url, spool=path, namespace=namespace, spool_min_free=0) as q:
        assert q.spool is not None
        jobs = [q.remote("send", "mail").job(number) for number in range(count)]
        q.spool.spool([q.message(job) for job in jobs])
    return [job.id for job in jobs]


def arrived(server: Server) -> Counter[str]:
    with server.client() as control:
        return Counter(json.loads(item)["id"] for item in control.lrange("resque:queue:mail", 0, -1))


def rows(path: Path) -> int:
    store = SQLiteStore(path, role="spool", create=False, timeout=20.0)
    try:
        return store.waiting()
    finally:
        store.close()


def test_a_file_left_behind_is_drained_from_here(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    ids = left_behind(fresh_server.url, tmp_path / "gone" / "spool.db", 30)
    said = spoolq(
        "drain", "--once", "--timeout", "30s", "--url", fresh_server.url, "--spool", str(tmp_path / "gone" / "spool.db")
    )
    assert said.code == 0, said.err
    assert arrived(fresh_server) == dict.fromkeys(ids, 1)


def test_a_directory_of_them_is_drained_file_after_file(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    ids = left_behind(fresh_server.url, tmp_path / "spool-1.db", 30)
    ids += left_behind(fresh_server.url, tmp_path / "pod-a" / "spool.db", 20)
    ids += left_behind(fresh_server.url, tmp_path / "pod-b" / "spool.db", 10)
    (tmp_path / "empty.db").touch()
    where = ("--url", fresh_server.url, "--spool", str(tmp_path))
    assert spoolq("drain", "--dry-run", *where).out == f"Would move 60 jobs into {fresh_server.url}#resque: mail 60.\n"
    said = spoolq("drain", "--once", "--timeout", "30s", *where)
    assert said.code == 0, said.err
    assert said.out.startswith("Moved 60 jobs in ")
    assert arrived(fresh_server) == dict.fromkeys(ids, 1)
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_spool_for_another_place_is_refused_and_both_are_named(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    left_behind("redis://db2:6379/0", elsewhere, 5)
    said = spoolq("drain", "--once", "--timeout", "30s", "--url", fresh_server.url, "--spool", str(elsewhere))
    assert said.code == 78
    assert "redis://db2:6379/0#resque" in said.err
    assert f"{fresh_server.url}#resque" in said.err
    assert rows(elsewhere) == 5
    assert arrived(fresh_server) == {}


def test_to_here_takes_it_all_the_same_and_says_so(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    ids = left_behind("redis://db2:6379/0", elsewhere, 5)
    with SQLiteStore_at(elsewhere) as store:
        store.spool([Message("doubtful", "mail", b'{"class":"t","args":[],"id":"doubtful"}')], not_after=1.0)
    said = spoolq("drain", "--once", "--timeout", "30s", "--to-here", "--url", fresh_server.url, "--spool", str(elsewhere))
    assert said.code == 0, said.err
    assert "6 jobs for redis://db2:6379/0#resque" in said.err
    assert "1 of them are in doubt" in said.err
    assert arrived(fresh_server) == dict.fromkeys([*ids, "doubtful"], 1)


def test_to_here_keeps_nothing_back_for_the_redis_that_it_was_made_for(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    """Rows that were written ahead stay in the file until their Redis has persisted them; this one isn't theirs, and who watches
    for theirs would send them there as well."""
    elsewhere = tmp_path / "elsewhere.db"
    ids = left_behind(fresh_server.url, elsewhere, 5, namespace="first")
    with SQLiteStore_at(elsewhere) as store:
        store.spool([Message("ahead", "mail", b'{"class":"t","args":[],"id":"ahead"}', keep=60.0)])
    assert (
        spoolq("drain", "--once", "--timeout", "30s", "--to-here", "--url", fresh_server.url, "--spool", str(elsewhere)).code == 0
    )
    with SpoolQ(fresh_server.url, spool=elsewhere, namespace="first", spool_min_free=0) as owner:
        owner.watcher().turn()
        drainer = owner.drainer()
        drainer.run_once(20.0)
        drainer.leave()
        assert owner.spool is not None
        assert (owner.spool.info().rows, owner.spool.info().kept) == (0, 0)
    assert arrived(fresh_server) == dict.fromkeys([*ids, "ahead"], 1)
    with fresh_server.client() as control:
        assert control.llen("first:queue:mail") == 0


class SQLiteStore_at:  # noqa: N801
    """The file, for the time of a `with`."""

    def __init__(self, path: Path, **options: object) -> None:
        self.store = SQLiteStore(path, role="spool", min_free=0, **options)  # type: ignore[arg-type]

    def __enter__(self) -> SQLiteStore:
        return self.store

    def __exit__(self, *exc: object) -> None:
        self.store.close()


def test_in_a_directory_the_others_are_drained(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    left_behind("redis://db2:6379/0", tmp_path / "a-elsewhere.db", 5)
    ids = left_behind(fresh_server.url, tmp_path / "b-here.db", 20)
    (tmp_path / "c-garbage.db").write_bytes(os.urandom(8192))
    said = spoolq("drain", "--once", "--timeout", "30s", "--url", fresh_server.url, "--spool", str(tmp_path))
    assert said.code == 78
    assert "a-elsewhere.db is left as it is" in said.err
    assert "c-garbage.db is left as it is" in said.err
    assert "2 files in " in said.err
    assert arrived(fresh_server) == dict.fromkeys(ids, 1)
    assert rows(tmp_path / "a-elsewhere.db") == 5


def test_a_live_owner_and_one_who_adopts_deliver_each_job_once(fresh_server: Server, tmp_path: Path) -> None:
    ids = left_behind(fresh_server.url, tmp_path / "spool.db", 2000)
    environment = os.environ | {"SPOOLQ_SPOOL_MIN_FREE": "0"}
    owner = [
        sys.executable,
        "-m",
        "spoolq",
        "drain",
        "-q",
        "--once",
        "--timeout",
        "30s",
        "--batch",
        "20",
        "--url",
        fresh_server.url,
        "--spool",
    ]
    both = [subprocess.Popen([*owner, where], env=environment) for where in (str(tmp_path / "spool.db"), str(tmp_path))]
    assert [process.wait(60) for process in both] == [0, 0]
    assert arrived(fresh_server) == dict.fromkeys(ids, 1)


def test_rows_of_a_drainer_that_died_with_a_clock_ahead_are_adopted(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    """Containers may disagree on the time: a lease from the future is no longer than any other."""
    path = tmp_path / "spool.db"
    ids = left_behind(fresh_server.url, path, 10)
    with SQLiteStore_at(path, clock=lambda: time.time() + 3600.0) as ahead:
        ahead.take(WorkerInfo("dead", "gone", 1, (), lease=0.5, kind="drainer"), 10, 1 << 20, time.time())
    said = spoolq("drain", "--once", "--timeout", "30s", "--url", fresh_server.url, "--spool", str(tmp_path))
    assert said.code == 0, said.err
    assert arrived(fresh_server) == dict.fromkeys(ids, 1)


def test_going_on_in_a_directory_it_serves_all_and_ends_when_told(fresh_server: Server, tmp_path: Path) -> None:
    ids = [id for name in "ab" for id in left_behind(fresh_server.url, tmp_path / f"{name}.db", 10)]
    process = start("drain", "--url", fresh_server.url, "--spool", str(tmp_path))
    eventually(lambda: arrived(fresh_server) == dict.fromkeys(ids, 1), within=30)
    late = left_behind(fresh_server.url, tmp_path / "a.db", 5)
    eventually(lambda: arrived(fresh_server) == dict.fromkeys([*ids, *late], 1), within=30)
    process.terminate()
    assert finish(process, 20).code == 0


def test_a_file_that_goes_away_does_not_end_it(fresh_server: Server, tmp_path: Path) -> None:
    ids = [id for name in "ab" for id in left_behind(fresh_server.url, tmp_path / f"{name}.db", 10)]
    process = start("drain", "--json", "--url", fresh_server.url, "--spool", str(tmp_path))
    assert process.stderr is not None
    eventually(lambda: arrived(fresh_server) == dict.fromkeys(ids, 1), within=30)
    (tmp_path / "a.db").rename(tmp_path / "gone")
    assert any("a.db is left as it is: no spool at" in line for line in process.stderr)
    late = left_behind(fresh_server.url, tmp_path / "b.db", 5)
    eventually(lambda: arrived(fresh_server) == dict.fromkeys([*ids, *late], 1), within=30)
    process.terminate()
    said = finish(process, 20)
    assert said.code == 0, said.err
    assert json.loads(said.out.splitlines()[-1])["left"] == 0


def test_an_empty_directory_has_nothing_to_move(spoolq: Run, fresh_server: Server, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    said = spoolq("drain", "--once", "--timeout", "30s", "--url", fresh_server.url, "--spool", str(tmp_path / "none"))
    assert (said.code, said.out[:12]) == (0, "Moved 0 jobs")


def test_adopting_makes_no_file(tmp_path: Path) -> None:
    with SpoolQ("redis://h/0", spool=tmp_path / "own.db") as q, pytest.raises(ConfigError, match="no spool at"):
        q.adopt(tmp_path / "none.db")
    assert list(tmp_path.glob("*.db*")) == []


class Ending:
    """A drainer whose file is another's by the time it ends."""

    def __init__(self, name: str, closed: list[str]) -> None:
        self._name, self._closed = name, closed

    def hold(self, held: bool) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None:
        self._closed.append(self._name)
        raise ConfigError(f"{self._name} holds jobs for another Redis")


def test_a_file_that_is_wrong_at_the_end_keeps_no_other_from_letting_go(tmp_path: Path) -> None:
    closed: list[str] = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.db").write_text("there")
    orphans = Orphans(
        tmp_path, lambda path: cast(Any, path.stem), lambda spool: cast(Any, Ending(str(spool), closed)), lambda _: []
    )
    orphans.look()
    orphans.close()
    assert closed == ["a", "b"]
