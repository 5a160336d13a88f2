"""`spoolq spool`: check, compact, recover, quarantine, export and import, as a person or a script calls them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from spoolq import transfer
from spoolq.app import SpoolQ
from spoolq.cli import spool_transfer
from spoolq.store.base import Spool, WorkerInfo
from spoolq.store.sqlite import driver
from tests.cli.conftest import Run
from tests.cli.hands import fill, spooled
from tests.servers import Server
from tests.unit.sqlite.test_sqlite_aside import spoil

pytestmark = pytest.mark.one_server

DRAINER = WorkerInfo("d", "host", 1, (), kind="drainer")


@pytest.fixture
def url(nowhere: str) -> str:
    """A Redis that is away, with three jobs in this host's spool."""
    fill(nowhere, 3)
    return nowhere


def path_of(url: str) -> Path:
    with SpoolQ(url) as q:
        return q.settings.spool_path


def set_aside(url: str, count: int, reason: str = "Redis refuses it") -> list[str]:
    """So many of the rows into quarantine. Their ids."""
    with SpoolQ(url) as q:
        spool = _spool(q)
        taken = spool.take(DRAINER, count, 1 << 20, spool.now() + 5)
        for handoff in taken:
            spool.quarantine(handoff, reason)
        spool.unregister(DRAINER)
        return [handoff.message.id for handoff in taken]


def _spool(q: SpoolQ) -> Spool:
    assert q.spool is not None
    return q.spool


@pytest.mark.parametrize(
    "command",
    ["check", "compact", "quarantine list", "quarantine show x", "quarantine release x", "quarantine drop x", "export f"],
)
def test_where_there_is_no_spool_none_is_made(run: Run, nowhere: str, command: str) -> None:
    said = run("spool", *command.split(), "--url", nowhere)
    assert said.code == 1
    assert "no spool at" in said.err
    assert not path_of(nowhere).exists()


# check


def test_a_sound_spool(run: Run, url: str) -> None:
    said = run("spool", "check", "--url", url)
    assert (said.code, said.out.splitlines()[0]) == (0, f"{path_of(url)} is sound.")
    assert "unknown: redis: Redis could not be asked: " in said.out
    document = run("spool", "check", "--url", url, "--whole", "--json").json
    assert document["ok"]
    assert {one["level"] for one in document["findings"]} <= {"note", "unknown"}


def test_what_is_found_has_a_remedy_and_an_exit_code(run: Run, url: str) -> None:
    set_aside(url, 1)
    said = run("spool", "check", "--url", url)
    assert said.code == 1
    assert said.out.startswith(
        "warning: quarantine: 1 row set aside, not to run until somebody looks\n  `spoolq spool quarantine list`\n"
    )
    document = run("spool", "check", "--url", url, "--json").json
    assert (document["ok"], [one["name"] for one in document["findings"] if one["level"] in ("warning", "problem")]) == (
        False,
        ["quarantine"],
    )


