"""What the tests of the worker's parts share: a store that fails when told to, tasks that leave a trace, a consumer on a file."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spoolq import wire
from spoolq.autoscale.load import Load
from spoolq.autoscale.sample import Bounds, Decision, Policy, Sample
from spoolq.autoscale.sizer import Sizer
from spoolq.consumer import Consumer
from spoolq.crew import Crew
from spoolq.errors import StaleCall, StoreUnavailable
from spoolq.job import Claim, Failure, Job, Message
from spoolq.outcome import Failed
from spoolq.retry import RetryPolicy
from spoolq.runner import Runner
from spoolq.store.base import Store, WorkerInfo
from spoolq.store.sqlite import SQLiteStore
from spoolq.tasks import Task, Tasks


def file(path: Path, **settings: Any) -> SQLiteStore:
    """A real store on a real file."""
    return SQLiteStore(path, min_free=0, **{"timeout": 20.0, **settings})


def job(id: str, task: str = "note", queue: str = "q", args: tuple[Any, ...] = (), **more: Any) -> Message:
    return wire.message(Job(id, task, queue, args, **more))


def jobs(count: int, task: str = "note", queue: str = "q") -> list[Message]:
    return [job(f"j{n:04}", task, queue, (n,)) for n in range(count)]


def id_of(claim: Claim) -> str:
    id: str = json.loads(claim.payload)["id"]
    return id


def info(key: str = "w", *, threads: int = 1, lease: float = 60.0, queues: tuple[str, ...] = ("q",)) -> WorkerInfo:
    return WorkerInfo(key, "host", 4242, queues, threads, 1_700_000_000.0, lease)


def left(store: Store, queue: str = "q") -> list[str]:
    """The ids that can be claimed now, in order; put back at once."""
    looker = info(f"looker-{threading.get_ident()}", queues=(queue,))
    claims = store.claim(looker, 1, (queue,), 1000).claims
    store.release(claims)
    store.unregister(looker)
    return [id_of(claim) for claim in claims]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def held(store: Store) -> int:
    """How many claims the store knows of, whoever holds them."""
    return sum(depth.claimed for depth in store.depths())


class Flaky:
    """A store whose verbs fail when they are told to; all else passes. `calls` counts them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: Counter[str] = Counter()
        self._faults: dict[str, tuple[str, int]] = {}

    def inject(self, how: str, *verbs: str, times: int = 1) -> None:
        """`refused`: away, not applied; `lost`: applied, the answer is lost; `own`: refused for its own sake; `late`, `broken`;
        `fit`: works again. `times` -1: until told otherwise."""
        for verb in verbs:
            self._faults[verb] = (how, times)

    def faults(self, verb: str) -> int:
        """How many are still to come."""
        return self._faults.get(verb, ("fit", 0))[1]

    def __getattr__(self, name: str) -> Any:
        target = getattr(self.store, name)
        if not callable(target):
            return target

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            how, left = self._faults.get(name, ("fit", 0))
            if left == 0 or how == "fit":
                return target(*args, **kwargs)
            self._faults[name] = (how, left - 1)
            match how:
                case "lost":
                    target(*args, **kwargs)
                    raise StoreUnavailable("the answer is lost", reason="cut", maybe_applied=True)
                case "refused":
                    raise StoreUnavailable("nobody listens", reason="refused")
                case "own":
                    raise StoreUnavailable("this key holds something else", reason="wrongtype", server_wide=False)
                case "late":
                    raise StaleCall("after its time")
                case _:
                    raise RuntimeError("a mistake of ours")

        return call


def claim(store: Flaky, count: int) -> tuple[Claim, ...]:
    """So many `jobs`, put and claimed."""
    store.put(jobs(count))
    found: tuple[Claim, ...] = store.claim(info(), 1, ["q"], count).claims
    assert len(found) == count
    return found


def failed(of: Claim) -> Failed:
    """What becomes of a job whose attempts are used up."""
    return Failed(Failure(id_of(of), "q", "w", "ValueError", "no", (), 1.0, of.payload))


class Rig:
    """A consumer on a file, its threads, and the task `note`, which leaves its argument in `ran`."""

    def __init__(
        self, folder: Path, *, threads: int = 1, lease: float = 60.0, queues: tuple[str, ...] = ("q",), **options: Any
    ) -> None:
        self.real = file(folder / "jobs.db")
        self.store = Flaky(self.real)
        self.ran: list[Any] = []
        self.tasks = Tasks()
        self.task("note", self.ran.append)
        self.info = info(threads=threads, lease=lease, queues=queues)
        self.points: list[str] = []
        self.crew = Crew(threads)
        self.runner = Runner(self.tasks, self.info, "primary", self.real.now)
        self.consumer = Consumer(
            self.store,  # type: ignore[arg-type]
            self.info,
            self.runner,
            self.crew,
            name="worker",
            hook=self.points.append,
            **options,
        )

    def task(self, name: str, function: Callable[..., Any], **policy: Any) -> None:
        """One more task."""
        task: Task[..., Any] = Task(function, name=name, queue="q", owner=None, policy=RetryPolicy(**policy))  # type: ignore[arg-type]
        self.tasks.add(task)

    def start(self) -> None:
        self.crew.start()
        self.consumer.start()

    def close(self) -> None:
        self.consumer.end()
        self.crew.end()
        if self.consumer._threads[0].ident is not None:
            self.consumer.join(40.0)
        self.real.close()


class Steps(Policy):
    """Says the sizes that it was given, one after the other, each when `is_time` says so."""

    name = "steps"

    def __init__(self, *sizes: int, is_time: Callable[[Sample], bool] = lambda sample: True) -> None:
        self._sizes, self._is_time = list(sizes), is_time

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        if self._sizes and self._is_time(sample):
            return Decision(self._sizes.pop(0), "as told")
        return Decision(sample.size, "as told")


def sizer(least: int, most: int, threads: int, policy: Policy | None = None) -> Sizer:
    """Of a pool of which nobody tells anything, and nobody is told."""
    return Sizer(policy or Load(), Bounds(least, most), threads)
