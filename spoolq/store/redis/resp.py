"""Redis's protocol (RESP2 and RESP3, https://redis.io/docs/latest/develop/reference/protocol-spec/): requests out, one reply in.

The reader trusts nothing: lengths, nesting and types are bounded, and what breaks the rules is `GarbageError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MAX_LINE = 64 * 1024
MAX_BULK = 512 * 1024 * 1024  # Redis's own limit of a string
MAX_ITEMS = 4 * 1024 * 1024
MAX_DEPTH = 32
_STRING = ord("$")


class GarbageError(Exception):
    """Bytes that are no reply: whoever answers there doesn't speak the protocol, or the stream lost its place."""


class ReplyError(Exception):
    """An error reply, kept as a value: what to do about it is decided by who asked."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def encode(args: Sequence[bytes]) -> bytes:
    """One request."""
    parts = [b"*%d\r\n" % len(args)]
    parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


class Reader:
    """Reads replies from `receive`, which returns at least one byte, or raises (the end, a deadline).

    Strings come as bytes, numbers as int or float, booleans as bool, nulls as None, lists and sets as list, maps as a flat list
    of keys and values, errors as `ReplyError` values. Pushes and attributes are passed over.
    """

    __slots__ = ("_at", "_data", "_receive")

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._data = b""
        self._at = 0

    @property
    def pending(self) -> bool:
        """Whether bytes are left over. After the last expected reply there must be none."""
        return self._at < len(self._data)

    def feed(self, chunk: bytes) -> None:
        """Bytes that were received already."""
        self._data += chunk

    def read(self) -> Any:
        """The next reply. Raises GarbageError, or whatever `receive` raises."""
        try:
            value = self._value(0)
        except (ValueError, OverflowError) as error:
            raise GarbageError("a reply that isn't Redis's") from error
        self._data, self._at = self._data[self._at :], 0
        return value

    def _more(self) -> None:
        """Wait for more bytes. What was read is let go."""
        self._data, self._at = self._data[self._at :] + self._receive(), 0

    def _line(self) -> bytes:
        seek = self._at
        while (end := self._data.find(b"\r\n", seek)) < 0:
            have = len(self._data) - self._at
            if have > MAX_LINE:
                raise GarbageError("a line without an end")
            self._more()
            seek = max(0, have - 1)
        line = self._data[self._at : end]
        if len(line) > MAX_LINE:
            raise GarbageError("a line without an end")
        self._at = end + 2
        return line

    def _bulk(self, length: int) -> bytes:
        if length > MAX_BULK:
            raise GarbageError("a string longer than Redis allows")
        if len(self._data) - self._at < length + 2:
            chunks = [self._data[self._at :]]
            have = len(chunks[0])
            while have < length + 2:
                chunks.append(self._receive())
                have += len(chunks[-1])
            self._data, self._at = b"".join(chunks), 0
        stop = self._at + length
        if self._data[stop : stop + 2] != b"\r\n":
            raise GarbageError("a string without its end")
        value = self._data[self._at : stop]
        self._at = stop + 2
        return value

    def _value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise GarbageError("a reply nested too deeply")
        while True:
            line = self._line()
            kind, rest = line[:1], line[1:]
            if kind == b"$":
                return self._bulk(int(rest)) if rest != b"-1" and _size(rest) >= 0 else None
            if kind == b":":
                return int(rest)
            if kind == b"+":
                return rest
            if kind == b"*":
                return self._list(rest, depth)
            if kind == b"-":
                return ReplyError(rest.decode("utf-8", "replace"))
            if kind == b"_":
                return None
            if kind == b"#" and rest in (b"t", b"f"):
                return rest == b"t"
            if kind == b",":
                return float(rest)
            if kind == b"(":
                return int(rest)
            if kind == b"!":
                return ReplyError(self._bulk(_size(rest)).decode("utf-8", "replace"))
            if kind == b"=":
                return self._bulk(_size(rest))[4:]
            if kind == b"~":
                return self._list(rest, depth)
            if kind == b"%":
                return self._list(b"%d" % (2 * _size(rest)), depth)
            if kind == b">":
                self._list(rest, depth)
            elif kind == b"|":
                self._list(b"%d" % (2 * _size(rest)), depth)
            else:
                raise GarbageError(f"a reply that begins with {line[:16]!r}")

    def _list(self, rest: bytes, depth: int) -> list[Any] | None:
        if rest == b"-1":
            return None
        count = _size(rest)
        if count > MAX_ITEMS:
            raise GarbageError("a list longer than any that was asked for")
        found: list[Any] = []
        while len(found) < count:
            self._shorts(found, count)
            if len(found) < count:
                found.append(self._value(depth + 1))
        return found

    def _shorts(self, found: list[Any], count: int) -> None:
        """The strings that come next, as long as all of one is here: what nearly all of a long list is. One loop, since a call
        for each of them costs as much as to read it."""
        data, at = self._data, self._at
        while len(found) < count:
            end = data.find(b"\r\n", at, at + 12)
            if end < 0 or data[at] != _STRING or not (size := data[at + 1 : end]).isdigit():
                break
            start = end + 2
            stop = start + int(size)
            if data[stop : stop + 2] != b"\r\n":
                break
            found.append(data[start:stop])
            at = stop + 2
        self._at = at


def _size(text: bytes) -> int:
    if not text.isdigit():
        raise GarbageError(f"a length of {text[:16]!r}")
    return int(text)
