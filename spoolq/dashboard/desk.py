"""What all views share: the stores, the facts, what may be shown of a job's arguments, and the journal."""

from __future__ import annotations

import inspect
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spoolq import verdict
from spoolq.dashboard import journal
from spoolq.dashboard.cached import Cached
from spoolq.dashboard.draining import Drainage, Rate
from spoolq.dashboard.examining import Examination
from spoolq.dashboard.patience import impatient
from spoolq.dashboard.sampler import Sampler
from spoolq.dashboard.trends import Trends
from spoolq.errors import SpoolqError
from spoolq.facts import Facts, Side, gather
from spoolq.store.events import STALE
from spoolq.units import MANY

if TYPE_CHECKING:
    from spoolq.app import SpoolQ
    from spoolq.dashboard.access import Visitor

ASKING = 0.5  # seconds for a store's answer
BENEFIT = 0.5  # seconds more for one that answered the last time: this process, or the machine, may be the slow one
LEFT = ("handed_over", "duplicate")  # how a row leaves a spool for the primary, in the words of `spoolq.store.tally`
_NOTES, _NOTE_LASTS = 200, 120.0
_TOLD = ("name", "id", "key", "to", "in", "task", "queue", "class", "error", "since", "before")
"""Fields of a form that the journal may have: what jobs were searched for by their text is a part of their arguments."""
_SECRET = re.compile("passw(or)?d|passphrase|pwd|secret|token|authorization|bearer|apikey|accesskey|credential|cookie|private")
_BETWEEN = re.compile(r"[\W_]+")  # `api_key`, `X-Api-Key` and `apiKey` are one name


class Desk:
    """`authorize` and `redact` are those of `create_app`."""

    def __init__(
        self,
        q: SpoolQ,
        *,
        read_only: bool = False,
        authorize: Callable[[Visitor, str], bool] | None = None,
        redact: Callable[[str, Any], Any] | None = None,
    ) -> None:
        self.q, self.read_only = impatient(q), read_only
        self._authorize, self._redact = authorize, redact
        self.sampler = Sampler(self._look)
        self.drainer = Drainage(q)
        self.cached = Cached()
        self._rate, self._away = Rate(), False
        self.trends = Trends()
        self.examination = Examination(q)
        self._notes: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def _look(self) -> Facts:
        found = gather(self.q, ASKING, connect=0.0 if self._away else BENEFIT, most=MANY + 1)
        self._away = found.primary.state == "away"
        if found.lasting is not None and found.primary.state == "up" and self.q.spool is not None:
            with suppress(SpoolqError):  # whoever saw it may be gone: as a drainer says it
                self.q.spool.events.back(silent=STALE)
        with suppress(SpoolqError):
            self.trends.see(found, self.q.primary.counts() if found.primary.state in ("up", "refusing") else {})
        if found.spool is not None and found.spool.info is not None and self.q.spool is not None:
            with suppress(SpoolqError):  # a rate is no reason to show nothing
                counts = self.q.spool.counts().values()
                self._rate.see(time.monotonic(), sum(queue.get(word, 0) for queue in counts for word in LEFT))
        return found

    def rate(self) -> float | None:
        """Rows a second that left the spool for the primary lately, None where that isn't known."""
        return self._rate.value()

    def facts(self) -> Facts:
        """Both stores as they were a moment ago."""
        sample = self.sampler.latest()
        return _not_yet(self.q) if sample is None else sample.facts

    @staticmethod
    def judge(found: Facts) -> verdict.Verdict:
        """The sentence for the top of each page."""
        return verdict.judge(found)

    def may(self, visitor: Visitor, action: str) -> bool:
        """Whether this visitor may do that (`view`: see pages). In a thread: the hook may take its time."""
        if self._authorize is None:
            return True
        said = self._authorize(visitor, action)
        return bool(said) and not inspect.isawaitable(said)  # a promise of an answer is none, whatever it would have been

    def changed(self, visitor: Visitor, action: str, text: str, detail: Mapping[str, Any]) -> str:
        """Write an action to the journal, have the next page see it, and keep its sentence for that page. Returns the name of
        that note."""
        self.sampler.forget()
        self.cached.forget()
        self.record(visitor, action, text, **detail)
        key = secrets.token_urlsafe(9)
        self._notes[key] = time.monotonic(), text
        while len(self._notes) > _NOTES:
            self._notes.popitem(last=False)
        return key

    def broke(self, visitor: Visitor, action: str, error: Exception, form: Mapping[str, str]) -> None:
        """An action did not come to its end. Some of it may be done, so the journal has it all the same."""
        self.sampler.forget()
        self.cached.forget()
        why = str(error) if isinstance(error, SpoolqError) else type(error).__name__
        asked = {name: value[:200] for name, value in form.items() if name in _TOLD}
        self.record(visitor, action, f"{action} did not come to its end, some of it may be done: {why}", asked=asked)

    def note(self, key: str) -> str:
        """What an action said, for the page after it; empty once it is old, or for a name that isn't one."""
        at, text = self._notes.get(key, (float("-inf"), ""))
        return text if time.monotonic() - at < _NOTE_LASTS else ""

    def record(self, visitor: Visitor, action: str, text: str, **detail: Any) -> None:
        """Into the journal of this host, with who did it. What can't be written there is in the log."""
        journal.acted(self.q, visitor, action, text, detail)

    def shown_arguments(self, task: str, arguments: Any, most: int = 4000) -> str:
        """A job's arguments as text for its own page: through `redact`, with what looks like a secret taken out, cut to `most`
        characters. Lists of jobs show none."""
        if self._redact is not None:
            try:
                arguments = self._redact(task, arguments)
            except Exception as error:  # whose arguments they are must not be shown for it
                return f"(redact failed: {type(error).__name__})"
        text = json.dumps(_masked(arguments), ensure_ascii=False, default=str, indent=1)
        return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters)"


def _masked(value: Any, depth: int = 0) -> Any:
    if depth > 40:
        return "…"
    if isinstance(value, Mapping):
        return {
            str(key): "(hidden)" if _SECRET.search(_BETWEEN.sub("", str(key).lower())) else _masked(one, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(one, depth + 1) for one in value]
    return value


def _not_yet(q: SpoolQ) -> Facts:
    settings, error = q.settings, "not looked at yet"
    if settings.sqlite_path is not None:
        return Facts(Side("sqlite", str(settings.sqlite_path), "unreadable", error), None)
    spool = Side("spool", str(settings.spool_path), "unreadable", error)
    return Facts(Side("redis", settings.destination, "unreadable", error), spool)
