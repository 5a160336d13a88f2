"""A job's way through files, to be watched from outside: `python -m tests.costs.strokes FOLDER DEPTH`.

In each file DEPTH jobs wait before. Each step is announced by a line in FOLDER/marks; `end` is nobody's. What is called `many` is
done once for MANY jobs, all else JOBS times. `twice`, `unsynced` and `all` are the controls: a second write for each job, commits
that nobody waits for the disk with, and a look at every row of the first file.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from spoolq import SpoolQ
from spoolq.job import new_id
from spoolq.store.sqlite import SQLiteStore, driver
from tests.contract.hands import Hand, messages, worker

JOBS, MANY = 20, 100
PATIENT = 60.0


def main(folder: Path, depth: int) -> None:
    for name, role in (("jobs.db", "primary"), ("spool.db", "spool")):
        with closing(SQLiteStore(folder / name, role=role, timeout=PATIENT, min_free=0)) as store:
            for start in range(0, depth, 1000):
                deep = messages(*(new_id() for _ in range(start, min(start + 1000, depth))), queue="mail")
                (store.spool if role == "spool" else store.put)(deep)
    marks = os.open(folder / "marks", os.O_WRONLY | os.O_CREAT)

    def mark(what: str) -> None:
        os.write(marks, f"{what}\n".encode())

    with SpoolQ(f"sqlite:///{folder}/jobs.db", disk_limit=PATIENT) as q:
        send = q.remote("send", "mail")
        hand = Hand(q.primary, queues=("mail",))
        send.enqueue()
        hand.claim(1)  # the file is there, the worker is known
        mark("enqueue")
        for _ in range(JOBS):
            send.enqueue()
        mark("enqueue many")
        q.enqueue_many([send.job() for _ in range(MANY)])
        mark("claim many")
        claims = hand.claim(MANY // 2)
        mark("ack and claim many")
        claims = hand.claim(MANY // 2, ack=claims)
        mark("ack many")
        q.primary.ack(claims)
        mark("end")
        claims = hand.claim(JOBS)
        mark("ack")
        for claim in claims:
            q.primary.ack([claim])
        mark("twice")
        for n in range(JOBS):
            send.enqueue()
            q.primary.set_meta("last", str(n))
        mark("all")
        with closing(driver.connect(str(folder / "jobs.db"), PATIENT)) as connection:
            connection.execute("SELECT count(*) FROM jobs WHERE payload = 'none'").fetchone()
        mark("end")
    with closing(SQLiteStore(folder / "unsynced.db", synchronous="NORMAL", timeout=PATIENT, min_free=0)) as store:
        store.put(messages("first"))
        mark("unsynced")
        for n in range(JOBS):
            store.put(messages(f"job-{n}"))
        mark("end")
    with SpoolQ("redis://127.0.0.1:1/0", spool=folder / "spool.db", spool_min_free=0, disk_limit=PATIENT) as q:
        send = q.remote("send", "mail")
        assert q.spool is not None
        for _ in range(2):  # the outage has begun, and is written down
            assert send.enqueue().route == "spool"
        mark("spool")
        for _ in range(JOBS):
            send.enqueue()
        mark("spool many")
        q.enqueue_many([send.job() for _ in range(MANY)])
        drainer = worker("drainer", kind="drainer")
        mark("take many")
        taken = q.spool.take(drainer, MANY // 2, 1 << 20, q.spool.now() + PATIENT)
        mark("hand over and take many")
        taken, _ = q.spool.exchange(taken, drainer, MANY, 1 << 20, q.spool.now() + PATIENT)
        mark("hand over many")
        q.spool.handed_over(taken)
        mark("end")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
