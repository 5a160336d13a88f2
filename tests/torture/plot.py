"""Lines over time as an SVG file, by hand: panels below each other, each with its own scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 110, 58, 26, 34
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37")


class Line(NamedTuple):
    """Values at the times of the plot; None where there is none. `steps`: it jumps, as numbers of things do."""

    label: str
    values: Sequence[float | None]
    steps: bool = False


class Panel(NamedTuple):
    """Lines that share a scale from 0 to `most`, by default their own most."""

    title: str
    lines: Sequence[Line]
    most: float | None = None


def svg(times: Sequence[float], panels: Sequence[Panel], title: str) -> str:
    """The picture as text."""
    height = TOP + len(panels) * (HEIGHT + GAP) + 6
    span = math.ceil(max(times) / 6) * 6 or 6
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 24} {height}"'
        ' font-family="sans-serif" font-size="11">',
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        top = TOP + number * (HEIGHT + GAP)
        found = [value for line in panel.lines for value in line.values if value is not None]
        most = panel.most or _round(max(found, default=1.0))
        out.append(f'<text x="{LEFT}" y="{top - 8}" font-weight="bold" fill="#24292f">{escape(panel.title)}</text>')
        for part in range(3):
            y, value = top + HEIGHT * (1 - part / 2), most * part / 2
            out.append(f'<path d="M{LEFT} {y:.1f}H{LEFT + WIDTH}" stroke="#d8dee4"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#57606a">{value:g}</text>')
        legend = LEFT + WIDTH
        for index, line in reversed(list(enumerate(panel.lines))):
            colour = COLOURS[index % len(COLOURS)]
            out.append(f'<text x="{legend}" y="{top - 8}" text-anchor="end" fill="{colour}">{escape(line.label)}</text>')
            legend -= 7 * len(line.label) + 14
        for index, line in enumerate(panel.lines):
            out.append(
                f'<path d="{_path(times, line, span, most, top)}" fill="none" stroke="{COLOURS[index % 3]}" stroke-width="1.6"/>'
            )
    bottom = TOP + len(panels) * (HEIGHT + GAP) - GAP
    for part in range(7):
        x = LEFT + WIDTH * part / 6
        out.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#57606a">{span * part // 6} s</text>')
    return "\n".join([*out, "</svg>", ""])


def _path(times: Sequence[float], line: Line, span: float, most: float, top: float) -> str:
    parts, pen, before = [], "M", None
    for at, value in zip(times, line.values, strict=True):
        if value is None:
            pen, before = "M", None
            continue
        x, y = LEFT + WIDTH * at / span, top + HEIGHT * (1 - min(value, most) / most)
        if line.steps and before is not None:
            parts.append(f"H{x:.1f}")
        parts.append(f"{pen}{x:.1f} {y:.1f}")
        pen, before = "L", value
    return "".join(parts)


def _round(value: float) -> float:
    """The next number that reads well."""
    for step in (1, 2, 4, 5, 10, 20, 40, 50, 100, 200, 400, 500, 1000, 2000, 5000, 10_000):
        if value <= step:
            return float(step)
    return value
