"""Takes failures out of an outbox and into its bucket, in the background, for as long as it takes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

from spoolq.failurelog import entry
from spoolq.failurelog.bucket import PROBE, Bucket, BucketError
from spoolq.failurelog.outbox import Outbox
from spoolq.failurelog.telling import Telling

log = logging.getLogger("spoolq.failures")

_IDLE = 1.0  # seconds between looks where nothing waits
_FIRST, _MOST = 1.0, 60.0  # seconds to the next try after a failed one, at first and at most
_FILES, _BYTES = 200, 4 << 20  # of one turn, about


class Uploader:
    """One object for each failure, its key made of id, run, attempts and time, so that uploading twice is uploading once.

    Safe beside others, and to be killed anywhere: a file is removed when all that it holds is in the bucket. One that the bucket
    doesn't take goes behind the others.
    """

    def __init__(
        self,
        outbox: Outbox,
        bucket: Bucket,
        *,
        telling: Telling | None = None,
        rng: random.Random | None = None,
        hook: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.outbox, self._bucket = outbox, bucket
        self._telling = telling or Telling(outbox.url)
        self._rng = rng or random.Random()
        self._hook = hook
        self._probed, self._failures = False, 0
        self._behind: dict[str, None] = {}  # names, in the order in which they failed

    def is_hopeful(self) -> bool:
        """Whether something waits, and the last try was none that failed."""
        return not self._failures and bool(self.outbox.waiting())

    def turn(self) -> float:
        """Upload what waits, up to a batch. Returns the seconds to the next turn."""
        try:
            with self.outbox.hold() as ours:
                if not ours:  # another process of this host does it
                    return _IDLE
                more = self._upload()
        except FileNotFoundError:  # nothing was ever written here
            return self._probe()
        except BucketError as error:
            waiting = len(self.outbox.waiting())
            waits = f"; {waiting:,} file(s) of failures wait on this disk, nothing is lost" if waiting else ""
            self._telling.trouble(error.reason, f"{self._words(error)}{waits}; it is tried again")
            return self._pause()
        except OSError as error:
            self._telling.trouble("disk", f"{self.outbox.folder} can't be read: {error.strerror}; it is tried again")
            return self._pause()
        return 0.0 if more else _IDLE

    def _upload(self) -> bool:
        """Returns whether more waits. Raises BucketError, after what could be uploaded has been."""
        names = self.outbox.waiting()
        if not names and not self._probed:
            self._probe_now()
        there = set(names)
        self._behind = {name: None for name in self._behind if name in there}
        names = [*(name for name in names if name not in self._behind), *self._behind]
        batch = self._batch(names)
        faults = iter(self._bucket.put([(entry.read(line).key, line) for _, lines in batch for line in lines]))
        fault = None
        for name, lines in batch:
            its = [found for found in (next(faults) for _ in lines) if found is not None]
            if its:
                fault = its[0]
                self._behind.pop(name, None)
                self._behind[name] = None
                continue
            self._hook("uploaded")
            self.outbox.remove(name)
            self._works()
        if fault is not None:
            raise fault
        return len(names) > len(batch)

    def _batch(self, names: Sequence[str]) -> list[tuple[str, list[bytes]]]:
        """The files of one turn, with their lines."""
        batch: list[tuple[str, list[bytes]]] = []
        size = 0
        for name in names[:_FILES]:
            lines = self.outbox.read(name)
            batch.append((name, lines))
            size += sum(map(len, lines))
            if size > _BYTES:
                break
        return batch

    def _probe(self) -> float:
        if self._probed:
            return _IDLE
        try:
            self._probe_now()
        except BucketError as error:
            self._telling.trouble(error.reason, f"{self._words(error)}; failures will wait on this disk; it is tried again")
            return self._pause()
        return _IDLE

    def _probe_now(self) -> None:
        probe(self._bucket)
        self._works()

    def _words(self, error: BucketError) -> str:
        """Without the bucket's name, which is told in front."""
        return str(error).removeprefix(self.outbox.url).lstrip(": ")

    def _works(self) -> None:
        self._probed, self._failures = True, 0
        self._telling.fine()

    def _pause(self) -> float:
        pause = self._rng.uniform(0.5, 1.0) * min(_MOST, _FIRST * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause


def probe(bucket: Bucket) -> None:
    """Find out whether failures could be written, with a small object that is written once. Raises BucketError."""
    if (fault := bucket.put([(PROBE, b"spoolq keeps failures here\n")])[0]) is not None:
        raise fault
