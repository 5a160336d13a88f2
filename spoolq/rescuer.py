"""Claims of workers that died are taken over and settled by the retry policy, so that somebody runs the job again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

from spoolq.job import Claim
from spoolq.runner import Outcome, Runner
from spoolq.store.base import Store, WorkerInfo

log = logging.getLogger("spoolq.worker")


class Rescuer:
    """Takes over expired claims of one store under `worker`'s name; `adopt` gets them with their outcomes, to be settled."""

    def __init__(
        self,
        store: Store,
        worker: WorkerInfo,
        runner: Runner,
        adopt: Callable[[Sequence[tuple[Claim, Outcome]]], None],
        *,
        batch: int = 100,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._runner = runner
        self._adopt = adopt
        self._batch = batch
        self._every = min(10.0, max(0.2, worker.lease / 3))
        self._rng = rng or random.Random()

    def turn(self) -> float:
        """Take over one batch. Returns the seconds to the next turn."""
        claims = self._store.rescue(self._worker, self._batch)
        if claims:
            log.warning("%d job(s) of a worker that stopped answering are taken over", len(claims))
            self._adopt([(claim, self._runner.died(claim)) for claim in claims])
        return 0.0 if len(claims) >= self._batch else self._every * self._rng.uniform(0.7, 1.3)
