"""A bucket of which nothing is known but its URL."""

from __future__ import annotations

import pytest

from spoolq.failurelog.bucket import BucketError, ObstoreBucket
from spoolq.failurelog.target import target


def test_a_password_in_the_address_of_the_endpoint_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://user:hidden@127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = ObstoreBucket(target("s3://bucket/app"))
    with pytest.raises(BucketError, match="can't be reached") as reading:
        bucket.get("key")
    [writing] = bucket.put([("key", b"x")])
    assert "hidden" not in f"{reading.value} {writing}"
    assert "127.0.0.1:1" in str(writing)
