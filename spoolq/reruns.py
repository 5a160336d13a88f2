"""A failure put back as a new launch of its job: what an operator's retry makes of an entry of the failure log. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from spoolq import jsjson, wire
from spoolq.errors import PayloadError
from spoolq.job import Failure, Message


def rerun(payload: bytes, queue: str) -> Message:
    """A failed job as an operator's new launch: `run` + 1, no attempts, crashes or history yet, due at once, all else as it was
    written.

    Raises PayloadError for what isn't a job, or when neither `queue` nor the payload names a queue.
    """
    job = wire.decode(payload, queue)
    named = jsjson.fields(payload).get("queue")
    target = queue or (named if isinstance(named, str) else "")
    if not target:
        raise PayloadError("the failure names no queue to put the job back into")
    if not jsjson.encodable(target):
        raise PayloadError(f"the failure names a queue that can't be written: {target!a}")
    gone = ("attempt", "crashes", "history", "begun", "unique")  # it is meant to run, whatever equal job there is
    changes = {"id": json.dumps(job.id, ensure_ascii=False), "run": str(job.run + 1), **dict.fromkeys(gone)}
    return Message(replace(job, run=job.run + 1).put_id, target, jsjson.edited(payload.decode(), changes).encode())


class Reruns:
    """Which entries of a failure log go back as jobs, seen newest first: a job once, however often its failure is in the log.

    A job is its id, task and arguments. An entry of the same id and other work is none of its repeats and stays in the log,
    and so does one of a later launch: the job has failed again meanwhile.
    """

    def __init__(self) -> None:
        self._launched: dict[str, tuple[bytes, int]] = {}

    def message(self, failure: Failure) -> Message | None:
        """The launch to put back for this entry, None where it is to stay: unreadable, or its id has been launched."""
        if failure.id in self._launched:
            return None
        try:
            return rerun(failure.payload, failure.queue)
        except PayloadError:
            return None

    def launched(self, failure: Failure) -> None:
        """The entry's job has been put back."""
        self._launched[failure.id] = _work(failure)

    def repeats(self, failure: Failure) -> bool:
        """Whether the entry is of a job that has been put back, so that it goes out of the log without a launch."""
        launched = self._launched.get(failure.id)
        if launched is None:
            return False
        try:
            work, run = _work(failure)
        except PayloadError:
            return False
        return work == launched[0] and run <= launched[1]


def _work(failure: Failure) -> tuple[bytes, int]:
    text = jsjson.edited(failure.payload.decode(), dict.fromkeys(wire.OURS - {"kwargs"}))
    return hashlib.sha256(text.encode()).digest(), wire.decode(failure.payload, failure.queue).run


def run_of(failure: Failure) -> int:
    """Which launch of its job failed, counted by an operator's re-runs; 0 where that can't be read."""
    try:
        return wire.decode(failure.payload, failure.queue).run
    except PayloadError:
        return 0
