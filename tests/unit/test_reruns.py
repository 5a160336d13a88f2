"""A failed job as a new launch, whoever wrote it."""

from __future__ import annotations

import dataclasses

import pytest

from spoolq import reruns, wire
from spoolq.errors import PayloadError
from tests.unit.test_wire import NOW, PAST, RAW, a_job


def test_a_rerun_is_a_new_launch_of_the_same_job() -> None:
    job = a_job(1, attempt=4, crashes=2, history=PAST, run=1, enqueued_at=NOW, retries=5, extra={"x": 1}, run_at=NOW)
    message = reruns.rerun(wire.encode(job), "mail")
    clean = dataclasses.replace(job, attempt=0, crashes=0, history=(), run=2)
    assert message[:7] == ("0199\t2", "mail", wire.encode(clean), 0.0, False, 0.0, False)
    assert message.id == wire.decode(message.payload, "mail").put_id


def test_a_foreign_rerun_keeps_its_bytes_and_gets_an_id() -> None:
    message = reruns.rerun(RAW + b"}", "m")
    job = wire.decode(message.payload, "m")
    assert message.payload == RAW + f',"id":"{job.id}","run":1}}'.encode()
    assert (message.id, message.queue, job.run, job.attempt) == (f"{job.id}\t1", "m", 1, 0)


def test_a_rerun_into_a_queue_that_can_not_be_written_is_refused() -> None:
    with pytest.raises(PayloadError, match=r"a queue that can't be written: '\\ud800'"):
        reruns.rerun(b'{"class":"a","queue":"\\ud800"}', "")


def test_a_rerun_needs_a_queue() -> None:
    assert reruns.rerun(b'{"class":"a","queue":"own"}', "").queue == "own"
    assert reruns.rerun(b'{"class":"a","queue":"own"}', "given").queue == "given"
    with pytest.raises(PayloadError, match="names no queue"):
        reruns.rerun(b'{"class":"a"}', "")
    with pytest.raises(PayloadError, match="names no queue"):
        reruns.rerun(b'{"class":"a","queue":5}', "")
