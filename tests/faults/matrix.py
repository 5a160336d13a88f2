"""Every fault on a cold and a warm connection, RESP2 and RESP3, the oldest and the newest redis-py, and each server found.

python -m tests.faults.matrix                  the full product; one line each, and what was wrong
python -m tests.faults.matrix --pairs --seed 7 what the test-suite runs: each pair of values once at least
python -m tests.faults.matrix --only stopped   of this fault alone
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.drivers import OLDEST, redis_py
from tests.faults import lab
from tests.faults.recipes import FAULTS
from tests.faults.scene import NAMESPACE, Scene, Stage
from tests.faults.table import Outcome, expected
from tests.servers import Binary, servers
from tests.waiting import eventually

DEADLINE = 0.25
TRIES = (DEADLINE, DEADLINE, DEADLINE, 1.0, 2.0)
SLACK = 0.03  # seconds for all that is neither Redis's nor the spool's part of a call
DRIVERS = ("oldest", "newest")
PROTOCOLS = (2, 3)


class Case(NamedTuple):
    """One square of the matrix."""

    fault: str
    state: str
    driver: str
    server: str
    protocol: int

    def __str__(self) -> str:
        return f"{self.fault}-{self.state}-{self.driver}-{self.server}-resp{self.protocol}"


@dataclass
class Report:
    """What was seen. `late` is by how many seconds the call outlasted what it had, in the worst case. `starved`: it ran into its
    deadline where something else was to be met, or Redis took the job where the fault lasts for seconds only, which a machine
    that is too busy brings about as well."""

    case: Case
    answers: list[dict[str, Any]] = field(default_factory=list)
    seen: Outcome | None = None
    took: float = 0.0
    late: float = float("-inf")
    starved: bool = False
    complaints: list[str] = field(default_factory=list)


def product(found: Sequence[Binary], faults: Sequence[str] = ()) -> list[Case]:
    """All squares."""
    ids = [binary.id for binary in found]
    return [
        Case(*values)
        for fault in faults or FAULTS
        for values in itertools.product([fault], FAULTS[fault].states, DRIVERS, ids, PROTOCOLS)
    ]


def pairs(cases: Sequence[Case], seed: int) -> Iterator[Case]:
    """As few of them, for each fault, as have each pair of values that there is; which, the seed decides."""
    rng = random.Random(seed)
    for _, group in itertools.groupby(cases, lambda case: case.fault):
        squares = list(group)
        rng.shuffle(squares)
        missing = {pair for square in squares for pair in _pairs(square)}
        while missing:
            best = max(squares, key=lambda square: len(missing & _pairs(square)))
            missing -= _pairs(best)
            yield best


def _pairs(case: Case) -> set[tuple[tuple[int, object], ...]]:
    """Pairs with the fault in them: those of the other values come along."""
    return {((0, case.fault), (place, value)) for place, value in enumerate(case) if place}


def settled(stage: Stage, case: Case, folder: Path) -> Report:
    """`run`, again where the machine may have been too busy to get as far as the fault, in the end with a longer deadline, which
    is held as well: redis-py alone reads certificates for 50 ms before it speaks TLS. A brief fault would be over by then."""
    for number, deadline in enumerate(TRIES):
        given = DEADLINE if FAULTS[case.fault].brief else deadline
        report = run(stage, case, folder / str(number), deadline=given)
        if not report.starved:
            break
    return report


def run(stage: Stage, case: Case, folder: Path, *, wrong: str = "", deadline: float = DEADLINE) -> Report:
    """Cause the fault, look, heal, drain, and count. `wrong` names a set-up that should be complained of."""
    fault = FAULTS[case.fault]
    report = Report(case)
    folder.mkdir(exist_ok=True)
    binary = next(binary for binary in servers() if binary.id == case.server)
    with stage.scene(binary, fault.kind, fault.via, case.driver, case.protocol, fault.user) as scene:
        settings = {"namespace": NAMESPACE, "deadline": deadline, "disk_limit": 30.0, **fault.settings}
        scene.caller.open(url=scene.url, spool=str(folder / "spool.db"), wrong=wrong, **settings)
        accepted = scene.caller.warm() if case.state == "warm" else []
        with fault.happens(scene):
            report.answers = scene.caller.enqueue(queue="work", argument=fault.argument, threads=fault.threads)
            facts, applied = scene.caller.facts(), _applied(scene, report)
            later = scene.caller.enqueue(queue="work", argument="a later one")
            if fault.drained:
                scene.caller.turn()
        eventually(scene.server.ping, what="a server that answers")
        if applied is None:
            applied = _applied(scene, report)
        accepted += scene.caller.warm()  # live traffic finds its way back by itself
        scene.caller.drain()
        _judge(report, facts, bool(applied), later, deadline)
        accepted += [answer["id"] for answer in (*report.answers, *later) if answer["route"] in ("primary", "spool")]
        _count(report, scene, accepted)
    return report


def _applied(scene: Scene, report: Report) -> bool | None:
    """Whether Redis has the first job now; None where it can't be asked."""
    if not scene.server.running or not scene.server.ping(0.1).startswith(b"+PONG"):
        return None
    try:
        return scene.arrived()[report.answers[0]["id"]] > 0
    except Exception:  # LOADING, MASTERDOWN and the like
        return None


