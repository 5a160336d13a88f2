"""A background loop, written once: a turn does its work and returns the seconds to the next one."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable

from spoolq.errors import ConfigError, StoreUnavailable
from spoolq.mailbox import Mailbox

log = logging.getLogger("spoolq")

_FIRST, _MOST = 0.5, 10.0


class Service:
    """Calls `turn` on a daemon thread until it returns None or `stop` is called.

    A turn that raises is tried again, after a growing, jittered pause; a store that is away is told once, and once when it
    is back; with `quiet` somebody else tells. A wrong setting is told once in any case, and looked at again within `again`
    seconds: it may be another's that passes, such as a file that was put in the wrong place. `wrong` is told as well.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], float | None],
        *,
        quiet: bool = False,
        again: float = 60.0,
        wrong: Callable[[str], None] = lambda text: None,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._turn = turn
        self._level = logging.DEBUG if quiet else logging.WARNING
        self._again, self.wrong = again, wrong
        self._rng = rng or random.Random()
        self._woken = Mailbox[bool]()
        self._stopping = False
        self._failures = 0
        self._wrong = False
        self._thread: threading.Thread | None = None
        self._over = False

    def start(self) -> None:
        """Begin. The first turn comes at once. Raises RuntimeError where no thread can be had, as when the interpreter ends:
        Python 3.11 would wait there for one that never runs."""
        if sys.is_finalizing():
            raise RuntimeError("the interpreter ends")
        thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
        thread.start()
        self._thread = thread  # not before: another may stop it at any time, and joins what it finds here

    @property
    def running(self) -> bool:
        """Whether the loop goes on. False in a forked child: threads don't outlive a fork."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """Whether it was begun, and the loop goes on no more."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def dead(self) -> bool:
        """Whether it has ended, and should not have: neither a turn nor `stop` said so."""
        return self.ended and not (self._over or self._stopping)

    def wake(self) -> None:
        """Have the next turn now."""
        if not self._woken:
            self._woken.put(True)

    def stop(self, timeout: float) -> bool:
        """End after the turn under way; wait for it up to `timeout` seconds. Returns whether it has ended."""
        self._stopping = True
        self._woken.put(True)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def once(self) -> float | None:
        """One turn, its errors turned into a pause."""
        try:
            delay = self._turn()
        except StoreUnavailable as error:
            if self._failures == 0 and not self._stopping:
                log.log(self._level, "%s: %s", self.name, error)
            return self._pause()
        except ConfigError as error:
            if not self._wrong and not self._stopping:
                log.log(
                    logging.ERROR,
                    "%s: %s; nothing is done here until that is mended, which is looked at every %g s",
                    self.name,
                    error,
                    self._again,
                )
                self.wrong(f"{self.name}: {error}")
            self._wrong = True
            return self._rng.uniform(self._again / 2, self._again)
        except Exception:
            if not self._stopping:
                log.exception("%s: an error of our own; it is tried again", self.name)
            return self._pause()
        if self._failures or self._wrong:
            log.log(logging.INFO if self._wrong else min(self._level, logging.INFO), "%s: goes on again", self.name)
            self._failures, self._wrong = 0, False
        return delay

    def _pause(self) -> float:
        self._failures += 1
        return self._rng.uniform(_FIRST / 2, min(_MOST, _FIRST * 2.0 ** min(self._failures, 10)))

    def _loop(self) -> None:
        while not (self._over or self._stopping):
            try:
                delay = self.once()
                if delay is None:
                    self._over = True
                    return
                self._woken.take(delay)
            except BaseException:  # no memory, say, where another error was handled
                try:
                    time.sleep(_FIRST)
                    log.exception("%s: an error of our own, between two turns; it goes on", self.name)
                except BaseException:  # noqa: S110  (nor to tell it; `suppress` would need some)
                    pass
