"""Templates, and how numbers, times and texts of foreign origin look in them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spoolq import units
from spoolq.dashboard.asking import link, octets
from spoolq.units import MANY

LONGEST = 2000  # characters of one value on a page, where the template doesn't say otherwise


def environment() -> Environment:
    """The templates of this package: everything is escaped, and nothing that isn't there is passed over."""
    env = Environment(
        loader=PackageLoader("spoolq.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "age": lambda seconds: "–" if seconds is None else units.say_age(seconds),
        "size": units.say_size,
        "jobs": units.jobs,
        "count": count,
        "rate": rate,
        "time": moment,
        "ago": ago,
        "short": short,
        "text": text,
        "hidden": hidden,
        "commands": commands,
        "percent": lambda share: f"{100 * share:.0f} %",
    }
    return env


def visible(value: Any) -> Any:
    """Whatever is put into a page: cut where it is huge, with control characters, and those that turn the direction of writing
    round, as their escapes."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return text(value, LONGEST)


def text(value: str, most: int = 200_000) -> Markup | str:
    """A long text with its lines (in `<pre>`): visible, and cut at `most` characters."""
    return Markup.escape(plain(value if len(value) <= most else f"{value[:most]}… ({len(value):,} characters)"))


def plain(value: str) -> str:
    """A text of which nothing is unseen: what isn't printable, but for tabs and ends of lines, as its escape."""
    return "".join(
        char if char in "\n\t" or char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in value
    )


def hidden(fields: Mapping[str, object]) -> Markup:
    """Fields of a form that bring back exactly these values: a name that was made visible would be another queue's. What a page
    can't hold as it is goes percent-encoded, as `~name`, which `serving` reads so."""
    shape, found = Markup('<input type="hidden" name="{}" value="{}">'), Markup("")
    for name, value in fields.items():
        cut = str(value)[:LONGEST]
        found += shape.format(name, cut) if cut.isprintable() else shape.format(f"~{name}", quote(octets(cut)))
    return found


def short(value: object, most: int = 60) -> str:
    """One line of a few words: for cells of tables."""
    line = re.sub(r"\s+", " ", "" if value is None else str(value)[: most * 4]).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def commands(value: str) -> Markup:
    """A sentence whose `commands` between backticks are set as such."""
    shapes = Markup("{}"), Markup("<code>{}</code>")
    return Markup("").join(shapes[at % 2].format(visible(part)) for at, part in enumerate(value.split("`")))


def count(number: int | None, most: int = MANY) -> str:
    """`1,234`; `100,000+` for what was counted up to a limit only; `–` for what isn't known."""
    return "–" if number is None else f"{most:,}+" if number > most else f"{number:,}"


def rate(a_second: float | None) -> str:
    """So many a second: `0`, `0.3`, `12`, `1,234`; `–` where that isn't known."""
    if a_second is None:
        return "–"
    return "0" if a_second < 0.05 else f"{a_second:.1f}" if a_second < 10 else f"{a_second:,.0f}"


def moment(at: float | None, words: str | None = None) -> Markup:
    """`<time>` of epoch seconds: in words where given, else the time of day in UTC, with the date where it is another day."""
    stamp = units.when(at)
    if stamp is None:
        return Markup("<span>{}</span>").format(words or "–")
    plain = stamp[:19].replace("T", " ")
    shown = words or (plain[11:] if plain[:10] == (units.when(time.time()) or "")[:10] else plain)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(stamp, plain, shown)


def ago(at: float | None, now: float | None = None) -> Markup:
    """`<time>` of epoch seconds as an age: `4 min 12 s ago`, `in 3 s`."""
    if at is None:
        return moment(None)
    left = at - (time.time() if now is None else now)
    return moment(at, f"in {units.say_age(left)}" if left > 0 else f"{units.say_age(-left)} ago")


class Links:
    """Addresses below a prefix, for one request."""

    def __init__(self, root: str) -> None:
        self.root = quote(root.rstrip("/"), safe="/~")

    def __call__(self, path: str, **query: object) -> str:
        """`url('/queue', name=queue)`."""
        return self.root + link(path, **query)
