"""All stories. `docs/hand-off.md` says their rules in words; the code follows them."""

from __future__ import annotations

from tests.model import adopt, batch, calls, cancel, count_down, fail_over, fifo, hand_off, horizon, settle, transfer
from tests.model.explore import Story

STORIES: tuple[Story, ...] = (
    *hand_off.STORIES,
    batch.STORY,
    horizon.STORY,
    fifo.STORY,
    calls.STORY,
    cancel.STORY,
    settle.STORY,
    count_down.STORY,
    fail_over.STORY,
    adopt.STORY,
    transfer.STORY,
)
