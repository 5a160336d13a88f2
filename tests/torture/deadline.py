"""How long `enqueue` takes at worst where nothing answers: a black hole, a stopped server, a name server that says nothing.

    python -m tests.torture.deadline [--calls 10000] [--apps 4] [--threads 16] [--deadline 0.25]

Each call really waits for Redis: all of a round begin at once, before the first of them has failed and the breaker opens. The
network is two namespaces of its own (root). Afterwards it is healed, the spools are drained, and every acknowledged id must be in
Redis once. `late` is what of the wait was neither deadline, nor spool, nor time in which the machine didn't run the process.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.faults.recipes import FAULTS
from tests.faults.scene import Scene, Stage
from tests.servers import servers

STATES = (
    ("black hole", "cold"),
    ("black hole", "warm"),
    ("stopped", "cold"),
    ("stopped", "warm"),
    ("name server never answers", "cold"),
    ("three dead addresses", "cold"),
)


def run(calls: int, apps: int = 4, threads: int = 16, deadline: float = 0.25) -> dict[str, Any]:
    """So many calls, shared out among the states. Returns the figures, seconds; `wrong` lists ids that were lost or doubled."""
    rounds = -(-calls // (len(STATES) * apps * threads))
    figures: dict[str, Any] = {}
    ids: list[str] = []
    with tempfile.TemporaryDirectory(prefix="spoolq-") as folder, _scene() as scene:
        fresh = {"url": scene.url, "folder": folder, "apps": apps, "threads": threads, "deadline": deadline}
        for fault, state in STATES:
            seen = [_round(scene, fault, state == "warm", fresh) for _ in range(rounds)]
            figures[f"{fault}, {state}"] = _figures(seen, deadline)
            ids += [call["id"] for one in seen for call in one["calls"]]
        scene.caller.fresh(**fresh, warm=False)
        scene.caller.drain_all()
        figures["wrong"] = _wrong(scene.arrived(), ids)
    return figures


def held_by_the_library(seconds: float) -> bool:
    """The control: whether a client with redis-py's own settings is still in its `RPUSH` after so long in a black hole."""
    with _scene() as scene:
        assert scene.caller.stock_client(host=scene.network.NAME, port=scene.server.port)
        with FAULTS["black hole"].happens(scene):
            return bool(scene.caller.held(seconds=seconds))


@contextmanager
def _scene() -> Iterator[Scene]:
    stage = Stage({"newest": None}, "tests.torture.rush")
    try:
        with stage.scene(servers()[-1], "plain", "lab", "newest", 2, user=True) as scene:
            yield scene
    finally:
        stage.close()


def _round(scene: Scene, fault: str, warm: bool, fresh: dict[str, Any]) -> dict[str, Any]:
    if warm:
        scene.caller.fresh(**fresh, warm=True)
    with FAULTS[fault].happens(scene):
        if not warm:
            scene.caller.fresh(**fresh, warm=False)
        seen: dict[str, Any] = scene.caller.rush(threads=fresh["threads"])
    return seen


def _figures(rounds: list[dict[str, Any]], deadline: float) -> dict[str, Any]:
    took = sorted(call["took"] for one in rounds for call in one["calls"])
    late = [call["took"] - call["spooling"] - one["unscheduled"] - deadline for one in rounds for call in one["calls"]]
    return {
        "calls": len(took),
        "spooled": sum(call["route"] == "spool" for one in rounds for call in one["calls"]),
        "waited": sum(one >= deadline for one in took),
        "median": took[len(took) // 2],
        "p99": took[len(took) * 99 // 100],
        "worst": took[-1],
        "worst commit": max(call["spooling"] for one in rounds for call in one["calls"]),
        "most unscheduled": max(one["unscheduled"] for one in rounds),
        "late": max(late),
    }


def _wrong(arrived: Counter[str], ids: list[str]) -> list[str]:
    return [id for id in ids if not arrived[id]] + [id for id, times in arrived.items() if times > 1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture.deadline", description="the worst wait of enqueue")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--apps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=16, help="callers of each application")
    parser.add_argument("--deadline", type=float, default=0.25)
    told = parser.parse_args()
    figures = run(told.calls, told.apps, told.threads, told.deadline)
    for name, value in figures.items():
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in value.items()} if isinstance(value, dict) else value
        print(json.dumps({name: shown}))
    states = [value for value in figures.values() if isinstance(value, dict)]
    print(f"{sum(s['calls'] for s in states)} calls, the worst {max(s['worst'] for s in states):.3f} s", file=sys.stderr)
    return 1 if figures["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
