"""The reader of Redis's protocol: every type, every way to be cut in pieces, and bytes that mean harm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.store.redis.resp import MAX_BULK, MAX_DEPTH, MAX_ITEMS, MAX_LINE, GarbageError, Reader, ReplyError, encode


def reader(data: bytes, size: int = 1 << 16) -> Reader:
    pieces: Iterator[bytes] = iter([data[i : i + size] for i in range(0, len(data), size)])

    def receive() -> bytes:
        piece = next(pieces, b"")
        if not piece:
            raise EOFError
        return piece

    return Reader(receive)


REPLIES: list[tuple[bytes, Any]] = [
    (b"+OK\r\n", b"OK"),
    (b":1\r\n", 1),
    (b":-12\r\n", -12),
    (b"$5\r\nhe\r\no\r\n", b"he\r\no"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*2\r\n$1\r\na\r\n*1\r\n:3\r\n", [b"a", [3]]),
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b"#f\r\n", False),
    (b",1.5\r\n", 1.5),
    (b",inf\r\n", float("inf")),
    (b"(12345678901234567890123\r\n", 12345678901234567890123),
    (b"=7\r\ntxt:abc\r\n", b"abc"),
    (b"~2\r\n:1\r\n:2\r\n", [1, 2]),
    (b"%1\r\n+a\r\n:1\r\n", [b"a", 1]),
    (b"|1\r\n+ttl\r\n:9\r\n:7\r\n", 7),
    (b">2\r\n+invalidate\r\n*0\r\n:7\r\n", 7),
]


@pytest.mark.parametrize(("data", "value"), REPLIES)
@pytest.mark.parametrize("size", [1, 2, 3, 1 << 16])
def test_every_type_whole_and_dribbled(data: bytes, value: Any, size: int) -> None:
    read = reader(data, size)
    assert read.read() == value
    assert not read.pending


@pytest.mark.parametrize("data", [b"-ERR no such thing\r\n", b"!17\r\nERR no such thing\r\n"])
def test_an_error_is_a_value(data: bytes) -> None:
    reply = reader(data).read()
    assert isinstance(reply, ReplyError)
    assert reply.text == "ERR no such thing"


def test_an_error_inside_a_list_stays_there() -> None:
    first, second = reader(b"*2\r\n-WRONGTYPE x\r\n:1\r\n").read()
    assert isinstance(first, ReplyError)
    assert second == 1


@pytest.mark.parametrize(("data", "value"), REPLIES)
def test_a_truncated_reply_is_the_end_never_a_value(data: bytes, value: Any) -> None:
    for length in range(len(data)):
        with pytest.raises(EOFError):
            reader(data[:length]).read()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\r\n",
        b":\r\n",
        b":one\r\n",
        b":" + b"9" * 5000 + b"\r\n",
        b"$-2\r\n",
        b"$x\r\n",
        b"$+1\r\na\r\n",
        b"$1\r\nabc",
        b"$%d\r\n" % (MAX_BULK + 1),
        b"$99999999999999999999999999\r\n",
        b"*%d\r\n" % (MAX_ITEMS + 1),
        b"*-5\r\n",
        b"%%%d\r\n" % MAX_ITEMS,
        b"*1\r\n" * (MAX_DEPTH + 2) + b":1\r\n",
        b">1\r\n" * (MAX_DEPTH + 2),
        b"#x\r\n",
        b",nine\r\n",
        b"!x\r\n",
        b"+" + b"a" * (MAX_LINE + 2) + b"\r\n",
    ],
)
def test_hostile_bytes_are_garbage(data: bytes) -> None:
    with pytest.raises(GarbageError):
        reader(data).read()


def test_a_line_without_an_end_is_given_up() -> None:
    endless = Reader(lambda: b"a" * 8192)
    with pytest.raises(GarbageError):
        endless.read()


def test_a_promised_length_costs_no_memory_until_it_comes() -> None:
    with pytest.raises(EOFError):
        reader(b"*%d\r\n$%d\r\n" % (MAX_ITEMS, MAX_BULK)).read()


def test_what_is_left_over_is_seen() -> None:
    read = reader(b":1\r\n:2\r\n")
    assert read.read() == 1
    assert read.pending
    assert read.read() == 2


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_value_garbage_or_the_end(data: bytes) -> None:
    read = reader(data)
    try:
        while True:
            read.read()
    except (GarbageError, EOFError):
        pass


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 9))
def test_what_is_encoded_is_read_back(args: list[bytes], size: int) -> None:
    assert reader(encode(args), size).read() == args
