"""The names of keys, as bytes. Resque's own are as in Resque; ours are under `spoolq:` in the same namespace."""

from __future__ import annotations

from collections.abc import Sequence

from spoolq.errors import ConfigError


class Names:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        if not namespace or any(character.isspace() for character in namespace):
            raise ConfigError(f"namespace {namespace!r}: it needs a name without spaces, such as 'resque'")
        self.prefix = namespace.encode() + b":"
        self.queues = self.prefix + b"queues"
        self.leader = self.prefix + b"resque_scheduler_leader_lock"
        self.delayed = self.prefix + b"spoolq:delayed"
        self.schedule = self.prefix + b"delayed_queue_schedule"
        self.leases = self.prefix + b"spoolq:leases"
        self.failed = self.prefix + b"failed"
        self.markers = self.prefix + b"spoolq:markers"
        self.counts = self.prefix + b"spoolq:counts"
        self.tally = self.prefix + b"spoolq:tally"
        self.meta = self.prefix + b"spoolq:meta"
        self.series = self.prefix + b"spoolq:series"
        self.pauses = (self.prefix + b"spoolq:paused", self.prefix + b"pause-all-workers")
        self.persisted = self.prefix + b"spoolq:persisted"
        self.probe = self.prefix + b"spoolq:probe"
        self.probe_queues = self.prefix + b"spoolq:probe:queues"
        self.probe_tally = self.prefix + b"spoolq:probe:tally"

    def queue(self, name: str) -> bytes:
        """Resque's list of the jobs that are due."""
        return self.prefix + b"queue:" + name.encode()

    def idle(self, queue: str) -> bytes:
        """The workers that wait for a job of this queue."""
        return self.prefix + b"spoolq:idle:" + queue.encode()

    def history(self, span: str) -> bytes:
        """Samples of the tally: place in the round to the sample."""
        return self.prefix + b"spoolq:history:" + span.encode()

    def wake(self, key: str) -> bytes:
        """The list on which one idle worker blocks."""
        return self.prefix + b"spoolq:wake:" + key.encode()

    def claims(self, key: str) -> bytes:
        """The worker's claims: token to queue and payload."""
        return self.prefix + b"spoolq:claims:" + key.encode()

    def value(self, key: str) -> bytes:
        """A value set by an effect."""
        return self.prefix + b"spoolq:value:" + key.encode()

    @property
    def guards(self) -> Sequence[tuple[bytes, bytes]]:
        """Where guards are: what is in front of a guard's name in its key, and the pattern of such keys."""
        own, literal = self.prefix + b"spoolq:guard:", _literal(self.prefix)
        return (own, _literal(own) + b"*"), (self.prefix, literal + b"lock:*"), (self.prefix, literal + b"workerslock:*")

    def stat(self, pattern: str) -> bytes:
        """Resque's counter of this name. In a pattern the namespace stands for itself."""
        if "*" not in pattern:
            return self.prefix + b"stat:" + pattern.encode()
        return _literal(self.prefix) + b"stat:" + pattern.encode()


def _literal(text: bytes) -> bytes:
    return b"".join(b"\\" + bytes([c]) if c in b"*?[]\\" else bytes([c]) for c in text)
