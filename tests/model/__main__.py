"""`python -m tests.model [STORY ...]`: every story holds, and each rule taken away breaks it. Exits 1 otherwise."""

from __future__ import annotations

import sys

from tests.model.explore import explore
from tests.model.stories import STORIES


def main(names: list[str]) -> int:
    good = True
    for story in [story for story in STORIES if not names or story.name in names]:
        found = explore(story)
        print(f"{story.name}: {found.broken or 'holds'}, {found.states:,} states{_way(found.way)}", flush=True)
        good = good and not found.broken
        for rule in story.rules:
            found = explore(story, rule)
            print(f"  without {rule}: {found.broken or 'NOTHING BREAKS'}, {found.states:,} states{_way(found.way)}", flush=True)
            good = good and bool(found.broken)
    return 0 if good else 1


def _way(way: tuple[str, ...]) -> str:
    return f"\n      {' > '.join(way)}" if way else ""


sys.exit(main(sys.argv[1:]))
