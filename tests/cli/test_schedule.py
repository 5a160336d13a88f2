"""`spoolq schedule`."""

from __future__ import annotations

from pathlib import Path

import pytest

from spoolq.app import SpoolQ
from tests.cli.conftest import SHOP, Run
from tests.cli.hands import spooled
from tests.waiting import eventually

APP = ("--app", "shop:q")
URL = "sqlite:///jobs.db"

PERIODIC = """
@q.periodic("30 2 * * MON-FRI", tz="Europe/Paris", missed="skip", args=["a@example.com"])
@q.task(queue="reports", retries=0)
def report(to): ...

q.periodic(1, name="beat", args=["b@example.com"])(send)
"""


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(SHOP + PERIODIC)
    monkeypatch.setenv("SHOP_URL", URL)


def test_list_says_when_in_words(run: Run, tmp_path: Path) -> None:
    said = run("schedule", "list", *APP)
    rows = said.out.splitlines()
    assert rows[0].split() == ["NAME", "NEXT", "LAST", "PAUSED", "WHEN"]
    assert rows[1].startswith("report  ")
    assert " 02:30:00 CE" in rows[1]
    assert ", in " in rows[1]
    assert rows[1].endswith("At 02:30 on Monday through Friday, Europe/Paris")
    assert rows[2].split()[0] == "beat"
    assert rows[2].endswith("every 1s")
    assert not (tmp_path / "jobs.db").exists(), "looking makes no queue"


def test_list_as_json(run: Run) -> None:
    report, beat = run("schedule", "list", *APP, "--json").json["schedules"]
    following = report.pop("next")
    assert report == {
        "name": "report",
        "task": "report",
        "queue": "reports",
        "when": "30 2 * * MON-FRI",
        "words": "At 02:30 on Monday through Friday, Europe/Paris",
        "tz": "Europe/Paris",
        "missed": "skip",
        "last": None,
        "paused": False,
        "paused_since": None,
    }
    assert len(following) == 5
    assert following == sorted(following)
    assert (beat["when"], beat["tz"], beat["queue"]) == ("every 1s", "UTC", "mail")


def test_run_enqueues_one_beside_the_ticks(run: Run) -> None:
    said = run("schedule", "run", "report", *APP, "--json").json
    assert (said["schedule"], said["route"], said["queue"], said["task"]) == ("report", "primary", "reports", "report")
    assert run("schedule", "run", "report", *APP).out.endswith("  primary\n")
    with SpoolQ(URL) as q:
        assert [(depth.queue, depth.ready) for depth in q.primary.depths()] == [("reports", 2)]
        assert q.primary.meta("periodic:report") is None


def test_pause_and_resume(run: Run) -> None:
    assert run("schedule", "pause", "beat", *APP).out == "Paused beat.\n"
    assert run("schedule", "pause", "beat", *APP).err == "beat was paused already.\n"
    shown = run("schedule", "list", *APP, "--json").json["schedules"]
    assert [(one["name"], one["paused"]) for one in shown] == [("report", False), ("beat", True)]
    assert shown[1]["paused_since"]
    assert " yes " in run("schedule", "list", *APP).out
    document = run("schedule", "resume", "beat", *APP, "--json").json
    assert document == {"schema": 1, "schedule": "beat", "paused": False, "changed": True}
    assert run("schedule", "resume", "beat", *APP).err == "beat was not paused.\n"


def test_one_that_is_declared_no_more_is_resumed_all_the_same(run: Run) -> None:
    from spoolq import pauses

    with SpoolQ(URL) as q:
        pauses.pause(q.primary, "old", 1.0)
    assert run("schedule", "resume", "old", *APP).out == "Resumed old.\n"


def test_what_a_worker_did_is_listed(run: Run) -> None:
    import sys
    import threading

    run("schedule", "list", *APP)  # loads the module
    worker = sys.modules["shop"].q.worker(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    eventually(lambda: Path("sent").exists())
    worker.stop()
    thread.join()
    assert Path("sent").read_text().startswith("b@example.com hello\n")
    report, beat = run("schedule", "list", *APP, "--json").json["schedules"]
    assert (report["last"], bool(beat["last"])) == (None, True)
    assert " ago " in run("schedule", "list", *APP).out


@pytest.mark.parametrize("command", ["run", "pause", "resume"])
def test_a_name_that_there_is_not(run: Run, command: str) -> None:
    said = run("schedule", command, "beet", *APP)
    assert (said.code, said.out) == (1, "")
    assert said.err == "spoolq: no schedule named 'beet'; there are: report, beat\n"


def test_without_an_application_it_is_wrong_usage(run: Run) -> None:
    said = run("schedule", "list")
    assert said.code == 2
    assert "--app module:attribute, such as shop.jobs:q" in said.err


def test_an_application_without_schedules_is_told_how_to(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    said = run("schedule", "list", *APP)
    assert (said.code, said.out) == (0, "")
    assert "@q.periodic('*/5 * * * *')" in said.err


def test_a_schedule_that_can_not_be_is_bad_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP + "\nq.periodic('61 * * * *', args=['a'])(send)\n")
    said = run("schedule", "list", *APP)
    assert said.code == 78
    assert "'61 * * * *'" in said.err


def test_without_redis_what_is_declared_is_shown_and_a_run_goes_to_the_spool(
    spoolq: Run, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", nowhere)
    said = spoolq("schedule", "list", *APP)
    assert said.code == 69
    assert said.out.splitlines()[1].endswith("At 02:30 on Monday through Friday, Europe/Paris")
    assert " ? " in said.out
    assert spoolq("schedule", "run", "report", *APP).out.endswith("  spool\n")
    assert spooled(nowhere) == 1
    said = spoolq("schedule", "pause", "report", *APP)
    assert said.code == 69
    assert "refused" in said.err