def _judge(report: Report, facts: dict[str, Any], applied: bool, later: Sequence[dict[str, Any]], deadline: float) -> None:
    """Compare with the table, and the time with the deadline."""
    wanted = expected(report.case.fault, report.case.state)
    said = facts["said"][0] if facts["said"] else ("", False, False)
    report.seen = Outcome(report.answers[0]["route"], said[0], facts["in_doubt"] > 0, applied, bool(facts["opened"]))
    missed = FAULTS[report.case.fault].brief and report.seen.route == "primary"
    report.starved = report.seen not in wanted and (missed or said[0] in ("timeout", "connect_timeout"))
    if report.seen not in wanted:
        report.complaints.append(f"the table says {' or '.join(map(str, wanted))}; seen was {report.seen}")
    if facts["opened"] and facts["opened"][0] != said[0]:
        report.complaints.append(f"the breaker opened for {facts['opened'][0]}, the primary's refusal was {said[0]}")
    for answer in (*report.answers, *later):
        late = answer["took"] - answer["spooling"] - answer["unscheduled"] - deadline
        report.took, report.late = max(report.took, answer["took"]), max(report.late, late)
        if late > SLACK:
            report.complaints.append(f"it outlasted the deadline by {late:.3f} s: {answer}")


def _count(report: Report, scene: Scene, accepted: Sequence[str]) -> None:
    """Each id that was acknowledged is in Redis once, and no id twice."""
    counts = scene.arrived()
    lost = [id for id in accepted if not counts[id]]
    doubled = {id: n for id, n in counts.items() if n > 1}
    if lost:
        report.complaints.append(f"lost: {lost}")
    if doubled:
        report.complaints.append(f"queued twice: {doubled}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description="the matrix of faults")
    parser.add_argument("--pairs", action="store_true", help="each pair of values once at least, not every combination")
    parser.add_argument("--seed", type=int, default=1, help="which combinations, with --pairs")
    parser.add_argument("--only", action="append", default=[], choices=list(FAULTS), help="this fault (may be repeated)")
    parser.add_argument("--json", action="store_true", help="a line of JSON each")
    told = parser.parse_args(arguments)
    names = [name for name in told.only or FAULTS if FAULTS[name].via != "lab" or lab.possible()]
    if len(names) < len(told.only or FAULTS):
        print(f"without the faults of the network, which this {lab.MISSING}", file=sys.stderr)
    cases = product(servers(), names)
    chosen = list(pairs(cases, told.seed)) if told.pairs else cases
    stage = Stage({"oldest": redis_py(OLDEST), "newest": None})
    wrong = 0
    try:
        for case in chosen:
            with tempfile.TemporaryDirectory(prefix="spoolq-") as folder:
                began = time.monotonic()
                try:
                    report = settled(stage, case, Path(folder))
                except Exception as error:
                    report = Report(case, complaints=[f"{type(error).__name__}: {error}"])
            wrong += bool(report.complaints)
            _print(report, time.monotonic() - began, told.json)
    finally:
        stage.close()
    print(f"{len(chosen)} cases, {wrong} with complaints", file=sys.stderr)
    return 1 if wrong else 0


def _print(report: Report, whole: float, as_json: bool) -> None:
    seen = report.seen._asdict() if report.seen else None
    if as_json:
        facts = {**report.case._asdict(), "seen": seen, "took": report.took, "late": report.late, "wrong": report.complaints}
        print(json.dumps(facts), flush=True)
    else:
        print(
            f"{'BAD' if report.complaints else 'ok ':3} {report.took:6.3f} s of {whole:6.3f}  {report.case}",
            *report.complaints,
            sep="\n    ",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
