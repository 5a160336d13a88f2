"""Asking Redis at once, by hand, instead of waiting for the next probe of a producer, a drainer or a worker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from spoolq.errors import StoreUnavailable

if TYPE_CHECKING:
    from spoolq.app import SpoolQ

WAIT = 2.0  # seconds that Redis has to answer


class Probed(NamedTuple):
    """Whether Redis takes jobs, and whether they go to it now, which they don't where it answers too slowly. `seconds` that the
    answer took, and all that in words."""

    answers: bool
    used: bool
    seconds: float | None
    text: str


def probe_now(q: SpoolQ) -> Probed:
    """Ask Redis now. An answer closes the breakers of this host's processes too, by the hint that they read; a refusal opens
    them. Only for an application with a Redis (`q.settings.sqlite_path` is None)."""
    breaker, began = q.breaker, time.monotonic()
    breaker.allows()  # hears of an outage that others have met
    try:
        breaker.probe(lambda: q.primary.ready(WAIT))
    except StoreUnavailable as error:
        breaker.failed(error.reason, str(error))
        return Probed(False, False, None, f"Redis does not take jobs: {error}")
    took = time.monotonic() - began
    if not breaker.allows():
        return Probed(True, False, took, f"Redis answers, but too slowly ({1000 * took:,.0f} ms): jobs go on to the spool.")
    return Probed(True, True, took, f"Redis answers ({1000 * took:,.1f} ms). Jobs go to it again.")
