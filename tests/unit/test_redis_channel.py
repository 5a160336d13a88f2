"""One connection under a deadline, against a peer that does what a test tells it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from spoolq.store.redis.channel import Channel, StaleError
from spoolq.store.redis.resp import GarbageError, ReplyError, encode
from tests.faults.app import at_once
from tests.waiting import eventually

PING = encode((b"PING",))
SLACK = 1.0  # for a peer that gets no core; what is looked for here would take half a minute, or for ever


def soon(seconds: float = 40.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def answering(theirs: socket.socket, *pieces: bytes) -> threading.Thread:
    """Read a request, then send the pieces."""

    def answer() -> None:
        theirs.recv(1 << 16)
        for piece in pieces:
            theirs.sendall(piece)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("data", "value"), [(b":1\r\n", 1), (b":-1\r\n", -1), (b"+PONG\r\n", b"PONG"), (b"$3\r\na\r\n\r\n", b"a\r\n")]
)
def test_a_reply(pair: tuple[Channel, socket.socket], data: bytes, value: object) -> None:
    channel, theirs = pair
    answering(theirs, data)
    assert channel.exchange(PING, soon()) == value
    assert channel.sent


def test_silence_ends_at_the_deadline(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    began = time.monotonic()
    with at_once(0.1 + SLACK), pytest.raises(TimeoutError):
        channel.exchange(PING, began + 0.1)
    assert time.monotonic() - began >= 0.1
    assert channel.sent


def test_a_dribbled_reply_ends_at_the_deadline(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    stop = threading.Event()

    def dribble() -> None:
        while not stop.wait(0.02):
            theirs.sendall(b"1" if theirs.fileno() >= 0 else b"")

    theirs.sendall(b"")
    thread = threading.Thread(target=dribble, daemon=True)
    began = time.monotonic()
    channel.send(PING, began + 0.15)
    theirs.sendall(b"$5000\r\n")
    thread.start()
    try:
        with at_once(0.15 + SLACK), pytest.raises(TimeoutError):
            channel.last()
    finally:
        stop.set()
        thread.join()


def test_a_reply_that_goes_on_arriving_is_waited_for_by_those_who_have_time(
    pair: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.store.redis.channel.STILL", 30.0)
    channel, theirs = pair
    deadline = soon(2.0)  # by which it has begun to arrive

    def slowly() -> None:
        theirs.recv(1 << 16)
        theirs.sendall(b"$200000\r\n" + b"x" * 100_000)
        eventually(lambda: time.monotonic() > deadline)
        theirs.sendall(b"x" * 100_000 + b"\r\n")

    thread = threading.Thread(target=slowly, daemon=True)
    thread.start()
    channel.patient = True
    assert channel.exchange(PING, deadline) == b"x" * 200_000
    thread.join()
    channel.patient = False
    with pytest.raises(TimeoutError):
        channel.exchange(PING, soon(0.1))


def test_a_dribbled_reply_ends_also_for_those_who_have_time(
    pair: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, theirs = pair
    monkeypatch.setattr("spoolq.store.redis.channel.STILL", 60.0)
    channel.patient = True
    answering(theirs, b"$5000\r\n", *[b"x"] * 200)
    with at_once(0.2 + SLACK), pytest.raises(TimeoutError):
        channel.exchange(PING, soon(0.15))


def test_a_reply_that_stops_half_way_is_given_up_however_much_came_before(
    pair: tuple[Channel, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spoolq.store.redis.channel.STILL", 0.3)
    channel, theirs = pair
    channel.patient = True
    answering(theirs, b"$1000000\r\n", *[b"x" * 64_000] * 3)
    with at_once(0.5 + SLACK), pytest.raises(TimeoutError):
        channel.exchange(PING, soon(0.1))


def test_a_peer_that_does_not_read_ends_at_the_deadline(pair: tuple[Channel, socket.socket]) -> None:
    channel, _ = pair
    with at_once(0.1 + SLACK), pytest.raises(TimeoutError):
        channel.exchange(encode((b"x" * (8 << 20),)), soon(0.1))
    assert channel.sent


def test_a_large_request_goes_out_in_pieces(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    request = encode((b"x" * (8 << 20),))
    got = bytearray()

    def read() -> None:
        while len(got) < len(request):
            got.extend(theirs.recv(1 << 20))
        theirs.sendall(b":1\r\n")

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    assert channel.exchange(request, soon()) == 1
    thread.join()
    assert bytes(got) == request


def test_a_peer_that_went_away_before_is_noticed_before_a_byte_is_sent(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.close()
    with pytest.raises(StaleError):
        channel.exchange(PING, soon())
    assert not channel.sent


def test_an_answer_to_nothing_is_noticed_before_a_byte_is_sent(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    theirs.sendall(b":1\r\n")
    with pytest.raises(StaleError):
        channel.exchange(PING, soon())
    assert not channel.sent


def test_a_peer_that_goes_away_after_the_request(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    channel.send(PING, soon())
    theirs.close()
    with pytest.raises((EOFError, ConnectionResetError)):
        channel.last()
    assert channel.sent


def test_a_refusal_in_the_middle_of_a_request_is_read(pair: tuple[Channel, socket.socket]) -> None:
    """As Redis does with a string longer than proto-max-bulk-len."""
    channel, theirs = pair
    answering(theirs, b"-ERR Protocol error: invalid bulk length\r\n")
    with pytest.raises(ReplyError, match="invalid bulk length"):
        channel.exchange(encode((b"x" * (8 << 20),)), soon())


def test_two_replies_to_one_request_are_garbage(pair: tuple[Channel, socket.socket]) -> None:
    channel, theirs = pair
    answering(theirs, b"+OK\r\n+OK\r\n")
    with pytest.raises(GarbageError):
        channel.exchange(PING, soon())


def test_what_is_abandoned_is_not_ended(pair: tuple[Channel, socket.socket]) -> None:
    """A forked child gives its copy of the descriptor back; the parent's conversation goes on."""
    channel, theirs = pair
    copy = Channel(channel.sock.dup())
    copy.abandon()
    copy.abandon()
    answering(theirs, b":1\r\n")
    assert channel.exchange(PING, soon()) == 1
