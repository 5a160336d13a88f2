"""All stories. `docs/hand-off.md` says their rules in words; the code follows them."""

from __future__ import annotations

from tests.model import batch, calls, fifo, hand_off, horizon, settle
from tests.model.explore import Story

STORIES: tuple[Story, ...] = (*hand_off.STORIES, batch.STORY, horizon.STORY, fifo.STORY, calls.STORY, settle.STORY)
