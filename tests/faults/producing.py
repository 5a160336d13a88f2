"""Producers as web servers run them: `python -m tests.faults.producing MODE URL SPOOL FOLDER`.

Each process writes a line before and after each call to a file of its own in FOLDER, as `tests.torture.check` reads them. A call
that was interrupted has no line after it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import linecache
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import spoolq
from spoolq import EnqueueError, SpoolQ
from spoolq.job import Job
from spoolq.store.sqlite.writer import Writer
from tests.faults.app import queued
from tests.waiting import eventually

EACH = 25
SPOOLQ = str(Path(spoolq.__file__).parent)
STARTING = (threading.Thread.start.__code__, Writer._start.__code__)


def _time_given() -> float:
    """Seconds that pass, without those in which threads of this process were ready to run and weren't run."""
    return time.monotonic() - sum(queued("self").values())


class Producer:
    """Enqueues with one `SpoolQ`, and tells what it does."""

    def __init__(self, q: SpoolQ, folder: Path) -> None:
        self.q, self.folder = q, folder
        self.task = q.remote("t", "work")

    def tell(self, *words: object) -> None:
        """One line, in one write, to this process's own file."""
        log = os.open(self.folder / f"{os.getpid()}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, (" ".join(map(str, words)) + "\n").encode())
        os.close(log)

    def put(self, job: Job) -> bool:
        """One call. Returns whether the job was accepted."""
        self.tell("TRY", job.id)
        began = _time_given()
        try:
            [receipt] = self.q.submit([job])
        except EnqueueError as error:
            self.tell("ERR", job.id, type(error).__name__, 1000 * (_time_given() - began))
            return False
        self.tell("ACK", job.id, receipt.route, 1000 * (_time_given() - began))
        return True

    def some(self, count: int = EACH, threads: int = 2) -> None:
        """So many calls by each of so many threads."""

        def run() -> None:
            for number in range(count):
                self.put(self.task.job(number))

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def for_ever(self) -> None:
        """Calls, until something ends this."""
        while True:
            self.put(self.task.job(0))


def prefork(producer: Producer) -> None:
    """A web server that loads the application, uses it, and forks; parent and children go on at the same time, and so does a
    grandchild."""
    producer.some(3)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            if number == 0:
                os.waitpid(os.fork() or _child(producer), 0)
            _child(producer)
        children.append(child)
    producer.some()
    if any(os.waitpid(child, 0)[1] for child in children):
        raise SystemExit("a child failed")


def _child(producer: Producer) -> int:
    try:
        producer.some()
        producer.q.close()
    except BaseException:
        os._exit(1)
    os._exit(0)


def pool(producer: Producer, method: str) -> None:
    """`multiprocessing`, whose children end by their own rules."""
    producer.some(3)
    context = multiprocessing.get_context(method)
    children = [context.Process(target=in_pool, args=(sys.argv[2], sys.argv[3], sys.argv[4])) for _ in range(2)]
    if method == "fork":
        children += [context.Process(target=producer.some) for _ in range(2)]
    for child in children:
        child.start()
    producer.some()
    for child in children:
        child.join()
        if child.exitcode:
            raise SystemExit(f"a child ended with {child.exitcode}")


def in_pool(url: str, spool: str, folder: str) -> None:
    """A child with an application of its own, as `spawn` has it."""
    with SpoolQ(url, spool=spool, spool_min_free=0) as q:
        Producer(q, Path(folder)).some()


def interrupted(producer: Producer) -> None:
    """KeyboardInterrupt anywhere in a call: the job is made first, and enqueued again with its id until a call ends."""
    inside, interrupts = False, 0

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupts
        if inside:
            interrupts += 1
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    while interrupts < 40:
        job = producer.task.using(id=f"given-{time.monotonic_ns()}").job(interrupts)
        ended = False
        while not ended:
            try:
                inside = True
                producer.put(job)
                inside, ended = False, True
            except KeyboardInterrupt:
                inside = False
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # else one that comes while the interpreter ends kills it


def terminated(producer: Producer) -> None:
    """TERM raises SystemExit in the middle of a call; `atexit` closes what is open."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
    producer.for_ever()


def leaving(producer: Producer) -> None:
    """The main thread ends while others are in the middle of calls."""
    for _ in range(4):
        threading.Thread(target=producer.for_ever, daemon=True).start()
    log = producer.folder / f"{os.getpid()}.log"
    eventually(lambda: log.exists() and log.read_text().count("ACK") > 8)


def cancelled(producer: Producer) -> None:
    """asyncio tasks that are cancelled in mid-call."""

    async def main() -> None:
        for number in range(30):
            job = producer.task.job(number)
            producer.tell("TRY", job.id)
            try:
                limit = 0.002 * (number % 10) if number % 10 < 9 else None
                receipt = await asyncio.wait_for(producer.q.aenqueue(job), limit)
            except TimeoutError:
                continue  # it may be stored
            producer.tell("ACK", job.id, receipt.route, 0)

    asyncio.run(main())


def at_each_line(
    prepare: Callable[[], Job], call: Callable[[Job], None], act: Callable[[], object], each: int, files: tuple[str, ...]
) -> None:
    """Call again and again, and do `act` in the middle: at the first line of these files that is reached, at the second, and so
    on (or at one of `each`), until there is none. What a signal handler does between any two steps, without the luck."""
    faulthandler.dump_traceback_later(250, exit=True)
    number = 1
    while True:
        left = number

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left
            name = frame.f_code.co_filename
            if not name.startswith(files):
                return None
            # Python runs no signal handler where a `with` ends, and tells of that line all the same
            if event == "line" and not linecache.getline(name, frame.f_lineno).lstrip().startswith("with "):
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    act()
            return trace

        job = prepare()
        sys.settrace(trace)
        try:
            call(job)
        finally:
            sys.settrace(None)
        if left > 0:
            return
        number += each


def nested(producer: Producer, *, cold: bool = False) -> None:
    """A signal handler that enqueues, while the thread that it interrupts does. Ends with an error if one of the two is refused
    anywhere but where the interrupted call was in the middle of starting a thread."""
    excused = False  # the call under way

    def prepare() -> Job:
        nonlocal excused
        excused = False
        if cold:
            producer.q.close()
        return producer.task.job("outer")

    def outer(job: Job) -> None:
        if not producer.put(job) and not excused:
            raise SystemExit("a call was refused whose handler's was not")

    def inner() -> None:
        nonlocal excused
        if not producer.put(producer.task.job("inner")):
            excused = cold and any(frame.f_code in STARTING for frame, _ in traceback.walk_stack(None))
            if not excused:
                raise SystemExit(
                    "a handler's call was refused, and no thread was being started:\n" + "".join(traceback.format_stack())
                )

    at_each_line(prepare, outer, inner, 7 if cold else 1, (SPOOLQ, threading.__file__))


def raised(producer: Producer, *, cold: bool = False) -> None:
    """A signal handler that raises; the job is then enqueued again with its id, and another one is."""

    def prepare() -> Job:
        if cold:
            producer.q.close()
        return producer.task.using(id=f"given-{time.monotonic_ns()}").job("again")

    def call(job: Job) -> None:
        try:
            producer.put(job)
        except KeyboardInterrupt:
            producer.put(job)
            producer.put(producer.task.job("next"))

    def interrupt() -> None:
        raise KeyboardInterrupt

    at_each_line(prepare, call, interrupt, 1, (SPOOLQ,))


MODES = {
    "prefork": prefork,
    "fork": lambda producer: pool(producer, "fork"),
    "spawn": lambda producer: pool(producer, "spawn"),
    "interrupted": interrupted,
    "terminated": terminated,
    "leaving": leaving,
    "cancelled": cancelled,
    "nested": nested,
    "nested-cold": partial(nested, cold=True),
    "raised": raised,
    "raised-cold": partial(raised, cold=True),
}

if __name__ == "__main__":
    mode, url, spool, folder = sys.argv[1:]
    MODES[mode](Producer(SpoolQ(url, spool=spool, spool_min_free=0), Path(folder)))
