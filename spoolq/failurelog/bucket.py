"""A bucket of S3, Google or Azure, behind the few words that are needed of it. The only file that imports obstore."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from spoolq.errors import ConfigError
from spoolq.failurelog.target import CREDENTIALS, Target

PROBE = ".spoolq"
"""The object that is written, once, to find out whether failures could be."""

_AT_ONCE = 16  # objects on their way
_CANT_CREATE = ("status code: 501", "NotImplemented", "not supported")  # servers that know no conditional put
# A conflict is also what S3 answers to two who write at once, and Azure where the container is being deleted: not written
_IS_THERE = re.compile(r"<Code>\w*AlreadyExists<")
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_ADDRESS = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")

Reason = Literal["forbidden", "missing", "unreachable"]


class BucketError(Exception):
    """The bucket did not do it. `reason` is `forbidden` (no credentials, or not these), `missing` (no such bucket), or
    `unreachable`: no answer, or another one."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Found(NamedTuple):
    """An object: its key below the prefix, and when it was written (epoch seconds)."""

    key: str
    written: float


class Bucket(Protocol):
    """What is needed of a bucket. Every call may raise BucketError, within half a minute."""

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[BucketError | None]:
        """Write objects (key and bytes), many at a time; one whose key is there stays as it is. For each, why it isn't there
        now, or None. Doesn't raise."""

    def get(self, key: str) -> bytes:
        """The object's bytes."""

    def folders(self, below: str) -> list[str]:
        """The names of the folders below that one (empty: the prefix itself), sorted."""

    def objects(self, below: str) -> Iterator[Found]:
        """Every object in that folder and deeper."""


def needs(target: Target) -> None:
    """Raise ConfigError where the package is missing without which that bucket can't be used, and where a variable that says
    where its server is says no address: the client would panic."""
    if target.kind == "bucket" and importlib.util.find_spec("obstore") is None:
        raise ConfigError(f"{target.scheme}:// needs: pip install 'spoolq[s3]'")
    for name in _ENDPOINTS.get(target.scheme, ()):
        if (value := os.environ.get(name)) and not _ADDRESS.fullmatch(value):
            raise ConfigError(f"{name}: expected http://host:port or https://host, without credentials and options")


class ObstoreBucket:
    """The bucket at a URL, with the credentials of the environment. Its client is made by the first call, so never before a
    fork. Raises ConfigError where obstore is missing."""

    def __init__(self, target: Target, *, timeout: float = 30.0) -> None:
        needs(target)
        self.url = target.place
        self._scheme, self._timeout = target.scheme, timeout
        self._client: Any = None
        self._creates = True

    def put(self, objects: Sequence[tuple[str, bytes]]) -> list[BucketError | None]:
        """See `Bucket.put`."""
        import asyncio

        return asyncio.run(self._put_all(objects))

    async def _put_all(self, objects: Sequence[tuple[str, bytes]]) -> list[BucketError | None]:
        import asyncio

        free = asyncio.Semaphore(_AT_ONCE)

        async def put(key: str, data: bytes) -> BucketError | None:
            async with free:
                try:
                    await self._put(key, data)
                except Exception as error:
                    return self._fault(error)
            return None

        return await asyncio.gather(*(put(key, data) for key, data in objects))

    async def _put(self, key: str, data: bytes) -> None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            if self._creates:
                await obstore.put_async(self._open(), key, data, mode="create", use_multipart=False)
                return
        except (AlreadyExistsError, PreconditionError) as error:
            if "status code: 409" in str(error) and not _IS_THERE.search(str(error)):
                raise
            return
        except Exception as error:
            if not any(word in str(error) for word in _CANT_CREATE):
                raise
            self._creates = False
        await obstore.put_async(self._open(), key, data)  # the same failure has the same key and bytes

    def get(self, key: str) -> bytes:
        """See `Bucket.get`."""
        import obstore

        try:
            return bytes(obstore.get(self._open(), key).bytes())
        except Exception as error:
            raise self._fault(error) from error

    def folders(self, below: str) -> list[str]:
        """See `Bucket.folders`."""
        import obstore

        try:
            found = obstore.list_with_delimiter(self._open(), below or None)["common_prefixes"]
        except Exception as error:
            raise self._fault(error) from error
        return sorted(path.rpartition("/")[2] for path in found)

    def objects(self, below: str) -> Iterator[Found]:
        """See `Bucket.objects`."""
        import obstore

        try:
            for page in obstore.list(self._open(), below or None):
                for one in page:
                    yield Found(one["path"], one["last_modified"].timestamp())
        except Exception as error:
            raise self._fault(error) from error

    def _open(self) -> Any:
        if self._client is None:
            from obstore.store import from_url

            # Retries are ours: a worker that ends, or finds another bucket's answer, can't interrupt those of the client.
            # Plain HTTP is for whoever names such an endpoint in the environment.
            limits: Any = {"timeout": f"{self._timeout:g}s", "connect_timeout": "5s", "allow_http": True}
            self._client = from_url(self.url, client_options=limits, retry_config={"max_retries": 0})
        return self._client

    def _fault(self, error: Exception) -> BucketError:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text, variables = _first_line(error), CREDENTIALS[self._scheme]
        # a listing that is refused, or credentials that aren't there, come as errors of no kind
        refused = any(word in text for word in ("redential", "status code: 403", "status code: 401"))
        if refused or isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            why = f"refuses: {text}; look at the credentials in the environment ({variables}) and at what they may do"
            return BucketError(f"{self.url} {why}", "forbidden")
        if isinstance(error, FileNotFoundError) or "status code: 404" in text:
            why = f"no such bucket or object: {text}; look at its name, and at the environment ({variables})"
            return BucketError(f"{self.url}: {why}", "missing")
        return BucketError(f"{self.url} can't be reached: {text}", "unreachable")


def _first_line(error: Exception) -> str:
    """Without the client's internals, which it adds in many lines."""
    line = str(error).partition("\n")[0].partition("<?xml")[0].strip().rstrip(":")
    return line if len(line) <= 300 else f"{line[:300]}…"
