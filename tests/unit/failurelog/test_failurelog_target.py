"""What a setting may name as a place for failures, and what a mistake is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq.config import load
from spoolq.errors import ConfigError
from spoolq.failurelog.target import Target, target, targets


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/var/log/failures", Target("files", "/var/log/failures")),
        ("file:///var/log/my%20failures/", Target("files", "/var/log/my failures")),
        ("s3://bucket", Target("bucket", "s3://bucket")),
        ("s3://my-bucket/app/failures/", Target("bucket", "s3://my-bucket/app/failures")),
        ("gs://b1/x", Target("bucket", "gs://b1/x")),
        ("az://container/x=1", Target("bucket", "az://container/x=1")),
    ],
)
def test_places(text: str, found: Target) -> None:
    assert target(text) == found
    assert target(found.place) == found


def test_a_relative_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target("./s3:x") == Target("files", str(tmp_path / "s3:x"))
    assert target("logs") == Target("files", str(tmp_path / "logs"))
    assert target(Path("logs")) == Target("files", str(tmp_path / "logs"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no place"),
        (5, "names no place"),
        ("ftp://host/x", "unknown scheme 'ftp'"),
        ("s3:/bucket/x", "two slashes are missing after s3:"),
        ("S3:bucket", "two slashes are missing after S3:"),
        ("file:/var/log", "two slashes are missing after file:"),
        ("s3://", "can't be a bucket's name"),
        ("s3://minio:9000/bucket", "AWS_ENDPOINT_URL"),
        ("s3://b/a//c", "single slashes"),
        ("s3://b/../c", "the prefix may have"),
        ("file://host/x", "three slashes"),
    ],
)
def test_mistakes_are_named(text: object, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        target(text)


@pytest.mark.parametrize(
    "text", ["s3://key:hunter2@bucket/x", "s3://bucket/x?secret=hunter2", "s3://bucket#hunter2", "x://hunter2@b"]
)
def test_credentials_in_a_url_are_refused_and_never_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        targets([text])
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_several() -> None:
    assert targets("/a, s3://b/c") == ("/a", "s3://b/c")
    assert targets(["/a,b", "s3://b"]) == ("/a,b", "s3://b")
    assert targets(None) == targets("none") == targets([]) == ()
    with pytest.raises(ConfigError, match="/a is named twice"):
        targets("/a,file:///a")


def test_it_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "spoolq.toml"
    file.write_text('failure_log = ["/var/log/failures", "s3://bucket/app"]\n')
    assert load(file, {"HOME": "/h"})[0].failure_log == ("/var/log/failures", "s3://bucket/app")
    assert load(file, {"HOME": "/h", "SPOOLQ_FAILURE_LOG": "/x"})[0].failure_log == ("/x",)
    with pytest.raises(ConfigError, match=r"unknown scheme 'ftp'.*\(from SPOOLQ_FAILURE_LOG\)"):
        load(file, {"HOME": "/h", "SPOOLQ_FAILURE_LOG": "ftp://x"})
