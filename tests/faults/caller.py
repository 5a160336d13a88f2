"""An application in a process of its own, told by lines of JSON what to do: `python -m tests.faults.caller`.

Apart from the test, so that neither its threads nor its client library weigh on what is measured, and so that it can have another
redis-py or live in another network namespace. `Caller` is the test's end of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spoolq import EnqueueError, SpoolQ
from spoolq.errors import StoreUnavailable
from spoolq.store.base import Spool, Store
from spoolq.store.redis.link import Link
from tests.faults.app import Control
from tests.faults.wrong import SETUPS
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PATIENCE = 0.5  # seconds of a drainer's put here, so that ids may be forgotten soon


class Watched(SpoolQ):
    """It notes what the primary's puts were refused for, why the breaker opened, and how long the spool took."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.said: list[tuple[str, bool, bool]] = []
        self.opened: list[str] = []
        self.spooling = threading.local()

    def _breaker_changed(self, open: bool, reason: str) -> None:
        if open:
            self.opened.append(reason)

    @property
    def primary(self) -> Store:
        with self._lock:
            opened, store = self._primary is None, super().primary
            if opened:
                self._listen_to(store)
        return store

    def _listen_to(self, store: Store) -> None:
        if isinstance(link := store._transport, Link):  # type: ignore[attr-defined]
            link._budget = 1.0  # of the thread that connects, or a test would wait for it after each healing
        put = store.put

        def noted(*args: Any, **options: Any) -> list[bool]:
            try:
                return put(*args, **options)
            except StoreUnavailable as error:
                self.said.append((error.reason, error.maybe_applied, error.server_wide))
                raise

        store.put = noted  # type: ignore[method-assign]

    def _open_spool(self) -> Spool:
        began = time.monotonic()
        spool = super()._open_spool()
        self._spooled(time.monotonic() - began)
        if "spool" not in vars(spool):
            keep = spool.spool

            def timed(*args: Any, **options: Any) -> list[bool]:
                began = time.monotonic()
                try:
                    return keep(*args, **options)
                finally:
                    self._spooled(time.monotonic() - began)

            spool.spool = timed  # type: ignore[method-assign]
        return spool

    def _spooled(self, seconds: float) -> None:
        self.spooling.took = getattr(self.spooling, "took", 0.0) + seconds


class Desk:
    """What it can be told to do."""

    def open(self, url: str, spool: str, wrong: str = "", **settings: Any) -> None:
        import redis.connection  # noqa: F401 - loading the driver is not what is measured

        os.environ["RUNTIME_DIRECTORY"] = str(Path(spool).parent)  # what other cases found out is none of this one's business
        if wrong in ("marker first", "no not-after"):
            SETUPS[wrong](None)
        self.q = Watched(url, spool=spool, spool_min_free=0, **settings)
        self.wrong = wrong
        if wrong == "retries on":
            SETUPS[wrong](self.q)
        self.q.client._prober.first = 0.02  # a probe comes soon

    def warm(self, within: float = 60.0) -> list[str]:
        """Enqueue until the primary takes a job: there is a connection then. The ids of all that were taken."""
        task, ids = self.q.remote("t", "warm"), []

        def enqueued() -> bool:
            receipt = task.enqueue()
            ids.append(receipt.id)
            return receipt.route == "primary"

        eventually(enqueued, within, "a warm connection")
        if len(ids) > 1:
            self.drain()
        self.q.said.clear()
        self.q.opened.clear()
        return ids

    def enqueue(self, queue: str, argument: str, threads: int = 1, **options: Any) -> list[dict[str, Any]]:
        """So many at once, each on a thread of its own."""
        task = self.q.remote("t", queue).using(**options)
        answers: list[dict[str, Any]] = []

        def one() -> None:
            self.q.spooling.took = 0.0
            began = time.monotonic()
            try:
                receipt = task.enqueue(argument)
                answer = {"id": receipt.id, "route": receipt.route}
            except EnqueueError as error:
                answer = {"id": error.id, "route": type(error).__name__}
            took = time.monotonic() - began
            answers.append(answer | {"took": took, "spooling": self.q.spooling.took})

        with Control() as control:
            others = [threading.Thread(target=one) for _ in range(threads - 1)]
            for thread in others:
                thread.start()
            one()
            for thread in others:
                thread.join()
        return [answer | {"unscheduled": control.unscheduled} for answer in answers]

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"said": self.q.said, "opened": self.q.opened, "waiting": 0, "in_doubt": 0, "aside": 0}
        if self.q.settings.spool_path.exists() and self.q.spool is not None:
            info = self.q.spool.info()
            facts |= {"waiting": self.q.spool.waiting(), "in_doubt": info.in_doubt, "aside": info.quarantined}
        return facts

    def turn(self) -> str:
        """One turn of a drainer while the fault lasts: it mustn't lose or double anything either."""
        drainer = self._drainer()
        drainer.turn()
        drainer._spool.unregister(drainer._worker)  # as its end does, which would also wait for the primary
        return drainer.progress.error.reason if drainer.progress.error else ""

    def drain(self, forget: bool = False, within: float = 60.0) -> None:
        """Until the spool is empty; with `forget` until Redis has forgotten the ids as well."""

        def drained() -> bool:
            drainer = self._drainer()
            left = drainer.run_once(within).left
            if not forget:
                drainer.stop()
            drainer.close()
            return left == 0

        eventually(drained, within, "an empty spool")

    def shut(self) -> None:
        self.q.close()

    def _drainer(self) -> Any:
        drainer = self.q.drainer()
        drainer._timeout = drainer._hand._timeout = PATIENCE
        if self.wrong == "delete first":
            SETUPS[self.wrong](drainer)
        return drainer


class Caller:
    """The test's end: each method of `Desk` by its name, with keyword arguments. `driver` is a folder with a redis-py, `module`
    where another desk is."""

    def __init__(self, driver: Path | None = None, prefix: Sequence[str] = (), module: str = "tests.faults.caller") -> None:
        paths = [str(driver)] if driver else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SPOOLQ_"))}
        environment["PYTHONPATH"] = os.pathsep.join([*paths, str(ROOT)])
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, name: str) -> Any:
        def tell(**arguments: Any) -> Any:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps({"do": name, **arguments}) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or '{"error": "the caller died"}')
            if "error" in answer:
                raise AssertionError(f"{name}: {answer['error']}")
            return answer["answer"]

        return tell

    def end(self) -> None:
        """Kill it: it has nothing to finish."""
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            if end is not None:
                end.close()


def serve(desk: object) -> None:
    """Do what is told, line by line."""
    for line in sys.stdin:
        told = json.loads(line)
        try:
            answer = {"answer": getattr(desk, told.pop("do"))(**told)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(Desk())
