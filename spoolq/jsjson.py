"""JSON text as JavaScript would write it, and edits that leave the rest of a text alone.

Resque's peers in JavaScript find entries by the bytes of `JSON.stringify(JSON.parse(entry))`. The rules are ECMA-262's
Number::toString, OrdinaryOwnPropertyKeys and QuoteJSONString.
"""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring
from typing import Any, NoReturn

from spoolq.errors import PayloadError

SAFE = 2**53 - 1
"""The largest integer that JavaScript's numbers hold without doubt."""

NESTING = 98
"""How deep a job may be nested. Ruby's JSON reader stops at 100, and a worker's record or a failure adds a level around it."""

_WHITE = re.compile(r"[ \t\n\r]*")
# Possessive and unrolled: a round of the matcher for each character took 20 times as long over an argument of a megabyte
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING = re.compile(_TEXT)
_STRING_OR_WHITE = re.compile(rf"({_TEXT})|[ \t\n\r]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def parse(data: bytes | str) -> Any:
    """The value of a JSON text. Raises PayloadError for what isn't UTF-8 or JSON (NaN isn't), or can't be held."""
    try:
        text = data if isinstance(data, str) else data.decode()
        if text[:1] == "{":  # a job, as nearly all that comes here: without two searches for the white space around it
            value, end = _decoder.raw_decode(text)
            if end == len(text):
                return value
        return _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8: byte {data[error.start]!r} at {error.start}") from None
    except RecursionError:
        raise PayloadError("nested too deeply to be read") from None
    except ValueError as error:
        raise PayloadError(f"not JSON: {error}") from None


def fields(payload: bytes) -> dict[str, Any]:
    """The fields of a job's payload. Raises PayloadError unless it is a JSON object with a text `class`."""
    value = parse(payload)
    if not isinstance(value, dict):
        raise PayloadError(f"not a job: a JSON object is needed, this is {_kind(value)}")
    name = value.get("class")
    if not isinstance(name, str) or not name:
        raise PayloadError(
            f"not a job: `class` must be the task's name, {'it is ' + _kind(name) if 'class' in value else 'it is missing'}"
        )
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return ("an empty text" if value == "" else names.get(type(value))) or "a number"


def is_index(key: str) -> bool:
    """Whether JavaScript moves such a key to the front of its object (0 to 2^32 - 2, written plainly)."""
    return key.isascii() and key.isdigit() and len(key) <= 10 and (key[0] != "0" or key == "0") and int(key) < 2**32 - 1


def number(value: float) -> str:
    """A float as JavaScript writes it: `1` for 1.0, `0` for -0.0, `1e+21`, `1e-7`, `null` for what isn't finite."""
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    text = repr(float(value))
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return mantissa.removesuffix(".0")
    sign = "-" if value < 0 else ""
    digits = mantissa.lstrip("-").replace(".", "")
    point = int(exponent) + 1
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{mantissa}e{point - 1:+d}"


def stringify(value: Any) -> str:
    """What JSON.stringify makes of a value that `parse` gave (tuples count as lists)."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value) if -SAFE <= value <= SAFE else _big(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        items = value.items()
        if any(is_index(key) for key in value):
            items = sorted(items, key=_place_of)  # type: ignore[assignment]
        return "{" + ",".join([f"{_string(key)}:{stringify(item)}" for key, item in items]) + "}"
    return "[" + ",".join([stringify(item) for item in value]) + "]"


def _string(text: str) -> str:
    quoted = encode_basestring(text)
    # JSON.stringify is "well-formed": a lone surrogate, which UTF-8 can't hold, stays an escape
    return quoted if text.isascii() else _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold it: it has no lone surrogates, which JSON can name."""
    return _SURROGATE.search(text) is None


def clean(text: str) -> str:
    """The text with what UTF-8 can't hold (lone surrogates) written as an escape."""
    return text.encode(errors="backslashreplace").decode()


def _big(value: int) -> str:
    try:
        return number(float(value))
    except OverflowError:
        return "null"


def _place_of(item: tuple[str, Any]) -> int:
    return int(item[0]) if is_index(item[0]) else 2**32


def shallow(text: str | bytes, limit: int = NESTING) -> bool:
    """Whether a JSON text is nested no deeper than `limit`."""
    if isinstance(text, bytes):
        if text.count(b"[") + text.count(b"{") <= limit:
            return True
        text = text.decode()
    depth = 0
    for mark in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        if depth > limit:
            return False
    return True


def compact(text: str) -> str:
    """A JSON text without the white space between its parts; numbers and strings stay as they were written."""
    return _STRING_OR_WHITE.sub(r"\1", text)


def members(text: str) -> list[tuple[str, str, str]]:
    """The members of a JSON object's text, in order, doubles included: key, key as written, value as written."""
    found = []
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, key_end = _decoder.raw_decode(text, at)
        start = _skip(text, text.index(":", key_end) + 1)
        _, end = _decoder.raw_decode(text, start)
        found.append((key, text[at:key_end], text[start:end]))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    white = _WHITE.match(text, at)
    return white.end() if white else at


def edited(text: str, changes: dict[str, str | None]) -> str:
    """A JSON object's text with some members replaced (by JSON texts), added at the end, or removed (None). Whatever else it
    holds is kept as it was written, so that a number no Python float can hold survives."""
    pending = dict(changes)
    kept = []
    for key, raw_key, raw in members(text):
        new = pending.pop(key, None) if key in changes else raw
        if new is not None:
            kept.append(f"{raw_key}:{new}")
    kept += [f"{encode_basestring(key)}:{new}" for key, new in pending.items() if new is not None]
    return "{" + ",".join(kept) + "}"
