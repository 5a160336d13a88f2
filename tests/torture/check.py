"""The checker: set arithmetic over what producers logged and what arrived."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Log:
    """What the producers said: ids tried, acknowledged (by route), raised, and how long each call took in milliseconds."""

    tried: list[str] = field(default_factory=list)
    acknowledged: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Log:
        """All the producers' files together."""
        log = cls()
        for path in paths:
            for line in path.read_text().splitlines():
                match line.split():
                    case ["TRY", id]:
                        log.tried.append(id)
                    case ["ACK", id, route, took]:
                        log.acknowledged[id] = route
                        log.took.append(float(took))
                    case ["ERR", id, kind, took]:
                        log.raised[id] = kind
                        log.took.append(float(took))
        return log


def verdict(log: Log, arrived: Counter[str]) -> dict[str, list[str]]:
    """Each broken invariant with the ids that break it; empty lists where it holds."""
    seen = arrived.keys()
    return {
        "1 lost: acknowledged, and not arrived": sorted(log.acknowledged.keys() - seen),
        "2 arrived twice": sorted(id for id, count in arrived.items() if count > 1),
        "3 arrived, neither acknowledged nor raised as unknown": sorted(
            id for id in seen - log.acknowledged.keys() if log.raised.get(id) != "MaybeStored"
        ),
        "4 arrived, never tried": sorted(seen - set(log.tried)),
    }


def long_form(name: str, doc: str | None, run: Callable[..., dict[str, Any]], **options: int) -> int:
    """`python -m tests.torture.NAME`: one run with these numbers, which the command line may change. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.torture.{name}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, default in options.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    figures = run(**vars(parser.parse_args()))
    stderr = figures.pop("stderr")
    for what, value in figures.items():
        print(f"{what:<20} {str(value)[:300]}")
    bad = any(figures[what] for what in ("broken", "left", "failures", "tracebacks")) or any(figures["exits"])
    if bad:
        print(stderr)
    return 1 if bad else 0
