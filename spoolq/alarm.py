"""The warning that is repeated: jobs go to the spool for a reason that nobody but a person can end."""

from __future__ import annotations

import math
import time

from spoolq.breaker import LASTING

EVERY = 60.0  # seconds


class Alarm:
    """Of one client. Pure: the times are passed in."""

    def __init__(self) -> None:
        self._jobs = 0
        self._since = 0.0
        self._again_at = -math.inf

    def spooled(self, jobs: int, reason: str | None, detail: str, *, now: float, wall: float) -> str | None:
        """So many jobs went to the spool for this reason. Returns what to log as an error now, None most of the time.

        `now` in monotonic seconds, `wall` in epoch seconds.
        """
        if reason not in LASTING:
            self._jobs, self._again_at = 0, -math.inf
            return None
        if not self._jobs:
            self._since = wall
        self._jobs += jobs
        if now < self._again_at:
            return None
        self._again_at = now + EVERY
        count = "1 job has" if self._jobs == 1 else f"{self._jobs:,} jobs have"
        since = time.strftime("%H:%M:%S", time.localtime(self._since))
        return (
            f"{count} gone to the spool since {since} for a reason that does not heal by itself ({reason}): {detail or reason}. "
            "Nothing is lost. Mend the settings here or the user at the server; what is mended at the server is noticed within "
            "seconds, new settings need a restart of this process"
        )
