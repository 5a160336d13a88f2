"""What a view is asked and what it answers: data, without a word of HTTP. A file in `views/` has a tuple `VIEWS` and a tuple
`ACTIONS` of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor
    from spoolq.dashboard.desk import Desk
    from spoolq.facts import Facts


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, for a view. It runs in a thread, so it may ask stores; for longer than `serving.LONGEST` nobody waits.

    desk     what all views share: `desk.q`, `desk.read_only`, `desk.shown_arguments(…)`
    facts    both stores as they were a moment ago (see `spoolq.facts`); never asked for anew by a view
    visitor  who asks
    query    of the address, the last one of each name; form: of the body, where it is a POST
    """

    desk: Desk
    facts: Facts
    visitor: Visitor
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def q(self) -> SpoolQ:
        """The application object."""
        return self.desk.q

    def back(self, default: str) -> str:
        """Where a form wants to go afterwards, in its field `back`."""
        return local(self.form.get("back", ""), default)

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 0 to `most` of the query; the default where it is none."""
        text = self.query.get(name, "")
        return min(int(text), most) if text.isascii() and text.isdigit() and len(text) < 19 else default


@dataclass(frozen=True, slots=True)
class Answer:
    """A page: its template, what the template is given, and the same as a JSON document (`"schema": 1` is added)."""

    template: str
    title: str
    shows: Mapping[str, Any]
    document: Mapping[str, Any]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Done:
    """A change that was made (or, not `changed`, found made already): a sentence, where the page is to go then (a path as in
    `link`), and what else a JSON answer and the journal say of it."""

    text: str
    back: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Download:
    """A file instead of a page: parts of its body, made as they are sent."""

    name: str
    kind: str
    parts: Any


@dataclass(frozen=True, slots=True)
class Confirm:
    """What is asked before a change: a sentence that names the count, the word on the button, and for what destroys, the text
    that has to be typed. `these`: which ones were counted (`picking.marks`), where others may fit once it is confirmed."""

    question: str
    button: str
    typed: str = ""
    these: str | None = None


class NotThere(Exception):
    """What was asked for isn't there: the text says what, and where to look."""


class Refused(Exception):
    """The change can't be made, or what was given makes no sense: the text says why, and that nothing was changed."""


class View(NamedTuple):
    """A page at `path`. `name`: how links and `authorize` know it; `label`: its word in the navigation, empty for a page that
    others link to."""

    name: str
    path: str
    show: Callable[[Ask], Answer]
    label: str = ""


class Action(NamedTuple):
    """A change by POST to `path`. `name` is what the journal and `authorize` are told (`queue.pause`). `confirm`: what is asked
    first, None for this ask where nothing needs to be."""

    name: str
    path: str
    do: Callable[[Ask], Done | Download]
    confirm: Callable[[Ask], Confirm | None] | None = None


def local(text: str, default: str) -> str:
    """A path of the dashboard's own, with its query, to go back to, as a form brought it; the default for anything else, such as
    another site's address."""
    fits = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable() and len(text) < 4000
    return text if fits else default


def link(path: str, **query: object) -> str:
    """A path with its query, to be put behind the prefix (templates: `{{ url('/queue', name=queue) }}`). Names of queues and ids
    of jobs go into the query, never into the path: they may hold anything."""
    given = {name: octets(str(value)) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def octets(text: str) -> bytes:
    """A name as it goes into an address, percent-encoded."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which JSON can name
        return text.encode("utf-8", "surrogatepass")
