"""The policies of a pool's size on simulated hosts: how often the target was met, how much was too much, and how often it turned.

    python -m tests.torture.scaling [--policy load|multiworker|fixed] [--seed 1] [--json]

A simulated host has cores, memory, neighbours and a store; jobs arrive by a seeded Poisson process and wait in one queue.
Processes need a second to begin, share the cores fairly, and finish what they run when they are told to end. Where memory runs
out one is killed, and its jobs run again. Nothing is random but the arrivals and the lengths of jobs, and nothing is real but the
policies: they get what a real pool would tell them.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from spoolq.autoscale.load import Load
from spoolq.autoscale.multiworker import MultiWorker
from spoolq.autoscale.sample import Bounds, Broker, Decision, Host, Policy, Sample, Sight

STEP = 0.25
TARGET = 10.0
GIB = 1 << 30

Course = Callable[[float], float]


def steady(value: float) -> Course:
    """The same at all times."""
    return lambda at: value


def between(begin: float, end: float, inside: float, outside: float = 0.0) -> Course:
    """`inside` from `begin` to `end`, else `outside`."""
    return lambda at: inside if begin <= at < end else outside


@dataclass(frozen=True, slots=True)
class Scene:
    """What happens in `lasts` seconds. Courses are by time.

    arrive      jobs a second
    work        seconds of a core that a job takes, on the mean; wait: seconds in which it only waits, as for a network
    neighbours  cores that others would take
    eats        bytes that others take
    each        bytes that a process takes
    broker      how the store is; capacity: jobs a second that it can hand out, beyond which it answers late
    blind       whether nothing is seen of the store
    """

    name: str
    lasts: float
    arrive: Course
    work: float = 0.05
    wait: float = 0.2
    cores: float = 8.0
    neighbours: Course = field(default_factory=lambda: steady(0.0))
    memory: int = 16 * GIB
    eats: Course = field(default_factory=lambda: steady(0.0))
    each: int = GIB // 8
    broker: Callable[[float], Broker] = lambda at: "well"
    capacity: float = math.inf
    blind: Callable[[float], bool] = lambda at: False
    bounds: Bounds = field(default_factory=lambda: Bounds(1, 16))
    threads: int = 1


SCENES = [
    Scene("quiet", 900, steady(1.0)),
    Scene("burst", 900, between(120, 150, 60.0, 1.0)),
    Scene("sawtooth", 3600, lambda at: 40.0 * (at % 600) / 600),
    Scene("step up and down", 1800, between(300, 900, 30.0, 2.0)),
    Scene("jobs that compute", 1200, between(60, 360, 8.0), work=1.0, wait=0.0, cores=4.0),
    Scene("long jobs", 2400, between(60, 660, 0.4), work=0.5, wait=20.0),
    Scene("memory squeeze", 1500, steady(30.0), eats=between(500, 900, 15.2 * GIB, 4.0 * GIB), each=GIB // 4),
    Scene("noisy neighbour", 1800, between(0, 1500, 8.0), work=0.3, cores=4.0, neighbours=between(300, 900, 8.0)),
    Scene("sick broker", 1500, steady(20.0), broker=lambda at: "away" if 400 <= at < 700 else "well"),
    Scene("broker is the bottleneck", 1500, between(60, 1200, 40.0), capacity=25.0),
    Scene("blind monitoring", 1500, between(0, 1200, 20.0, 1.0), blind=lambda at: 300 <= at < 800),
]


@dataclass(slots=True)
class _Process:
    """`jobs`: the work and the wait that each still needs."""

    begins: float
    jobs: list[tuple[float, float]] = field(default_factory=list)
    leaving: bool = False


class Figures(NamedTuple):
    """met         share of the time in which no job had waited for longer than the target
    worst       seconds that a job had to wait at most
    most        processes at most
    over        process-seconds beyond what the offered load needs, by those
    turns       times that growing followed on shrinking, or shrinking on growing
    grown_sick  growths while the store was away, slow or not seen
    ended       jobs; left: jobs that were still waiting
    killed      processes, since memory ran out
    least_free  share of the memory that was left free at the worst
    """

    scene: str
    policy: str
    met: float
    worst: float
    most: int
    over: float
    turns: int
    grown_sick: int
    ended: int
    left: int
    killed: int
    least_free: float


class Fixed:
    """As many as may be, always: what one had without a policy."""

    name = "fixed"

    def decide(self, sample: Sample, bounds: Bounds) -> Decision:
        return Decision(bounds.most, "fixed")


POLICIES: dict[str, Callable[[], Policy]] = {
    "load": lambda: Load(target=TARGET, idle=60.0),
    "multiworker": lambda: MultiWorker(),
    "fixed": Fixed,
}


def run(scene: Scene, policy: Policy, seed: int = 1, trace: list[tuple[float, ...]] | None = None) -> Figures:
    """One simulation. `trace` gets a line of each second: time, wanted, working, backlog, age, share of the cores used."""
    rng = random.Random(seed)
    size, at = scene.bounds.least, 0.0
    processes = [_Process(0.0) for _ in range(size)]
    queue: deque[float] = deque()
    met = ended = turns = grown_sick = killed = 0
    direction = 0
    worst = spent = needed = 0.0
    most, least_free = size, 1.0
    stall = handed = wait = cpu = 0.0
    sight: Sight | None = None
    steps = int(scene.lasts / STEP)
    for step in range(steps):
        at = step * STEP
        queue.extend(at for _ in range(_poisson(rng, scene.arrive(at) * STEP)))
        broker = scene.broker(at)
        handed = min(handed + scene.capacity * STEP, scene.capacity) if scene.capacity < math.inf else math.inf
        refused = False

        def take(broker: str = broker) -> tuple[float, float] | None:
            nonlocal handed, refused
            if not queue or broker == "away":
                return None
            if handed < 1:
                refused = True
                return None
            handed -= 1
            queue.popleft()
            return scene.work * rng.expovariate(1.0), scene.wait * rng.expovariate(1.0)

        # a core is shared fairly by all that want one
        computing = sum(1 for process in processes for work, _ in process.jobs if work > 0)
        wanting = computing + scene.neighbours(at)
        share = min(1.0, scene.cores / wanting) if wanting else 1.0
        cpu += (min(1.0, wanting / scene.cores) - cpu) * STEP / 2
        stall += ((1.0 if share < 0.95 else 0.0) - stall) * STEP / 10
        held = 0.0  # seconds of threads in which they had a job
        for process in processes:
            if process.begins > at:
                continue
            jobs, process.jobs = process.jobs, []
            for thread in range(scene.threads):
                job, left = jobs[thread] if thread < len(jobs) else None, STEP
                while left > 0:
                    job = job or (None if process.leaving else take())
                    if job is None:
                        break
                    work, waits = job
                    takes = work / share + waits
                    if takes > left:
                        worked = min(work, left * share)
                        job = work - worked, waits - (left - worked / share)
                        held, left = held + left * (not process.leaving), 0.0
                    else:
                        job, held, left = None, held + takes * (not process.leaving), left - takes
                        ended += 1
                if job is not None:
                    process.jobs.append(job)
        wait += ((0.3 if refused else 0.001) - wait) * 0.1
        processes = [process for process in processes if process.jobs or not process.leaving]
        # what a pool would see
        staying = [process for process in processes if not process.leaving]
        ready = [process for process in staying if process.begins <= at]
        if scene.each * len(processes) + scene.eats(at) > scene.memory and processes:
            killed += 1
            victim = processes.pop(rng.randrange(len(processes)))
            queue.extendleft(at for _ in victim.jobs)
            staying = [process for process in staying if process is not victim]
            ready = [process for process in ready if process is not victim]
        used = scene.each * len(processes) + scene.eats(at)
        free = max(0, int(scene.memory - used))
        least_free = min(least_free, free / scene.memory)
        oldest = at - queue[0] if queue else None
        if step % 4 == 0 and not scene.blind(at):
            seen: Broker = broker if broker != "well" or wait <= 0.1 else "slow"
            sight = Sight(at, seen) if seen == "away" else Sight(at, seen, len(queue), oldest, wait)
        host = Host(
            cpu=cpu,
            cores=scene.cores,
            stall=stall,
            free=free,
            total=scene.memory,
            memory_stall=0.5 if used > scene.memory else 0.0,
        )
        busy = min(1.0, held / (STEP * scene.threads * len(ready))) if ready else 0.0
        sample = Sample(
            at=at,
            size=size,
            ready=len(ready),
            busy=busy,
            working=sum(bool(process.jobs) for process in ready),
            leaving=len(processes) - len(staying),
            ran=ended,
            threads=scene.threads,
            lag=0.0 if share >= 1.0 else 0.02 / share,
            each=scene.each,
            sight=sight,
            host=host,
        )
        before_size, size = size, policy.decide(sample, scene.bounds).size
        if size != before_size:
            now = 1 if size > before_size else -1
            turns += direction == -now
            direction = now
            sick = broker == "away" or scene.blind(at) or (sight is not None and sight.broker != "well")
            grown_sick += now > 0 and sick
        for _ in range(size - len(staying)):
            processes.append(_Process(at + 1.0))
        for process in sorted(staying, key=lambda one: (len(one.jobs), -one.begins))[: max(0, len(staying) - size)]:
            process.leaving = True
        # the account
        age = oldest or 0.0
        met += age <= TARGET
        worst = max(worst, age)
        most = max(most, len(processes))
        spent += len(processes) * STEP
        per_process = scene.threads / (scene.work + scene.wait)
        needed += max(1.0, min(float(scene.bounds.most), scene.arrive(at) / per_process)) * STEP
        if trace is not None and step % 4 == 0:
            trace.append((at, size, len(ready), len(queue), age, host.cpu or 0.0))
    return Figures(
        *(scene.name, policy.name, met / steps, worst, most, spent / needed - 1, turns, grown_sick),
        *(ended, len(queue), killed, least_free),
    )


def _poisson(rng: random.Random, mean: float) -> int:
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


def table(rows: list[Figures]) -> str:
    """For people, and for the docs."""
    lines = [
        "| scene | policy | target met | worst wait | most processes | beyond need | turns | killed | jobs done, left |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.scene} | `{row.policy}` | {row.met:.1%} | {row.worst:.0f} s | {row.most} | {row.over:+.0%} | {row.turns} |"
        f" {row.killed} | {row.ended:,}, {row.left:,} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", choices=sorted(POLICIES), action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = [run(scene, POLICIES[name](), given.seed) for scene in SCENES for name in given.policy or POLICIES]
    print(json.dumps([row._asdict() for row in rows]) if given.json else table(rows))


if __name__ == "__main__":
    main()
