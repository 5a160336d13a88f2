"""The attempts at a job that ended badly, as they travel with it: bounded, and in JSON that JavaScript writes back byte for byte.

"history":[{"n":1,"at":1795511017.25,"exception":"ValueError","error":"boom","worker":"web1:4242","took":0.012}]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spoolq import jsjson
from spoolq.job import Attempt, Job
from spoolq.spans import LONGEST

TEXT = 200
"""Characters that are kept of an error's text, and of any other: the failure log has the last one in full."""

LAST = 9
"""Attempts that are kept beside the first one, the latest."""


def said(error: BaseException) -> str:
    """An error's text. Never raises, whatever the text of the user's own exception does."""
    try:
        return str(error)
    except Exception:
        return f"(its text can't be had: str() of this {type(error).__name__} raises)"


def ended(job: Job, error: BaseException, at: float, worker: str = "", took: float | None = None) -> Attempt:
    """The attempt at `job` that ended with `error` at `at` (epoch seconds), on `worker` (`host:pid`, empty where it isn't known)
    after `took` seconds (None where it isn't known, or the task was never called)."""
    return _bounded(Attempt(job.ended + 1, at, type(error).__name__, said(error), worker, took))


def added(history: Sequence[Attempt], attempt: Attempt) -> tuple[Attempt, ...]:
    """The history with one attempt more: of many, the first and the last nine are kept."""
    return _kept((*history, _bounded(attempt)))


def write(history: Sequence[Attempt]) -> str:
    """As JSON text."""
    return jsjson.stringify(written(history))


def written(history: Sequence[Attempt]) -> list[dict[str, Any]]:
    """As JSON's values: what isn't known is left out, times are rounded to a tenth of a millisecond."""
    return [_fields(_bounded(one)) for one in _kept(tuple(history))]


def read(value: object) -> tuple[Attempt, ...]:
    """The history in a field's value, whoever wrote it: what isn't one of ours counts as absent, as a whole or one by one."""
    if not isinstance(value, list):
        return ()
    found = [_attempt(one) for one in (value if len(value) <= 1 + LAST else [value[0], *value[-LAST:]])]
    return tuple(one for one in found if one is not None)


def _kept(history: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return history if len(history) <= 1 + LAST else (history[0], *history[-LAST:])


def _fields(one: Attempt) -> dict[str, Any]:
    fields: dict[str, Any] = {"n": one.number, "at": _plain(one.at), "exception": one.exception, "error": one.error}
    if one.worker:
        fields["worker"] = one.worker
    if one.took is not None:
        fields["took"] = _plain(one.took)
    return fields


def _plain(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _bounded(one: Attempt) -> Attempt:
    return Attempt(
        one.number, _rounded(one.at) or 0.0, _cut(one.exception), _cut(one.error), _cut(one.worker), _rounded(one.took)
    )


def _attempt(value: Any) -> Attempt | None:
    if not isinstance(value, dict):
        return None
    number, at, took = value.get("n"), _rounded(value.get("at")), _rounded(value.get("took"))
    texts = [value.get(name, "") for name in ("exception", "error", "worker")]
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < jsjson.SAFE:
        return None
    if at is None or not all(isinstance(text, str) for text in texts):
        return None
    exception, error, worker = map(_cut, texts)
    return Attempt(number, at, exception, error, worker, took)


def _rounded(value: Any) -> float | None:
    """Seconds with four decimals: smaller numbers Python and JavaScript write differently. None for what is no time."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LONGEST:  # NaN isn't in between either
        return None
    return round(float(value), 4)


def _cut(text: str) -> str:
    text = jsjson.clean(text[: TEXT + 1])
    return text if len(text) <= TEXT else f"{text[: TEXT - 1]}…"
