"""Whether values can go through JSON unchanged; and if not, where the one is that can't, and what to send instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from spoolq.errors import PayloadError
from spoolq.jsjson import SAFE, is_index

DEPTH = 90
"""How deep an argument may be nested. Ruby's JSON reader stops at 100; the job, and the failure around it, take some of that."""

_PLAIN = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})

_INSTEAD = {
    "datetime": "{}.isoformat()",
    "date": "{}.isoformat()",
    "time": "{}.isoformat()",
    "timedelta": "{}.total_seconds()",
    "Decimal": "str({})",
    "Fraction": "str({})",
    "UUID": "str({})",
    "set": "sorted({})",
    "frozenset": "sorted({})",
    "bytes": "base64.b64encode({}).decode()",
    "bytearray": "base64.b64encode({}).decode()",
    "memoryview": "base64.b64encode({}).decode()",
    "complex": "[{0}.real, {0}.imag]",
    "range": "list({})",
    "generator": "list({})",
    "map": "list({})",
    "filter": "list({})",
    "zip": "list({})",
    "deque": "list({})",
    "dict_keys": "list({})",
    "dict_values": "list({})",
    "dict_items": "dict({})",
    "mappingproxy": "dict({})",
    "ndarray": "{}.tolist()",
}


def suspicious(values: Iterable[Any], room: int = DEPTH) -> bool:
    """Whether `check` must look at these. Quick, at C speed for flat values; finds what json would alter without a word
    (keys that aren't text) and what is nested too deeply, and leaves to json what json refuses by itself."""
    if _PLAIN.issuperset(map(type, values)):
        return False
    if not room:
        return True
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind is dict:
            if not _TEXT.issuperset(map(type, value)) or suspicious(value.values(), room - 1):
                return True
        elif kind is list or kind is tuple:
            if suspicious(value, room - 1):
                return True
        else:
            return True
    return False


def check(value: Any, place: str, *, javascript: bool = False, room: int = DEPTH, _inside: tuple[int, ...] = ()) -> None:
    """Raise PayloadError, naming the place and what to send instead, unless JSON holds the value unchanged.

    With `javascript`, also unless JavaScript would write it back the same: no integers beyond ±(2^53 - 1), no keys it reorders.
    """
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, int):
        _check_integer(value, place, javascript)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PayloadError(f"{place}: {value} is not JSON; send None or a text")
    elif isinstance(value, dict | list | tuple):
        if id(value) in _inside:
            raise PayloadError(f"{place}: it contains itself, which JSON can't hold")
        if not room:
            raise PayloadError(f"{_short(place)}: nested more than {DEPTH} levels deep; send it flatter, or as one text")
        inside = (*_inside, id(value))
        if isinstance(value, dict):
            _check_keys(value, place, javascript)
            pairs: Iterable[tuple[Any, Any]] = ((f'"{key}"', item) for key, item in value.items())
        else:
            pairs = enumerate(value)
        for key, item in pairs:
            check(item, f"{place}[{key}]", javascript=javascript, room=room - 1, _inside=inside)
    else:
        raise PayloadError(f"{place}: {_kind(value)} is not JSON; send {_instead(value, place)}")


def _check_text(value: str, place: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PayloadError(
            f"{place}: a lone surrogate ({value[error.start]!a} at {error.start}) can't be sent as UTF-8; "
            f"send {_name(place)}.encode(errors='replace').decode()"
        ) from None


def _check_integer(value: int, place: str, javascript: bool) -> None:
    if javascript and not -SAFE <= value <= SAFE:
        raise PayloadError(f"{place}: JavaScript would round an integer beyond ±(2^53 - 1); send str({_name(place)})")
    try:
        int.__repr__(value)
    except ValueError as error:
        raise PayloadError(f"{place}: the integer is too long ({error}); send hex({_name(place)})") from None


def _check_keys(value: Mapping[Any, Any], place: str, javascript: bool) -> None:
    for key in value:
        if not isinstance(key, str):
            raise PayloadError(
                f"{place}: the key {_short(repr(key))} is {_kind(key)}, JSON has only text for keys; send {{str(key): …}}"
            )
        _check_text(key, f"{place}, a key")
        if javascript and is_index(key):
            raise PayloadError(
                f'{place}: JavaScript would move the key "{key}" to the front; send a list of pairs, or another key'
            )


def _kind(value: Any) -> str:
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "datetime") else f"{module}.{kind.__qualname__}"


def _instead(value: Any, place: str) -> str:
    name = _name(place)
    for kind in type(value).__mro__:
        if kind.__name__ in _INSTEAD and kind.__module__ != "__main__":
            return _INSTEAD[kind.__name__].format(name)
    if hasattr(value, "__dataclass_fields__"):
        return f"dataclasses.asdict({name})"
    if hasattr(value, "__fspath__"):
        return f"str({name})"
    if hasattr(value, "value") and hasattr(type(value), "__members__"):
        return f"{name}.value"
    if hasattr(value, "dtype") and hasattr(value, "item"):
        return f"{name}.item()"
    return "its id, or plain data (text, numbers, lists, dicts)"


def _name(place: str) -> str:
    """The last key of a place where it makes a readable variable, for the advice."""
    last = place.rpartition("[")[2].strip('"]')
    return last if last.isidentifier() and "a key" not in place else "value"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
