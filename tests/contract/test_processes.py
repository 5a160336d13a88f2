"""Several real processes on one store: each job to one of them, nothing lost, nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from spoolq.store.base import Store
from spoolq.store.effects import Effects
from tests.contract.backends import Backend
from tests.contract.hands import Hand, ids, messages

ROOT = Path(__file__).parents[2]
PROCESSES, EACH = 4, 120

pytestmark = pytest.mark.processes


def start(backend: Backend, name: str, log: Path) -> subprocess.Popen[bytes]:
    assert backend.spec is not None
    command = [sys.executable, "-m", "tests.contract.process", *backend.spec, name, str(EACH), str(PROCESSES * EACH), str(log)]
    return subprocess.Popen(command, cwd=ROOT)


def test_each_job_is_put_once_and_claimed_once(backend: Backend, open_store: Callable[[], Store], tmp_path: Path) -> None:
    """All put their own jobs and some of everybody's, and claim and ack until all are done. All meet an empty place at once."""
    logs = [tmp_path / f"{n}.log" for n in range(PROCESSES)]
    processes = [start(backend, f"p{n}", log) for n, log in enumerate(logs)]
    try:
        assert [process.wait(90) for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
            process.wait()
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    new = Counter(id for word, id in lines if word == "NEW")
    claimed = Counter(id for word, id in lines if word == "CLAIM")
    expected = {f"p{n}-{i}" for n in range(PROCESSES) for i in range(EACH)} | {f"shared-{i}" for i in range(EACH // 10)}
    assert set(new) == set(claimed) == expected
    assert {id: n for id, n in claimed.items() if n != 1} == {}
    assert {id: n for id, n in new.items() if n != 1} == {}
    store = open_store()
    assert store.counters()["done"] == len(expected)
    assert all((depth.ready, depth.claimed) == (0, 0) for depth in store.depths())
    assert Hand(store).claim() == ()


def test_a_forked_child_and_its_parent_go_on_with_the_same_store(store: Store) -> None:
    """Pre-fork servers: the object was made, and used, before the fork."""
    store.put(messages("before"))
    hand = Hand(store, "parent")
    assert ids(hand.claim(1)) == ["before"]
    for child in ("one", "two"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, about threads; that it works is what is tested
            pid = os.fork()
        if not pid:
            code = 1
            try:
                store.put(messages(f"{child}-1"))
                store.put(messages(f"{child}-2"), Effects(counters=(("children", 1),)))
                store.close()
                code = 0
            finally:
                os._exit(code)
        store.put(messages(f"beside-{child}"))
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    store.put(messages("after"))
    assert sorted(ids(hand.claim(10))) == ["after", "beside-one", "beside-two", "one-1", "one-2", "two-1", "two-2"]
    assert hand.holds() == 8
    assert store.counters()["children"] == 2


def test_threads_share_one_store(store: Store) -> None:
    failed: list[BaseException] = []
    taken: list[str] = []

    def work(name: str) -> None:
        hand = Hand(store, name)
        try:
            for n in range(20):
                store.put(messages(f"{name}-{n}"))
                claims = hand.claim(2)
                taken.extend(ids(claims))
                store.ack(claims)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    last = Hand(store, "last").claim(1000)
    everything = sorted(taken + ids(last))
    assert everything == sorted(f"t{n}-{i}" for n in range(8) for i in range(20))
