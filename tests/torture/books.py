"""The accounts of a run, looked at all the while: does each queue balance at every moment, whatever is killed?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spoolq import SpoolQ
from spoolq.accounting import Accounts, Known, accounts, drained, handed_over, loss
from spoolq.bookkeeping import remembered
from spoolq.errors import StoreError
from spoolq.store.tally import Ledger
from tests.waiting import eventually

_PAUSE = 0.05


class Books:
    """Looks from beginning to end of a `with`, and once more when it is asked to `close`. `broken` is what didn't balance.
    `known_as`: by which address the spool knows the server, where that is another."""

    def __init__(self, url: str, spool: Path | None = None, known_as: str = "") -> None:
        own: dict[str, Any] = {} if spool is None else {"spool": spool}
        self._q = SpoolQ(url, deadline=5.0)
        self._beside = SpoolQ(known_as or url, spool_min_free=0, disk_limit=10.0, **own)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self.looks = 0
        self.busy = 0
        """Looks at which some job was somewhere: the others prove nothing."""
        self.broken: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(60)
        self._q.close()
        self._beside.close()

    def _look_on(self) -> None:
        while not self._over.is_set():
            self._look()
            self._over.wait(_PAUSE)

    def _look(self) -> tuple[Ledger | None, Ledger | None, Known]:
        known, ledgers = Known(), dict[str, Ledger]()
        with suppress(StoreError):
            if self._beside.spool is not None and self._beside.settings.spool_path.exists():
                known = remembered(self._beside.spool)
        for name, ledger in self._ledgers():
            self._check(name, ledger)
            ledgers[name] = ledger
        primary, spool = ledgers.get("primary"), ledgers.get("spool")
        if primary is not None and spool is not None:
            if (lost := loss(known, primary, spool)) > 0:
                self.broken.append(f"{lost} lost, says what is known of the primary: {known}")
            if handed_over(spool) > drained(primary):
                self.broken.append(f"{handed_over(spool)} handed over, and only {drained(primary)} drained")
        return primary, spool, known

    def _ledgers(self) -> Iterator[tuple[str, Ledger]]:
        """Those that can be read now: a server that is down says nothing."""
        for name, store in (("spool", self._beside.spool), ("primary", self._q.primary)):
            if store is not None and (name == "primary" or self._beside.settings.spool_path.exists()):
                with suppress(StoreError):
                    yield name, store.tally()

    def _check(self, name: str, ledger: Ledger) -> None:
        self.looks += 1
        self.busy += any(one.there for one in ledger.queues.values())
        if ledger.recounted:
            self.broken.append(f"{name}: counted anew {ledger.recounted} times")
        self.broken += [f"{name}, queue {one.queue}: {one.left} missing" for one in ledger.queues.values() if one.left]

    def close(self) -> Accounts:
        """The accounts at the end, with nothing going on any more."""
        self._over.set()
        self._thread.join(60)
        return accounts(*eventually(self._whole, what="a look at all that there is"))

    def _whole(self) -> tuple[Ledger | None, Ledger | None, Known] | None:
        """A look; None where a store that is there doesn't answer just now."""
        primary, spool, known = self._look()
        unseen = spool is None and self._beside.spool is not None and self._beside.settings.spool_path.exists()
        return None if primary is None or unseen else (primary, spool, known)
