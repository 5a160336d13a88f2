"""The limit: what redis-py, and sqlite3 where BENCH_FILE names a file, do for the same payload without any promise. No id is
remembered, nothing fails over, nothing is acknowledged."""

import itertools
import json
import os
import sqlite3
import sys
import time
from functools import cache

import jobs

FIELDS = {"class": "work", "queue": "bench", "args": jobs.ARGUMENTS, "id": "x" * 36, "enqueued_at": 1.8e9}
PAYLOAD = json.dumps(FIELDS, separators=(",", ":")).encode()
os.environ.pop("BENCH_THREADS", None)  # one caller: several would share nothing


class Redis:
    """A list."""

    def __init__(self):
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.client = redis.Redis.from_url(os.environ["BENCH_URL"], retry=Retry(NoBackoff(), 0))

    def one(self, payload=PAYLOAD):
        self.client.rpush("raw", payload)

    def many(self, count):
        with self.client.pipeline(transaction=False) as pipe:
            for _ in range(count):
                pipe.rpush("raw", PAYLOAD)
            pipe.execute()

    async def awaited(self):
        await asynchronous().rpush("raw", PAYLOAD)

    def take(self):
        first = self.client.lpop("raw", jobs.BATCH)
        if first is None:
            first = [payload for _, payload in filter(None, [self.client.blpop("raw", 1)])]
        return first


@cache
def asynchronous():
    """redis-py's client for asyncio."""
    import redis.asyncio

    return redis.asyncio.Redis.from_url(os.environ["BENCH_URL"])


class Socket:
    """The request that spoolq makes of a job, with all its promises, by a bare socket: what Redis and the way to it take."""

    def __init__(self):
        import select
        import socket
        from urllib.parse import urlsplit

        from spoolq.store.redis.names import Names
        from spoolq.store.redis.resp import encode
        from spoolq.store.redis.scripts import script

        server, put, names = urlsplit(os.environ["BENCH_URL"]), script("put"), Names("raw")
        self.socket = socket.create_connection((server.hostname, server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(encode((b"SCRIPT", b"LOAD", put.text)))
        self.socket.recv(1000)
        self.socket.setblocking(False)
        self.poll = select.poll()
        self.poll.register(self.socket, select.POLLIN)
        keys = names.queue("bench"), names.markers, names.queues, names.idle("bench"), names.tally
        job = names.prefix, b"bench", b"9999999999.000000", b"%036d", PAYLOAD, b"%036d", b"0000000000.000000"
        self.request = encode((b"EVALSHA", put.sha, b"5", *keys, *job)).replace(b"$5\r\n%036d", b"$36\r\n%036d")
        self.numbers = itertools.count(1)

    def one(self):
        number = next(self.numbers)
        request = self.request % (number, number - 1)  # the id, and that of the job before, which may be forgotten
        self.poll.poll(0)
        self.socket.send(request)
        self.poll.poll(5000)
        if self.socket.recv(100) != b":1\r\n":
            raise SystemExit("it isn't a put that was measured")

    many = None


class File:
    """A table of a file that is synced."""

    def __init__(self):
        self.connection = sqlite3.connect(os.environ["BENCH_FILE"], isolation_level=None, check_same_thread=False, timeout=30)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS jobs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, payload BLOB)")
        self.ids = (f"{os.getpid():012}-{number:023}" for number in itertools.count())

    def one(self, payload=PAYLOAD):
        self.connection.execute("INSERT INTO jobs (id, payload) VALUES (?, ?)", (next(self.ids), payload))

    def many(self, count):
        self.connection.execute("BEGIN IMMEDIATE")
        rows = ((next(self.ids), PAYLOAD) for _ in range(count))
        self.connection.executemany("INSERT INTO jobs (id, payload) VALUES (?, ?)", rows)
        self.connection.execute("COMMIT")

    def take(self):
        found = self.connection.execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs ORDER BY seq LIMIT ?) RETURNING payload", (jobs.BATCH,)
        ).fetchall()
        if not found:
            time.sleep(0.001)
        return [payload for (payload,) in found]


store = Socket() if os.environ.get("BENCH_SOCKET") else File() if os.environ.get("BENCH_FILE") else Redis()


def pick():
    """A payload that says what it is."""
    store.one(b"picked")


def run():
    """The worker: a hundred at a time, gone before they run."""
    while True:
        for payload in store.take():
            if payload == b"picked":
                jobs.picked()
            else:
                json.loads(payload)
                jobs.work()


PUT = """
for first = 1, #ARGV, 400 do
  local payloads, marks = {}, {}
  for i = first, math.min(first + 399, #ARGV), 2 do
    payloads[#payloads + 1] = ARGV[i + 1]
    marks[#marks + 1] = 0
    marks[#marks + 1] = ARGV[i]
  end
  redis.call('RPUSH', KEYS[1], unpack(payloads))
  redis.call('ZADD', KEYS[2], 'NX', unpack(marks))
end
"""


def drain(count):
    """Jobs a second by a script for each 1,000, which pushes them and remembers their ids: the least that handing over takes."""
    put = store.client.register_script(PUT)
    ids = [f"{number:036}" for number in range(count)]
    began = time.perf_counter()
    for first in range(0, count, 1000):
        put(keys=["raw", "ids"], args=[part for id in ids[first : first + 1000] for part in (id, PAYLOAD)])
    return {"per_second": count / (time.perf_counter() - began)}


if __name__ == "__main__":
    if "work" in sys.argv:
        run()
    jobs.enqueue(store.one, pick, store.many, getattr(store, "awaited", None), drain=drain)
