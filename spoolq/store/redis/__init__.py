"""Jobs in Redis, under Resque's own keys and a few of ours."""

from spoolq.store.redis.store import RedisStore

__all__ = ["RedisStore"]
