"""Two SQLite libraries in one process: the standard library's, and pysqlite3, which spoolq then uses."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spoolq.store.sqlite import SQLiteStore, anchors, identity, libraries
from tests.drivers import pysqlite3
from tests.unit.sqlite.helpers import message, run

Open = Callable[..., SQLiteStore]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it can be told from /proc alone")

SETUP = """
import json, subprocess, sys
library, path, how, look = sys.argv[1:]
sys.path.insert(0, library)
from spoolq.errors import ConfigError
from spoolq.job import Message
from spoolq.store.sqlite import SQLiteStore, anchors, driver, libraries

assert driver._OWN == "pysqlite3._sqlite3", driver._OWN
if how == "another":
    from sqlite3 import connect
elif how == "the same":
    from pysqlite3.dbapi2 import connect
if look == "unlooked":
    libraries.refuse_another = lambda path, file, own: None
    anchors._SET = None

def spooled(id):
    return store.spool([Message(id, "q", b"{}")], timeout=20.0)

def seen():
    code = "import sys; from spoolq.store.sqlite import SQLiteStore; " \\
        "store = SQLiteStore(sys.argv[1], role='spool', timeout=20.0); print(store.waiting()); store.close()"
    return int(subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True).stdout)

"""

THEN = """
others.close()
said["then"] = seen()
spooled("last")
said["at last"] = seen()
print(json.dumps(said))
"""

THEIRS_FIRST = """
others = connect(path)
others.execute("SELECT count(*) FROM jobs").fetchone()
store = SQLiteStore(path, role="spool", timeout=20.0)
said = {"refused": ""}
try:
    spooled("a")
except ConfigError as error:
    said["refused"] = str(error)
"""

OURS_FIRST = """
store = SQLiteStore(path, role="spool", timeout=20.0)
spooled("a")
others = connect(path)
said = {"they see": others.execute("SELECT count(*) FROM jobs").fetchone()[0]}
spooled("b")
"""

MANY_TIMES = """
import threading
store = SQLiteStore(path, role="spool", timeout=20.0)
spooled("a")
over = threading.Event()

def look():
    while not over.is_set():
        others = connect(path, timeout=20.0)
        others.execute("SELECT count(*) FROM jobs").fetchone()
        others.close()

looking = threading.Thread(target=look)
looking.start()
said = {"amiss": 0}
for round in range(10):
    for n in range(30):
        spooled(f"{round}-{n}")
    said["amiss"] += seen() != 2 + 30 * (round + 1)
over.set()
looking.join()
store.close()
said["at last"] = seen()
print(json.dumps(said))
"""


def both(path: Path, code: str, how: str, *, look: bool = True) -> dict[str, Any]:
    """A process that uses the spool by spoolq and by a library beside it; another process comes and goes."""
    SQLiteStore(path, role="spool", timeout=20.0).close()
    with_one = SQLiteStore(path, role="spool", min_free=0, timeout=20.0)
    with_one.spool([message("before")])
    with_one.close()
    done = run(SETUP + code, pysqlite3(), path, how, "looked" if look else "unlooked")
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_another_library_on_the_file_is_refused_until_it_has_closed_it(path: Path) -> None:
    said = both(path, THEIRS_FIRST + THEN, "another")
    assert "through another SQLite library than spoolq's (_sqlite3; spoolq uses pysqlite3._sqlite3)" in said["refused"]
    assert "Nothing was stored; open it through pysqlite3._sqlite3 too, or in another process" in said["refused"]
    assert (said["then"], said["at last"]) == (1, 2)


def test_the_same_library_is_not(path: Path) -> None:
    assert both(path, THEIRS_FIRST + THEN, "the same") == {"refused": "", "then": 2, "at last": 3}


def test_without_the_refusal_an_accepted_job_is_lost(path: Path) -> None:
    """The control: the locks are gone, the other process deletes the -wal, and what is written there nobody finds."""
    assert both(path, THEIRS_FIRST + THEN, "another", look=False) == {"refused": "", "then": 2, "at last": 2}


def test_what_another_library_that_comes_later_closes_loses_nothing(path: Path) -> None:
    assert both(path, OURS_FIRST + THEN, "another") == {"they see": 2, "then": 3, "at last": 4}


def test_without_locks_of_our_own_it_does(path: Path) -> None:
    """The control: as above."""
    assert both(path, OURS_FIRST + THEN, "another", look=False) == {"they see": 2, "then": 3, "at last": 3}


def test_another_library_that_looks_all_the_time_loses_nothing(path: Path) -> None:
    assert both(path, MANY_TIMES, "another") == {"amiss": 0, "at last": 302}


def test_an_open_file_is_told_and_only_where_a_second_library_is_loaded(path: Path, open_store: Open) -> None:
    assert "_sqlite3" in sys.modules
    open_store(role="spool").spool([message("a")])
    own = "pysqlite3._sqlite3"  # so that what is loaded here is another one
    with pytest.raises(libraries.ConfigError, match="in this process already"):
        libraries.refuse_another(str(path), identity.at(str(path)), own)
    libraries.refuse_another(str(path), identity.at(str(path)), "_sqlite3")
    libraries.refuse_another(str(path), None, own)


def test_a_second_store_on_the_file_is_one_of_ours(path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spoolq.store.sqlite.driver._OWN", "pysqlite3._sqlite3")
    first, second = open_store(role="spool"), open_store(role="spool")
    first.spool([message("a")])
    second.spool([message("b")])
    assert first.waiting() == 2


def test_a_kernel_that_knows_no_such_locks_leaves_sqlites_own(
    path: Path, open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "_SET", 9999)
    store = open_store(role="spool")
    store.spool([message("a")])
    store.close()
    assert open_store(role="spool").waiting() == 1


def test_what_is_closed_leaves_no_descriptor_behind(path: Path, open_store: Open) -> None:
    first, second = open_store(role="spool"), open_store(role="spool")
    first.spool([message("a")])
    second.spool([message("b")])
    mine = sqlite3.connect(path)  # of the same library: our descriptors stay until it is closed, or its locks would end
    assert mine.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
    first.close()
    second.close()
    run("import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT count(*) FROM jobs'); c.close()", path)
    assert Path(f"{path}-wal").exists(), "the other process took itself for the last one"
    mine.close()
    third = open_store(role="spool")
    assert third.waiting() == 2
    third.close()
    assert opened(path) == 0


def opened(path: Path) -> int:
    """How many descriptors of this process are open on the file and its -wal and -shm."""
    found = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/self/fd/{descriptor}") in {str(path), f"{path}-wal", f"{path}-shm"}
    return found