def test_how_redis_is_set_up_is_looked_at_too(
    run: Run, start_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_server(maxmemory_policy="allkeys-lru", maxmemory="64mb")
    server.stop()
    with monkeypatch.context() as brief:
        brief.setenv("SPOOLQ_DEADLINE", "500ms")
        fill(server.url, 1)
    server.cont()
    said = run("spool", "check", "--url", server.url)
    assert said.code == 1
    assert f"{path_of(server.url)} is sound.\n" in said.out
    assert "problem: eviction: Redis throws whole queues away when it is full (allkeys-lru)\n  CONFIG SET maxmemory-" in said.out
    assert "warning: persistence: when Redis stops, all jobs that it took are lost" in said.out


def test_a_login_that_redis_refuses_is_an_error(run: Run, fresh_server: Server) -> None:
    with fresh_server.client() as control:
        control.config_set("requirepass", "secret")
    fill(fresh_server.url, 1)
    said = run("spool", "check", "--url", fresh_server.url)
    assert said.code == 1
    assert "problem: permissions: Redis at " in said.out
    assert "secret" not in said.out


# compact


def test_it_gives_room_back(run: Run, url: str) -> None:
    fill(url, 2000)
    with SpoolQ(url) as q:
        spool = _spool(q)
        spool.handed_over(spool.take(DRAINER, 2000, 1 << 30, spool.now() + 5))
    would = run("spool", "compact", "--url", url, "--dry-run", "--json").json
    assert would["before"] > 2 * would["after"]
    said = run("spool", "compact", "--url", url)
    assert (said.code, said.out[: len(str(path_of(url)))]) == (0, str(path_of(url)))
    assert path_of(url).stat().st_size < would["before"] / 2
    assert spooled(url) == 3


# recover


def test_a_sound_spool_needs_none(run: Run, url: str) -> None:
    assert run("spool", "recover", "--url", url).out == "Nothing to recover: the spool is sound, and none was set aside.\n"
    assert run("spool", "recover", "--url", url, "--dry-run").out == "The spool is sound.\n"


def test_what_is_not_there_or_cant_be_opened_is_not_called_sound(run: Run, nowhere: str) -> None:
    for more in ([], ["--dry-run"]):
        said = run("spool", "recover", "--url", nowhere, "--spool", "spool.db", *more)
        assert (said.code, said.out) == (1, "")
        assert "no spool at" in said.err
        assert not Path("spool.db").exists()
    os.mkfifo("pipe.db")
    said = run("spool", "recover", "--url", nowhere, "--spool", "pipe.db")
    assert (said.code, said.out) == (73, "")


def test_a_damaged_spool_is_set_aside_after_a_question_and_saved(run: Run, url: str) -> None:
    fill(url, 500)
    path = path_of(url)
    content = spoil(path)
    assert run("status", "--url", url).out.count("damaged") >= 1
    assert run("spool", "recover", "--url", url, "--dry-run").out == "The spool is damaged, and would be set aside.\n"
    refused = run("spool", "recover", "--url", url, input="n\n")
    assert (refused.code, path.read_bytes()) == (1, content)
    done = run("spool", "recover", "--url", url, "--yes", "--json")
    assert done.code == 1  # not all of it could be read
    [one] = done.json["recovered"]
    assert Path(one["path"]).read_bytes() == content
    assert spooled(url) == one["saved"]
    check = run("spool", "check", "--url", url)
    assert (check.code, one["path"] in check.out) == (1, True)
    for command in ("status", "health"):
        said = run(command, "--url", url)
        assert said.out.startswith("Whether anything is lost isn't known.") or command == "health"
        assert one["path"] in said.out.replace("\n", "")
        assert "Nothing is lost" not in said.out
    assert run("health", "--url", url).code == 1
    os.rename(one["path"], "elsewhere.db")
    assert run("spool", "check", "--url", url).code == 0
    assert run("status", "--url", url).out.startswith("Nothing is lost on this host.")


def test_a_file_that_is_no_spool_is_refused(run: Run, nowhere: str) -> None:
    Path("notes.txt").write_text("notes\n" * 1000)
    said = run("spool", "recover", "--url", nowhere, "--spool", "notes.txt", "--yes")
    assert said.code == 78
    assert "nothing says that it has been a spool. It was left as it is" in said.err
    assert run("spool", "check", "--url", nowhere, "--spool", "notes.txt").code == 73
    assert Path("notes.txt").read_text() == "notes\n" * 1000


# quarantine


def test_it_is_listed_and_shown(run: Run, url: str) -> None:
    assert run("spool", "quarantine", "list", "--url", url).err == "Nothing is set aside.\n"
    id, _ = set_aside(url, 2)
    lines = run("spool", "quarantine", "list", "--url", url).out.splitlines()
    assert lines[0].split() == ["JOB", "QUEUE", "AGE", "REASON"]
    assert lines[1].startswith(id)
    assert lines[1].endswith("Redis refuses it")
    document = run("spool", "quarantine", "list", "--url", url, "--json", "--limit", 1).json
    assert (document["count"], [one["id"] for one in document["jobs"]]) == (2, [id])
    shown = run("spool", "quarantine", "show", id, "--url", url).out
    assert "reason    Redis refuses it" in shown
    assert "0@example.com" in shown
    assert json.loads(run("spool", "quarantine", "show", id, "--url", url, "--json").json["payload"])["id"] == id
    assert run("spool", "quarantine", "show", "nobody", "--url", url).code == 1


def test_it_is_released_after_the_risk_was_said(run: Run, url: str) -> None:
    ids = set_aside(url, 2)
    assert run("spool", "quarantine", "release", "--all", "--url", url, "--dry-run").out == "Would release 2 jobs.\n"
    refused = run("spool", "quarantine", "release", ids[0], "--url", url, input="n\n")
    assert (refused.code, "is queued a second time: look there first" in refused.err, spooled(url)) == (1, True, 1)
    said = run("spool", "quarantine", "release", ids[0], "nobody", "--url", url, "--yes")
    assert (said.code, said.out, "not set aside: nobody" in said.err) == (1, "Released 1 job.\n", True)
    assert run("spool", "quarantine", "release", "--all", "--url", url, "--yes", "--json").json["released"] == 1
    assert spooled(url) == 3


def test_a_job_that_the_disk_changed_stays_unless_that_is_asked_for(run: Run, url: str) -> None:
    with SpoolQ(url) as q:
        _spool(q)
    foreign = driver.connect(str(path_of(url)), 5.0)
    foreign.execute("UPDATE jobs SET payload = CAST('garbled' AS BLOB) WHERE seq = 1")
    foreign.close()
    with SpoolQ(url) as q:
        spool = _spool(q)
        spool.give_back(spool.take(DRAINER, 10, 1 << 20, spool.now() + 5), applied="no")
    said = run("spool", "quarantine", "release", "--all", "--url", url, "--yes")
    assert (said.code, "1 job stayed: the checksum doesn't fit" in said.out) == (1, True)
    assert run("spool", "quarantine", "release", "--all", "--damaged", "--url", url, "--yes").out == "Released 1 job.\n"


def test_it_is_dropped_after_a_question(run: Run, url: str) -> None:
    set_aside(url, 2)
    assert run("spool", "quarantine", "drop", "--all", "--url", url, "--dry-run").out == "Would delete 2 jobs.\n"
    assert run("spool", "quarantine", "drop", "--all", "--url", url, input="n\n").code == 1
    said = run("spool", "quarantine", "drop", "--all", "--url", url, input="y\n")
    assert (said.code, "Delete 2 jobs for good?" in said.err, said.out.endswith("Deleted 2 jobs.\n")) == (0, True, True)
    assert run("spool", "quarantine", "drop", "--url", url).code == 2


# export and import


def test_jobs_move_from_one_spool_to_another(run: Run, url: str) -> None:
    set_aside(url, 1)
    would = run("spool", "export", "jobs.jsonl", "--move", "--dry-run", "--url", url)
    assert would.out == "Would write 2 jobs, 1 of quarantine to jobs.jsonl, and remove them.\n"
    assert not Path("jobs.jsonl").exists()
    assert run("spool", "export", "jobs.jsonl", "--move", "--url", url, input="n\n").code == 1
    assert not Path("jobs.jsonl").exists()
    said = run("spool", "export", "jobs.jsonl", "--move", "--yes", "--url", url)
    assert (said.code, said.out) == (0, "Wrote 2 jobs, 1 of quarantine to jobs.jsonl and removed them.\n")
    assert stat.S_IMODE(Path("jobs.jsonl").stat().st_mode) == 0o600
    assert spooled(url) == 0
    other = ("--url", url, "--spool", "other.db")
    run("enqueue", "t", *other)
    assert run("spool", "import", "jobs.jsonl", *other, "--dry-run").out == "Would take in 3 rows from jobs.jsonl.\n"
    assert run("spool", "import", "jobs.jsonl", *other).out == "Took in 3 rows from jobs.jsonl.\n"
    again = run("spool", "import", "jobs.jsonl", *other, "--json").json
    assert (again["added"], again["before"], again["whole"]) == (0, 3, True)


def test_a_copy_leaves_the_jobs_and_no_file_is_overwritten(run: Run, url: str) -> None:
    assert run("spool", "export", "copy.jsonl", "--url", url).out == "Wrote 3 jobs to copy.jsonl.\n"
    assert spooled(url) == 3
    said = run("spool", "export", "copy.jsonl", "--url", url)
    assert (said.code, "is there already. Nothing was exported" in said.err) == (78, True)


def test_jobs_in_hand_are_told(run: Run, url: str) -> None:
    with SpoolQ(url) as q:
        _spool(q).take(DRAINER, 1, 1 << 20, _spool(q).now() + 5)
    said = run("spool", "export", "jobs.jsonl", "--url", url)
    assert (said.code, said.out) == (1, "Wrote 2 jobs to jobs.jsonl.\n")
    assert "left out, in the hands of a worker or drainer: 1 job" in said.err


def test_jobs_that_somebody_takes_while_they_are_moved_are_told(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    syncing = spool_transfer._syncing

    def beside_a_drainer(out: IO[bytes]) -> transfer.Sync:
        sync = syncing(out)

        def synced_and_taken() -> None:
            sync()
            with SpoolQ(url) as q:
                spool = _spool(q)
                spool.give_back(spool.take(DRAINER, 1, 1 << 20, spool.now() + 5), applied="maybe")

        return synced_and_taken

    monkeypatch.setattr(spool_transfer, "_syncing", beside_a_drainer)
    said = run("spool", "export", "jobs.jsonl", "--move", "--yes", "--url", url)
    assert (said.code, spooled(url)) == (1, 1)
    assert "in the file, and in the spool too, since somebody took them meanwhile: 1 job" in said.err


def test_another_destination_is_refused(run: Run, url: str) -> None:
    run("spool", "export", "jobs.jsonl", "--url", url)
    elsewhere = ("--url", "redis://127.0.0.1:1/3", "--spool", "other.db")
    said = run("spool", "import", "jobs.jsonl", *elsewhere)
    assert said.code == 78
    assert "--to-here sends them there all the same" in said.err
    said = run("spool", "import", "jobs.jsonl", "--to-here", *elsewhere)
    assert said.out == "Took in 3 rows from jobs.jsonl.\n"
    assert "3 jobs may be in the other Redis too" in said.err  # a copy: they are still in their own spool
    assert run("spool", "export", "moved.jsonl", "--move", "--yes", "--url", url).code == 0
    said = run("spool", "import", "moved.jsonl", "--to-here", *elsewhere, "--json")
    assert (said.json["known"], said.json["doubtful"]) == (3, 3)  # exported once before: in doubt since


def test_lines_that_cannot_be_read_are_named_and_the_others_taken(run: Run, url: str) -> None:
    run("spool", "export", "jobs.jsonl", "--url", url)
    lines = Path("jobs.jsonl").read_text().splitlines()
    broken = [lines[0], "{", '{"kind": "job", "id": 5}', '{"kind": "other"}', "[]", *lines[1:-1]]
    Path("broken.jsonl").write_text("\n".join(broken))
    other = ("--url", url, "--spool", "other.db")
    said = run("spool", "import", "broken.jsonl", *other)
    assert (said.code, said.out) == (1, "Took in 3 rows from broken.jsonl.\n")
    assert "line 2 was left out: not JSON" in said.err
    assert "line 3 was left out: id, queue, payload" in said.err
    assert "line 4 was left out: a line of unknown kind 'other'" in said.err
    assert "the file ends early" in said.err
    mended = run("spool", "import", "jobs.jsonl", *other)
    assert (mended.code, mended.out) == (0, "Took in 0 rows from jobs.jsonl. 3 were known here.\n")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", '"\\ud800"'),
        ("id", '"\\udfff"'),
        ("payload", '"\\ud800"'),
        ("quarantine", '"\\ud800"'),
        ("crc", str(2**70)),
        ("crc", "true"),
        ("keep", "null"),
        ("keep", '"60"'),
        ("keep", "true"),
        ("keep", "9" * 5000),
        ("keep", "1e300"),
        ("run_at", "true"),
        ("run_at", "NaN"),
        ("not_after", "false"),
        ("created_at", str(2**70)),
        ("in_doubt", "1"),
        ("more", "[" * 100_000 + "]" * 100_000),
    ],
)
def test_a_line_with_a_value_that_no_export_writes_is_left_out_and_named(run: Run, url: str, field: str, value: str) -> None:
    run("spool", "export", "jobs.jsonl", "--url", url)
    lines = Path("jobs.jsonl").read_text().splitlines()
    at = f'"{field}": '
    odd = {**json.loads(lines[1]), field: "HERE"}
    lines[1] = json.dumps(odd).replace(f'{at}"HERE"', at + value)
    Path("odd.jsonl").write_text("\n".join(lines))
    other = ("--url", url, "--spool", "other.db")
    said = run("spool", "import", "odd.jsonl", *other)
    assert (said.code, said.out) == (1, "Took in 2 rows from odd.jsonl.\n")
    assert "line 2 was left out: " in said.err
    assert run("spool", "import", "jobs.jsonl", *other).out == "Took in 1 row from jobs.jsonl. 2 were known here.\n"


def test_an_export_from_before_keep_is_taken(run: Run, url: str) -> None:
    run("spool", "export", "jobs.jsonl", "--url", url)
    lines = [json.loads(line) for line in Path("jobs.jsonl").read_text().splitlines()]
    old = [{name: value for name, value in line.items() if name != "keep"} for line in lines]
    Path("old.jsonl").write_text("\n".join(map(json.dumps, old)))
    assert run("spool", "import", "old.jsonl", "--url", url, "--spool", "other.db").out == "Took in 3 rows from old.jsonl.\n"


@pytest.mark.parametrize(
    "first",
    ["", "{}", '{"kind": "spool", "export": "\\ud800", "spoolq": 1}', "text", '{"kind": "spool", "export": "x", "spoolq": 99}'],
)
def test_what_is_no_export_is_refused(run: Run, url: str, first: str) -> None:
    Path("f").write_text(first + "\n")
    said = run("spool", "import", "f", "--url", url)
    assert (said.code, "Nothing was imported" in said.err) == (78, True)
