"""`spoolq failed` chooses by task, error and time, and moves failures to files and buckets and back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spoolq.app import SpoolQ
from spoolq.failurelog import entry
from spoolq.failurelog.files import FailureFiles
from spoolq.job import Failure
from spoolq.store.sqlite.store import SQLiteStore
from tests.cli.conftest import Run
from tests.s3 import BUCKET, S3
from tests.servers import NOWHERE, Server
from tests.unit.failurelog.hands import failure

URL = "sqlite:///jobs.db"
PLACE = f"s3://{BUCKET}/app"


def fill(*failures: Failure, url: str = URL) -> None:
    with SpoolQ(url) as q:
        q.primary.put([q.message(q.remote("make", "the-file").job())])
        q.primary.failures.add(failures)


def some(now: float) -> list[Failure]:
    """Three, the newest last: two tasks, two errors, an hour apart."""
    first, second, third = (failure(f"j{n}", at=now - 3600 * (2 - n) - 60) for n in range(3))
    other = replace(second, exception="TimeLimit", error="ran longer than 30 s")
    return [first, other, replace(third, queue="bulk", payload=third.payload.replace(b'"send"', b'"resize"'))]


@pytest.fixture
def three() -> list[str]:
    fill(*some(time.time()))
    return ["j0", "j1", "j2"]


def listed(run: Run, *args: str) -> list[str]:
    return [one["id"] for one in run("failed", "list", *args, "--json", "--url", URL).json["failures"]]


def ready(run: Run, url: str = URL) -> int:
    return sum(queue["ready"] for queue in run("queues", "list", "--json", "--url", url).json["queues"]) - 1


CHOICES = [
    (("--task", "send"), ["j1", "j0"]),
    (("--task", "resize"), ["j2"]),
    (("--error", "timelimit"), ["j1"]),
    (("--error", "no ADDRESS"), ["j2", "j0"]),
    (("--error", "ValueError: no"), ["j2", "j0"]),
    (("--queue", "bulk"), ["j2"]),
    (("--since", "90m"), ["j2", "j1"]),
    (("--before", "90m"), ["j0"]),
    (("--since", "90m", "--before", "30m"), ["j1"]),
    (("--since", "2020-01-01", "--task", "send", "--error", "address"), ["j0"]),
    (("--task", "nobody"), []),
]


@pytest.mark.parametrize(("choice", "found"), CHOICES)
def test_failures_are_chosen(run: Run, three: list[str], choice: tuple[str, ...], found: list[str]) -> None:
    assert listed(run, *choice) == found
    assert listed(run, *choice, "--limit", "1") == found[:1]
    FailureFiles(Path("log").absolute()).append([entry.written(one) for one in some(time.time())])
    assert listed(run, *choice, "--from", "log") == found
    assert listed(run, *choice, "--from", "log", "--skip", "1") == found[1:]


def test_of_those_that_are_chosen_none_is_said(run: Run, three: list[str]) -> None:
    assert run("failed", "list", "--task", "nobody", "--url", URL).err == "No such failures.\n"
    assert "of 3 failures" not in run("failed", "list", "--task", "send", "--limit", "1", "--url", URL).err


@pytest.mark.parametrize("text", ["soon", "yesterday", "-1h"])
def test_a_time_that_is_none_is_refused(run: Run, text: str) -> None:
    said = run("failed", "list", f"--since={text}", "--url", URL)
    assert said.code == 2
    assert "expected how long ago" in said.err


def test_the_chosen_are_put_back_and_removed(run: Run, three: list[str]) -> None:
    assert run("failed", "retry", "--error", "TimeLimit", "--url", URL).out == "Put back 1 job.\n"
    assert ready(run) == 1
    assert "Delete 1 failure for good" in run("failed", "remove", "--task", "send", "--url", URL, input="n\n").err
    assert run("failed", "remove", "--task", "send", "--yes", "--url", URL).out == "Deleted 1 failure.\n"
    assert listed(run) == ["j2"]
    assert run("failed", "remove", "--task", "nobody", "--yes", "--url", URL).out == "Deleted 0 failures.\n"


@pytest.mark.parametrize("args", [("j0", "--task", "x"), ("j0", "--all"), ()])
def test_they_are_named_in_one_way(run: Run, three: list[str], args: tuple[str, ...]) -> None:
    for verb in ("retry", "remove"):
        assert run("failed", verb, *args, "--url", URL).code == 2
    assert len(listed(run)) == 3


@pytest.mark.parametrize("option", ["--error", "--task", "--queue"])
@pytest.mark.parametrize("verb", ["retry", "remove"])
def test_an_empty_text_chooses_nothing(run: Run, three: list[str], verb: str, option: str) -> None:
    said = run("failed", verb, option, " ", "--url", URL, input="y\n")
    assert (said.code, "an empty text" in said.err) == (2, True)
    assert len(listed(run)) == 3


def test_prune_asks_and_names_the_count(run: Run, three: list[str]) -> None:
    assert run("failed", "prune", "--url", URL).code == 2
    assert run("failed", "prune", "--older", "90m", "--dry-run", "--url", URL).out == "Would delete 1 failure.\n"
    assert run("failed", "prune", "--older", "30m", "--keep", "0", "--dry-run", "--url", URL).out == "Would delete 3 failures.\n"
    assert "Delete 1 failure for good" in run("failed", "prune", "--older", "90m", "--url", URL, input="n\n").err
    assert len(listed(run)) == 3
    assert run("failed", "prune", "--older", "90m", "--yes", "--url", URL).out == "Deleted 1 failure.\n"
    assert run("failed", "prune", "--keep", "1", "--yes", "--json", "--url", URL).json["removed"] == 1
    assert listed(run) == ["j2"]


def test_out_to_a_file_and_back(run: Run, three: list[str]) -> None:
    assert run("failed", "export", "out.jsonl", "--url", URL).out.startswith("Wrote 3 failures to ")
    assert Path("out.jsonl").stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["payload"]["id"] for line in Path("out.jsonl").read_text().splitlines()] == three
    assert listed(run, "--from", "out.jsonl") == three[::-1]
    again = run("failed", "export", "out.jsonl", "--url", URL)
    assert (again.code, "is there already" in again.err) == (78, True)
    before = run("failed", "list", "--json", "--url", URL).json
    assert run("failed", "import", "out.jsonl", "--url", URL).out.endswith(" 3 were there already.\n")
    run("failed", "remove", "j0", "j2", "--yes", "--url", URL)
    assert run("failed", "import", "out.jsonl", "--dry-run", "--json", "--url", URL).json["added"] == 2
    assert run("failed", "import", "out.jsonl", "--task", "resize", "--json", "--url", URL).json["added"] == 1
    assert run("failed", "import", "out.jsonl", "--json", "--url", URL).json["added"] == 1
    assert sorted(one["id"] for one in before["failures"]) == sorted(listed(run))
    shown = run("failed", "show", "j1", "--from", "out.jsonl", "--url", URL)
    assert "TimeLimit: ran longer" in shown.out
    assert run("failed", "show", "nobody", "--from", "out.jsonl", "--url", URL).code == 1


def test_out_to_a_directory(run: Run, three: list[str]) -> None:
    Path("log").mkdir()
    older = Path("log/failures-20200101-0001.jsonl")
    older.write_bytes(entry.written(failure("old")) + b"\n")
    os.utime(older, (1_577_836_800, 1_577_836_800))
    for _ in range(3):
        said = run("failed", "export", "log", "--task", "send", "--url", URL)
        assert said.code == 0
    assert listed(run, "--from", "log", "--limit", "2") == ["j1", "j0"]
    assert older.exists(), "an export deletes nothing"


def test_a_job_is_put_back_from_a_file_once(run: Run, three: list[str]) -> None:
    run("failed", "export", "out.jsonl", "--url", URL)
    run("failed", "remove", "--all", "--yes", "--url", URL)
    assert run("failed", "retry", "j0", "--from", "out.jsonl", "--dry-run", "--url", URL).out.startswith("Would put back 1 job")
    assert ready(run) == 0
    assert run("failed", "retry", "j0", "--from", "out.jsonl", "--url", URL).out.startswith("Put back 1 job")
    said = run("failed", "retry", "--all", "--from", "out.jsonl", "--json", "--url", URL).json
    assert (said["retried"], said["known"]) == (2, 1)
    assert ready(run) == 3
    said = run("failed", "retry", "--all", "--from", "out.jsonl", "--json", "--url", URL).json
    assert (said["retried"], said["known"]) == (0, 3)
    assert run("failed", "retry", "nobody", "--from", "out.jsonl", "--url", URL).code == 1


def test_what_the_list_has_too_goes_back_from_there(run: Run, three: list[str]) -> None:
    run("failed", "export", "out.jsonl", "--url", URL)
    run("failed", "remove", "j0", "--yes", "--url", URL)
    assert run("failed", "retry", "--all", "--from", "out.jsonl", "--json", "--url", URL).json["retried"] == 3
    assert listed(run) == []
    assert ready(run) == 3


def test_a_later_failure_in_the_list_is_left_to_it(run: Run) -> None:
    fill(failure("a", run=1), failure("b"))
    FailureFiles(Path("log").absolute()).append([entry.written(failure(id)) for id in "ab"])
    said = run("failed", "retry", "--all", "--from", "log", "--json", "--url", URL).json
    assert (said["retried"], said["later"]) == (1, 1)
    assert listed(run) == ["a"]


def test_of_a_job_that_failed_again_after_a_rerun_the_newest_goes_back(run: Run) -> None:
    fill()
    FailureFiles(Path("log").absolute()).append([entry.written(failure("a", run=run_)) for run_ in (0, 1, 2)])
    assert run("failed", "retry", "a", "--from", "log", "--json", "--url", URL).json["retried"] == 1
    with SpoolQ(URL) as q:
        [claim] = q.primary.claim(q.worker_info(("mail",), 1), 1, ("mail",), 5).claims
    assert json.loads(claim.payload)["run"] == 3


def test_a_job_without_an_id_is_put_back_once(run: Run) -> None:
    fill()
    bare = replace(failure("x"), id="0199", payload=b'{"class":"send","queue":"mail","args":[1]}')
    FailureFiles(Path("log").absolute()).append([entry.written(bare)])
    for expected in (1, 0):
        assert run("failed", "retry", "--all", "--from", "log", "--json", "--url", URL).json["retried"] == expected
    assert ready(run) == 1


def test_one_that_fails_again_at_once_is_in_the_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(failure("a"))
    FailureFiles(Path("log").absolute()).append([entry.written(failure("a"))])
    put = SQLiteStore.put

    def put_and_fail(store: SQLiteStore, *args: Any, **options: Any) -> list[bool]:
        new = put(store, *args, **options)
        store.failures.add([failure("a", run=1)])  # a worker was quick
        return new

    monkeypatch.setattr(SQLiteStore, "put", put_and_fail)
    assert run("failed", "retry", "--all", "--from", "log", "--json", "--url", URL).json["retried"] == 1
    assert listed(run) == ["a"]


def test_what_was_redacted_can_be_seen_and_not_be_put_back(run: Run) -> None:
    fill()

    def hush(fields: dict[str, dict[str, list[str]]]) -> None:
        fields["payload"]["args"] = ["***"]

    FailureFiles(Path("log").absolute()).append([entry.written(failure("a"), hush), entry.written(failure("b"))])
    assert '"***"' in run("failed", "show", "a", "--from", "log", "--url", URL).out
    said = run("failed", "retry", "--all", "--from", "log", "--url", URL)
    assert (said.code, said.out.startswith("Put back 1 job")) == (1, True)
    assert "can't be put back, since arguments were taken out (a)" in said.err
    said = run("failed", "import", "log", "--url", URL)
    assert (said.code, "can't be taken in, since arguments were taken out (a)" in said.err) == (1, True)
    assert listed(run) == ["b"]


def test_lines_that_are_no_failures_are_counted(run: Run) -> None:
    fill()
    Path("odd.jsonl").write_bytes(b'nonsense\n{"a":1}\n\n' + entry.written(failure("a")) + b"\n")
    said = run("failed", "import", "odd.jsonl", "--url", URL)
    assert (said.code, said.out.startswith("Took in 1 failure")) == (1, True)
    assert "2 lines can't be taken in" in said.err


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("gone", "isn't there: name a file"),
        ("ftp://x", "FROM: ftp://x: unknown scheme"),
        ("s3://k:hunter2@b", "no credentials and options in the URL"),
    ],
)
def test_a_place_that_is_none_is_named(run: Run, place: str, says: str) -> None:
    fill()
    for args in (("list", "--from", place), ("import", place), ("retry", "--all", "--from", place)):
        said = run("failed", *args, "--url", URL)
        assert (said.code, says in said.err, "hunter2" in said.err) == (78, True, False)


@pytest.mark.parametrize("args", [("list",), ("show", "j0"), ("retry", "--all")])
def test_a_store_beside_another_place_is_refused(run: Run, three: list[str], args: tuple[str, ...]) -> None:
    assert run("failed", "export", "failures.jsonl", "--url", URL).code == 0
    said = run("failed", *args, "--from", "failures.jsonl", "--in", "primary", "--url", URL)
    assert said.code == 2
    assert "give one of them" in said.err


def test_what_cant_be_read_has_no_time(run: Run) -> None:
    Path("failures.jsonl").write_text("no failure\n")
    [line] = [line for line in run("failed", "list", "--from", "failures.jsonl").out.splitlines() if "(unreadable)" in line]
    assert line.split()[0] == "-"


def test_an_app_redacts_what_it_exports(run: Run) -> None:
    Path("hushed.py").write_text(
        "from spoolq import SpoolQ\n"
        "def hush(entry):\n    entry['payload']['args'] = []\n"
        f"q = SpoolQ({URL!r}, redact=hush, spool_min_free=0)\n"
    )
    fill(failure("a"))
    run("failed", "export", "out.jsonl", "--app", "hushed:q")
    assert "example.com" not in Path("out.jsonl").read_text()


# buckets


def test_an_export_that_fails_leaves_no_file(run: Run) -> None:
    assert run("failed", "export", "out.jsonl", "--url", NOWHERE).code == 69
    assert not Path("out.jsonl").exists()


def test_out_to_a_bucket_and_back(run: Run, three: list[str], s3: S3) -> None:
    for _ in range(2):
        assert run("failed", "export", PLACE, "--url", URL).code == 0
    day = time.strftime("%Y/%m/%d", time.gmtime(time.time() - 60))
    assert len(s3.objects()) == 3
    [key] = [key for key in s3.objects() if key.startswith(f"app/{day}/j2.0.4.")]
    assert sorted(listed(run, "--from", PLACE)) == three
    assert listed(run, "--from", PLACE, "--error", "timelimit") == ["j1"]
    assert listed(run, "--from", PLACE, "--since", "400d", "--before", "300d") == []
    assert listed(run, "--from", PLACE.removesuffix("app") + key) == ["j2"]
    run("failed", "remove", "--all", "--yes", "--url", URL)
    assert run("failed", "import", PLACE, "--json", "--url", URL).json["added"] == 3
    assert run("failed", "import", PLACE, "--json", "--url", URL).json["added"] == 0
    run("failed", "remove", "--all", "--yes", "--url", URL)
    assert run("failed", "retry", "--all", "--from", PLACE, "--json", "--url", URL).json["retried"] == 3
    assert run("failed", "retry", "--all", "--from", PLACE, "--json", "--url", URL).json["retried"] == 0
    assert ready(run) == 3


def test_with_redis_too(run: Run, server: Server, s3: S3) -> None:
    fill(*some(time.time()), url=server.url)
    assert run("failed", "export", PLACE, "--url", server.url).code == 0
    run("failed", "remove", "--all", "--yes", "--url", server.url)
    assert run("failed", "import", PLACE, "--task", "resize", "--json", "--url", server.url).json["added"] == 1
    for expected in (3, 0):
        said = run("failed", "retry", "--all", "--from", PLACE, "--json", "--url", server.url).json
        assert said["retried"] == expected
    assert ready(run, server.url) == 3


def test_many_objects_newest_first(run: Run, s3: S3) -> None:
    fill(*(failure(f"j{n:02}", at=1_795_683_600.0 + 86_400 * n) for n in range(40)))
    run("failed", "export", PLACE, "--url", URL)
    assert listed(run, "--from", PLACE, "--limit", "3") == ["j39", "j38", "j37"]
    found = listed(run, "--from", PLACE, "--limit", "50", "--since", "2026-12-01", "--before", "2026-12-04")
    assert found == ["j07", "j06", "j05"]


def away(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.stop()


def no_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.clear(make=False)


@pytest.mark.parametrize(("fault", "code", "says"), [(away, 69, "can't be reached"), (no_bucket, 78, "no such bucket")])
def test_a_bucket_that_cant_be_used_is_said(
    run: Run, three: list[str], s3: S3, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., None], code: int, says: str
) -> None:
    fault(s3, monkeypatch)
    for args in (("export", PLACE), ("list", "--from", PLACE), ("import", PLACE), ("retry", "--all", "--from", PLACE)):
        said = run("failed", *args, "--url", URL)
        assert (said.code, said.out) == (code, "")
        assert says in said.err
        assert said.err.count("\n") == 1
        assert "hunter2" not in said.err
    assert len(listed(run)) == 3


def test_a_large_failure_is_one_object_too(run: Run, s3: S3) -> None:
    fill(failure("a", args=("x" * (12 << 20),)))
    for _ in range(2):
        assert run("failed", "export", PLACE, "--url", URL).code == 0
    [held] = s3.objects().values()
    assert held == entry.written(failure("a", args=("x" * (12 << 20),)))


# config check


def test_config_check_tries_the_places(run: Run, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    monkeypatch.setenv("SPOOLQ_FAILURE_LOG", f"log,{PLACE}")
    said = run("config", "check", "--url", URL)
    assert (said.code, said.out) == (0, "ok: every setting can be used\n")
    assert list(s3.objects()) == ["app/.spoolq"]
    assert not Path("log").exists(), "looking made a directory"
    assert run("config", "check", "--url", URL).code == 0
    assert f"{Path.cwd()}/log, {PLACE}" in run("config", "show", "--url", URL).out
    assert run("config", "show", "--json", "--url", URL).json["settings"]["failure_log"]["value"][1] == PLACE
    s3.stop()
    said = run("config", "check", "--url", URL)
    assert (said.code, "can't be reached" in said.out, "wait on this disk" in said.out) == (1, True, True)
    monkeypatch.setenv("SPOOLQ_FAILURE_LOG", "no/log")
    said = run("config", "check", "--url", URL)
    assert (said.code, "there is no directory" in said.out) == (78, True)


def test_without_the_package_it_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fill()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for args in (("failed", "export", PLACE), ("failed", "list", "--from", PLACE)):
        said = run(*args, "--url", URL)
        assert (said.code, said.err) == (78, "spoolq: s3:// needs: pip install 'spoolq[s3]'\n")
    monkeypatch.setenv("SPOOLQ_FAILURE_LOG", PLACE)
    assert "needs: pip install" in run("config", "check", "--url", URL).out
    said = run("worker", "shop:q", "--burst")
    assert (said.code, "needs: pip install" in said.err) == (78, True)
