"""Imports that forks wait for, and that don't wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from spoolq.importing import importing
from tests.servers import Binary, Server

SLOW_DRIVER = """
import importlib.machinery, sys, time
from spoolq import SpoolQ

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name != "redis.connection":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (time.sleep(20), run(module))
        return spec

sys.meta_path.insert(0, Slow())
q = SpoolQ("redis://127.0.0.1:1/0", spool=sys.argv[1], spool_min_free=0)
began = time.monotonic()
print(q.remote("t").enqueue().route, time.monotonic() - began, flush=True)
import os
os._exit(0)
"""

OUTSIDE = """
import sys, threading
from spoolq import SpoolQ, importing

def look(event, args):
    here = threading.get_ident()
    if event == "import" and here != threading.main_thread().ident and here not in list(importing._inside.values()):
        print(threading.current_thread().name, "imports", args[0], flush=True)

sys.addaudithook(look)
url, folder, dead = sys.argv[1:]
for route, url, options in (("spool", dead, {}), ("primary", url, {}), ("spool", url, {"accept": "spool"})):
    with SpoolQ(url, spool=f"{folder}/{url == dead}{len(options)}.db", spool_min_free=0, deadline=60, **options) as q:
        assert q.remote("t").enqueue().route == route
        q.drainer().run_once(60 if url != dead else 0)
"""


class Import:
    """One under way in a thread of its own."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self.begun.wait(20)

    def _run(self) -> None:
        with importing():
            self.begun.set()
            self.over.wait(20)


def fork() -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return time.monotonic() - began


def test_imports_do_not_wait_for_each_other() -> None:
    one = Import()
    other = Import()  # begun while that one goes on
    for each in (one, other):
        each.over.set()
        each.thread.join(20)


def test_a_fork_waits_for_the_imports_of_other_threads_and_for_none_of_its_own() -> None:
    one = Import()
    threading.Timer(0.3, one.over.set).start()
    fork()
    assert one.over.is_set(), "the import was not under way any more"
    with importing():
        assert fork() < 9.0  # it waits for ten seconds at most


def test_no_thread_of_ours_imports_where_a_fork_would_not_wait_for_it(
    tmp_path: Path, one_binary: Binary, shared_servers: Callable[[Binary], Server]
) -> None:
    """Also where it is the driver or the standard library that does so in passing. A child forked then never has a connection."""
    url, dead = shared_servers(one_binary).url, "redis://localhost:1/0"
    command = [sys.executable, "-c", OUTSIDE, url, str(tmp_path), dead]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_driver_that_is_loaded_slowly_takes_no_caller_s_time(tmp_path: Path) -> None:
    """As from a network's disk. It is loaded in the background, and the spool needs none of it."""
    command = [sys.executable, "-c", SLOW_DRIVER, str(tmp_path / "spool.db")]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    route, took = done.stdout.split()
    assert (route, float(took) < 10.0) == ("spool", True)
