"""huey's side of the benchmark: on Redis, or on SQLite where BENCH_FILE names a file (synced with BENCH_SYNC)."""

import os

import jobs
from huey import RedisHuey, SqliteHuey

if file := os.environ.get("BENCH_FILE"):
    huey = SqliteHuey("bench", filename=file, fsync=bool(os.environ.get("BENCH_SYNC")), results=False)
else:
    huey = RedisHuey("bench", url=os.environ["BENCH_URL"], results=False)
work = huey.task(name="work")(jobs.work)
picked = huey.task(name="picked")(jobs.picked)

if __name__ == "__main__":
    jobs.enqueue(lambda: work(*jobs.ARGUMENTS), picked)
