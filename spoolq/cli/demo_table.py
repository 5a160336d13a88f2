"""The small table at the end of `spoolq demo`, counted from receipts and from what the runs left behind. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from spoolq.cli.demo_scene import Run
from spoolq.job import Receipt


class Row(NamedTuple):
    """One line: what was counted, how many, whether that is as it should be, and what is to be said of it."""

    name: str
    value: str
    good: bool
    remark: str = ""


def count(receipts: Sequence[Receipt], runs: Sequence[Run], jobs: int, slowest: float, bound: float, *, redis: bool) -> list[Row]:
    """The rows. `jobs`: how many should have been enqueued; `slowest` and `bound`: seconds, of an enqueue.

    A slow enqueue is told, but isn't wrong: on a machine that is busy enough everything is late.
    An id that was run under two fresh claims was queued twice. One that was run more often than that was claimed again after
    its worker died, or after its acknowledgement was lost.
    """
    accepted = {receipt.id for receipt in receipts}
    spooled = {receipt.id for receipt in receipts if receipt.route == "spool"}
    ran = Counter(run.id for run in runs)
    fresh = Counter(run.id for run in runs if run.fresh)
    local = {run.id for run in runs if run.local}
    drained = {run.id for run in runs if not run.local} & spooled - local
    lost, twice = len(accepted - ran.keys()), sum(times > 1 for times in fresh.values())

    rows = [Row("enqueued", f"{len(receipts):,}", len(accepted) == len(receipts) == jobs)]
    if redis:
        direct = len(accepted) - len(spooled)
        rows += [
            Row("  through Redis", f"{direct:,}", direct > 0),
            Row("  through the spool", f"{len(spooled):,}", bool(spooled)),
        ]
    rows.append(Row("run", f"{len(ran):,}", ran.keys() == accepted))
    if redis:
        rows += [
            Row("  run locally, straight from the spool", f"{len(local):,}", bool(local)),
            Row("  drained from the spool into Redis, and run from there", f"{len(drained):,}", True),
        ]
    return [
        *rows,
        Row("lost", f"{lost:,}", lost == 0),
        Row("queued twice", f"{twice:,}", twice == 0),
        Row("run again (a lost ack or a dead worker; allowed)", f"{ran.total() - len(ran):,}", True),
        Row(
            "slowest enqueue", f"{slowest * 1000:.1f} ms", True, "" if slowest <= bound else f"over {bound:g} s: a busy machine?"
        ),
    ]
