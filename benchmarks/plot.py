"""What grows with depth, queues, workers, threads and processes, drawn as SVG from the figures of a run."""

from __future__ import annotations

import json
import math
import re
from html import escape
from pathlib import Path

Points = list[tuple[float, float]]
Series = dict[tuple[str, str], Points]
"""By what is measured and who: (how many, jobs a second), fewest first."""

AXES = {
    "jobs wait": "jobs that wait in the queue",
    "rows": "rows in the spool",
    "queues": "queues",
    "workers": "workers",
    "threads": "threads that enqueue",
    "processes": "processes that enqueue",
}
ALONE = ("queues", "workers", "threads", "processes")  # of which the row without a number has one
COLOURS = (("#0b63b0", "#6cb3f2"), ("#b3440b", "#f2a06c"), ("#2f7d32", "#8fd693"))  # on a light page, on a dark one
WIDE, HIGH, LEFT, TOP, GAP = 300, 150, 74, 58, 70
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.axis{stroke:#8c959f;fill:none}"
    ".grid{stroke:#8c959f;stroke-opacity:.3}polyline{fill:none;stroke-width:2}.limit{stroke-dasharray:3 4}"
)


def growth(rows: list[dict[str, object]]) -> dict[str, Series]:
    """By axis. Rows are as in the file of the figures; who isn't spoolq is the raw limit, others are left out."""
    medians = {str(row["name"]): _medians(row) for row in rows if row["figure"] == "per_second"}
    found: dict[str, Series] = {}
    for name, each in medians.items():
        match = re.fullmatch(rf"(.*), ([\d,]+) ({'|'.join(AXES)})", name)
        if not match:
            continue
        what, number, axis = match[1], float(match[2].replace(",", "")), match[3]
        for who, figure in each.items():
            line = found.setdefault(axis, {}).setdefault((what, who), [])
            alone = medians.get(what) or medians.get(f"{what}, one caller", {})
            if not line and axis in ALONE and who in alone:
                line.append((1.0, alone[who]))
            line.append((number, figure))
    return {
        axis: {key: sorted(line) for key, line in found[axis].items() if len(line) > 1}
        for axis in AXES
        if any(len(line) > 1 for line in found.get(axis, {}).values())
    }


def draw(path: Path) -> str:
    """The plots of a file of figures, one for each axis. Raises ValueError where it has none."""
    kept = json.loads(path.read_text())
    axes = growth(kept["rows"])
    if not axes:
        raise ValueError(f"{path}: no row was measured at two sizes; `python -m benchmarks full` does")
    width = 2 * (LEFT + WIDE) + GAP
    parts, down = [], 26
    names = list(axes)
    for pair in (names[start : start + 2] for start in range(0, len(names), 2)):
        most = max(len({what for what, _ in axes[axis]}) for axis in pair)
        for column, axis in enumerate(pair):
            parts.append(f'<g transform="translate({LEFT + column * (WIDE + GAP + 20)},{down + TOP + 16 * most})">')
            parts += [*_panel(axis, axes[axis]), "</g>"]
        down += TOP + 16 * most + HIGH + 60
    about = kept["about"]
    said = ", ".join(f"{name} {about.get(name, '?')}" for name in ("date", "commit", "share", "cores", "load"))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {down + 10}" width="{width}" role="img">',
            f"<title>Jobs a second against {', '.join(AXES[axis] for axis in axes)}</title>",
            f"<style>{STYLE}{_colours(0)}@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}{_colours(1)}}}</style>",
            '<text x="10" y="18">Jobs a second. Solid: spoolq. Dotted: the raw limit, which promises nothing.</text>',
            *parts,
            f'<text x="10" y="{down}">{escape(said)}</text>',
            "</svg>\n",
        )
    )


def _medians(row: dict[str, object]) -> dict[str, float]:
    contenders: dict[str, dict[str, float]] = row["contenders"]  # type: ignore[assignment]
    found: dict[str, float] = {}
    for name, figures in contenders.items():
        if (who := name.split(",")[0]) in ("spoolq", "raw"):
            found.setdefault(who, figures["median"])  # the first: several processes of a worker stand behind it
    return found


def _panel(axis: str, series: Series) -> list[str]:
    """Both scales are logarithmic."""
    xs = [x for line in series.values() for x, _ in line]
    ys = [y for line in series.values() for _, y in line]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    high += low == high
    first, last = math.log10(min(xs)), math.log10(max(xs))

    def at(x: float, y: float) -> tuple[float, float]:
        return (math.log10(x) - first) / (last - first) * WIDE, HIGH - (math.log10(y) - low) / (high - low) * HIGH

    drawn = [
        f'<path class="axis" d="M0 0V{HIGH}H{WIDE}"/>',
        f'<text x="{WIDE / 2}" y="{HIGH + 36}" text-anchor="middle">{AXES[axis]}</text>',
    ]
    for power in range(low, high + 1):
        y = at(min(xs), 10.0**power)[1]
        drawn.append(f'<path class="grid" d="M0 {y:.1f}H{WIDE}"/>')
        drawn.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for x in sorted(set(xs)):
        drawn.append(f'<text x="{at(x, ys[0])[0]:.1f}" y="{HIGH + 18}" text-anchor="middle">{x:,.0f}</text>')
    whats = list(dict.fromkeys(what for what, _ in series))
    for (what, who), line in series.items():
        number = whats.index(what)
        points = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in line)
        drawn.append(f'<polyline class="line{number}{"" if who == "spoolq" else " limit"}" points="{points}"/>')
    for number, what in enumerate(whats):
        drawn.append(f'<text class="title text{number}" x="0" y="{-8 - 16 * (len(whats) - 1 - number)}">{escape(what)}</text>')
    return drawn


def _colours(page: int) -> str:
    return "".join(
        f".line{number}{{stroke:{one[page]}}}text.text{number}{{fill:{one[page]}}}" for number, one in enumerate(COLOURS)
    )
