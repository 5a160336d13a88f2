"""What spoolq writes, through a real JSON.stringify(JSON.parse(…)): node finds failures and jobs by exactly these bytes."""

from __future__ import annotations

import json
import math
import random
import struct
import subprocess
from base64 import b64decode, b64encode

import pytest

from spoolq import jsjson, reruns, wire
from spoolq.errors import PayloadError
from spoolq.job import Attempt, Failure, Job
from tests.interop.conftest import MISSING, find_node

pytestmark = pytest.mark.node

# Base64 keeps line ends, and what isn't UTF-8, out of the way. `null` stands for a line that node can't read.
SCRIPT = """
const lines = require("fs").readFileSync(0, "latin1").split("\\n");
const again = lines.map((line) => {
  try { return Buffer.from(JSON.stringify(JSON.parse(Buffer.from(line, "base64").toString("utf8")))).toString("base64"); }
  catch { return "null"; }
});
process.stdout.write(again.join("\\n"));
"""


@pytest.fixture(autouse=True)
def _not_without_node(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--no-node"):
        pytest.skip("--no-node")


def node() -> str:
    found = find_node()
    assert found, MISSING
    return found[0]


def through_node(texts: list[bytes]) -> list[bytes | None]:
    """Each text as node writes it back, None where node can't read it."""
    lines = b"\n".join(map(b64encode, texts))
    done = subprocess.run([node(), "-e", SCRIPT], input=lines, capture_output=True, timeout=60, check=True)
    found = done.stdout.split(b"\n")
    assert len(found) == len(texts)
    return [None if line == b"null" else b64decode(line) for line in found]


# chance, the same at each run

ALPHABET = [
    "a",
    "é",
    "😀",
    "\u2028",
    "\u2029",
    "\x00",
    "\x1f",
    "\x7f",
    "\x85",
    '"',
    "\\",
    "/",
    "\n",
    "\ufeff",
    "\ufffd",
    "<",
    "٣",
    "\u0301",
]
KEYS = [
    "0",
    "1",
    "10",
    "2",
    "01",
    "-1",
    "1.0",
    "4294967294",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "a",
    "b",
    "",
    "é",
    "__proto__",
]
KEYS += ["constructor", "toJSON", "length", "²", "٣", " 1", "1e3", "+1"]


def a_float(rng: random.Random) -> float:
    kind = rng.randrange(5)
    if kind == 0:
        (value,) = struct.unpack("<d", rng.randbytes(8))
        return value if math.isfinite(value) else 0.5
    if kind == 1:
        return rng.choice([-1, 1]) * 10.0 ** rng.randint(-30, 30)
    if kind == 2:
        return rng.choice([-1, 1]) * rng.random() * 10.0 ** rng.randint(-12, 25)
    if kind == 3:
        return float(rng.randint(-(2**70), 2**70))
    return rng.choice(
        [0.0, -0.0, 1.0, 5e-324, 1.7976931348623157e308, 1e21, 1e-6, 1e-7, 2.0**53, 0.1, 9.999999999999999e20, 1e22]
    )


def a_value(rng: random.Random, deep: int = 4) -> object:
    kind = rng.randrange(8 if deep else 6)
    if kind == 0:
        return rng.choice([None, True, False])
    if kind == 1:
        return rng.randint(-(2 ** rng.randint(1, 80)), 2 ** rng.randint(1, 80))
    if kind in (2, 3):
        return a_float(rng)
    if kind in (4, 5):
        return "".join(rng.choices(ALPHABET, k=rng.randrange(6)))
    if kind == 6:
        return [a_value(rng, deep - 1) for _ in range(rng.randrange(4))]
    keys = rng.sample(KEYS, rng.randrange(5))
    return {key: a_value(rng, deep - 1) for key in keys}


def some_jobs(count: int, seed: int) -> list[Job]:
    rng = random.Random(seed)
    return [
        Job(
            id=f"0199-{number}",
            task=rng.choice(["send", "Mail::Send", "é"]),
            queue="mail",
            args=tuple(a_value(rng) for _ in range(rng.randrange(4))),
            attempt=rng.randrange(3),
            enqueued_at=rng.choice([None, 1795511017.1234567, 1795511017.0, 1e-5, 0.0]),
            expires_at=rng.choice([None, 1795511017.5]),
            extra=rng.choice([{}, {"meta": a_value(rng)}]),
        )
        for number in range(count)
    ]


def payloads(jobs: list[Job], mode: wire.Mode) -> list[bytes]:
    found = []
    for job in jobs:
        try:
            found.append(wire.encode(job, mode))
        except PayloadError:
            assert mode == "resque"
    return found


def test_every_resque_payload_keeps_its_bytes() -> None:
    written = payloads(some_jobs(3000, seed=1), "resque")
    assert len(written) > 1000
    assert through_node(written) == written
    bare = [wire.encode_bare(Job("i", "t", "q", (value,)), "resque") for value in ("é", 1.0, 1e21, [], {"a": -0.0})]
    assert through_node(bare) == bare


def test_numbers_are_written_as_node_writes_them() -> None:
    rng = random.Random(2)
    floats = [a_float(rng) for _ in range(20_000)] + [10.0**power for power in range(-30, 31)]
    assert through_node([repr(value).encode() for value in floats]) == [jsjson.number(value).encode() for value in floats]
    integers = [sign * (2**bits + by) for bits in range(40, 90) for by in (-1, 0, 1) for sign in (-1, 1)] + [10**400, -(10**400)]
    assert through_node([str(value).encode() for value in integers]) == [jsjson.stringify(value).encode() for value in integers]


def test_javascripts_form_of_any_payload_is_nodes() -> None:
    """Also of what resque mode refuses: large integers, keys out of order, escapes, doubled keys, lone surrogates."""
    texts = payloads(some_jobs(2000, seed=3), "python")
    rng = random.Random(4)
    texts += [json.dumps(a_value(rng)).encode() for _ in range(2000)]
    texts += [
        b'{"a":1,"b":2,"a":3}',
        b'{"b":1,"1":2,"b":3,"0":4,"1":5}',
        b'["\\ud800","\\udc00\\ud800","\\ud83d\\ude00","\\uD83D\\u0041","\\/","\\u001F","\\u00e9"]',
        b"[1.0,-0,-0.0,1E5,1e+5,0.10,1e400,-1e400,1e-400,123456789012345678901234567890]",
        b' { "a" : [ ] } ',
        b'{"__proto__":{"x":1},"a":2,"__proto__":3}',
    ]
    assert through_node(texts) == [jsjson.stringify(jsjson.parse(text)).encode() for text in texts]


def test_every_failure_entry_keeps_its_bytes() -> None:
    jobs = some_jobs(1500, seed=5)
    raw = payloads(jobs, "python") + payloads(jobs, "resque")
    raw += [
        b"", b"not JSON", b"null", b"[1]", b'"x"', b"\xff\x00", b'{"class":5}', b'{"class":"A","args":[NaN]}', b"\xed\xa0\x80",
        b'{"class": "A", "args": [1.0]}', b'{"class":"A","args":["\\ud800"]}', b'{"class":"A","args":["\\u00e9\\/"]}',
        b'{"class":"A","args":' + b"[" * 500 + b"]" * 500 + b"}", b'{"class":"A","args":' + b"[" * 99_999 + b"]" * 99_999 + b"}",
        "\u2028\u2029\x85\ufeff".encode(),
    ]  # fmt: skip
    rng = random.Random(6)
    errors = ["", "boom", "\udc80\ud800", "\x00\x1f\x7f\u2028\ufeff", "😀", '"\\/', "x" * 100_000]
    failures = [
        Failure(
            id=rng.choice(["0199-1", ""]),
            queue="mail",
            worker="host:1+2:mail,low",
            exception="ValueError",
            error=rng.choice(errors),
            backtrace=tuple(rng.choices(errors, k=rng.randrange(3))),
            failed_at=rng.choice([0.0, 1795511017.0, 1795511017.123456, math.nan]),
            payload=payload,
            attempts=rng.randint(1, 5),
            history=tuple(an_attempt(n + 1, rng) for n in range(rng.randrange(12))),
            host=rng.choice(["", "web1", "\ud800"]),
            pid=rng.choice([None, 4242]),
            versions=rng.choice([{}, {"spoolq": "0.1.0", "python": "3.11.7"}]),
        )
        for payload in raw
    ]
    entries = [wire.encode_failure(failure) for failure in failures]
    assert through_node(entries) == entries
    assert [wire.decode_failure(entry).payload for entry in entries] == raw


def an_attempt(number: int, rng: random.Random) -> Attempt:
    text = rng.choice(["", "boom", "\udc80\ud800", "\x00\x7f\u2028\ufeff", "😀" * 300, '"\\/'])
    at, took = 1795511017 + rng.random() * number, rng.choice([None, 0, rng.random(), rng.random() / 1e4, 1e6 * rng.random()])
    return Attempt(number, at, rng.choice(["ValueError", "É"]), text, rng.choice(["", "web1:4242"]), took)


def test_a_retried_resque_payload_keeps_its_bytes_too() -> None:
    written = payloads(some_jobs(500, seed=7), "resque")
    rng = random.Random(8)
    retried = written
    for number in range(1, 13):
        retried = [
            wire.attempted(one, wire.decode(one, "mail"), an_attempt(number, rng), crash=rng.random() < 0.2) for one in retried
        ]
    assert all(len(wire.decode(one, "mail").history) == 10 for one in retried)
    retried += [reruns.rerun(payload, "mail").payload for payload in written]
    assert through_node(retried) == retried


def test_python_and_node_agree_on_what_is_json() -> None:
    """What node can't read spoolq's decode must not take either, or a job could run here and be lost there."""
    texts = [
        b"", b"NaN", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1,]", b"{'a':1}", b'{"a":1,}', b"[01]", b"[1.]", b"[.5]",
        b"[+1]", b"[0x1]", b'["\n"]', b'["\t"]', b'["\\x41"]', b'["\\u12"]', b"\xef\xbb\xbf[]", b"[]x", b"undefined", b"nul",
        b"tru", b"[1 2]", b"\x0c[]", "\u00a0[]".encode(), b"[-]", b"[1e]", b'{"a"}', b'{1:2}', b"// x\n[]", "[\u0661]".encode(),
        "[1\u0661]".encode(),
    ]  # fmt: skip
    for text, again in zip(texts, through_node(texts), strict=True):
        assert again is None, text
        with pytest.raises(PayloadError):
            jsjson.parse(text)


def test_the_two_dates_that_node_writes_are_read() -> None:
    script = (
        "const d = new Date(1795511017000); console.log(d.toString()); console.log(d.toISOString()); console.log(d.toUTCString())"
    )
    for zone in ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"):
        done = subprocess.run([node(), "-e", script], capture_output=True, timeout=60, check=True, text=True, env={"TZ": zone})
        for line in done.stdout.splitlines():
            entry = json.dumps({"payload": {"class": "a"}, "failed_at": line}).encode()
            assert wire.decode_failure(entry).failed_at == 1795511017.0, line
