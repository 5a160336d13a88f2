"""From settings to places: beside the spool, prepared at the worker's start, nothing for who only enqueues."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from spoolq.errors import ConfigError
from spoolq.failurelog.assembly import outbox_of, outboxes
from tests.unit.failurelog.hands import failure


def made(folder: Path, *places: str) -> SpoolQ:
    return SpoolQ(f"sqlite:///{folder}/q.db", spool_min_free=0, failure_log=places)


def test_without_the_setting_there_is_none(tmp_path: Path) -> None:
    with made(tmp_path) as q:
        assert q.failure_sink() is None
        q.worker()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


def test_a_bucket_alone_has_its_outbox_beside_the_queue(tmp_path: Path) -> None:
    with made(tmp_path, "s3://bucket/app") as q:
        q.worker()
        sink = q.failure_sink()
        assert sink is not None
        sink.write([failure("a")])
        folder = outbox_of(q.settings, "s3://bucket/app")
    assert folder.parent == tmp_path / "q.db-failures"
    assert len(list(folder.glob("*.jsonl"))) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_spools_own_directory_is_made_only_where_it_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    with SpoolQ("redis://127.0.0.1:1/0", failure_log="s3://bucket") as q:
        q.worker(drain=False)
        assert outboxes(q.settings).is_dir()
    with (
        SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "typo" / "spool.db", failure_log="s3://bucket") as q,
        pytest.raises(ConfigError, match=r"there is no directory .*typo; make it"),
    ):
        q.worker()
    assert not (tmp_path / "typo").exists()


def test_what_waits_for_a_bucket_that_is_named_no_more_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with made(tmp_path, "s3://old") as q:
        sink = q.failure_sink()
        assert sink is not None
        sink.write([failure("a")])
        q.worker()
    assert "named no more" not in caplog.text
    with made(tmp_path, "s3://new") as q, caplog.at_level(logging.WARNING):
        q.worker()
    assert f"failures wait in {outbox_of(made(tmp_path).settings, 's3://old')} for a bucket that" in caplog.text


def test_a_hook_must_be_a_function(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a function of one argument"):
        SpoolQ(f"sqlite:///{tmp_path}/q.db", redact="secret")  # type: ignore[arg-type]


def test_a_drainer_writes_what_the_journal_had(tmp_path: Path) -> None:
    with SpoolQ("redis://127.0.0.1:1/0", spool=tmp_path / "s.db", failure_log=str(tmp_path / "log"), spool_min_free=0) as q:
        assert q.replayer()._record is not None
