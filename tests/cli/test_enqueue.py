"""`spoolq enqueue`."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from spoolq import wire
from spoolq.app import SpoolQ
from tests.cli.conftest import ROOT, Run
from tests.servers import Server

pytestmark = pytest.mark.one_server

URL = "sqlite:///jobs.db"


def only_job(url: str = URL, queue: str = "default") -> wire.Job:
    with SpoolQ(url) as q:
        claim = q.primary.claim(q.worker_info([queue], 1), 1, [queue], 10).claims[0]
        return wire.decode(claim.payload, queue)


def test_the_id_and_the_place_are_the_only_data(run: Run) -> None:
    said = run("enqueue", "send", '"ann"', "80", "--kwargs", '{"subject": "hi"}', "--url", URL)
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}  primary\n", said.out)
    job = only_job()
    assert (job.id, job.task, list(job.args), dict(job.kwargs)) == (said.out.split()[0], "send", ["ann", 80], {"subject": "hi"})


def test_as_json(run: Run) -> None:
    document = run("enqueue", "send", "--id", "mine", "--queue", "mail", "--json", "--url", URL).json
    assert document == {"schema": 1, "id": "mine", "route": "primary", "new": True, "queue": "mail", "task": "send"}


def test_the_same_id_again_queues_no_second_copy(run: Run) -> None:
    run("enqueue", "send", "--id", "mine", "--url", URL)
    said = run("enqueue", "send", "--id", "mine", "--url", URL)
    assert (said.code, said.out) == (0, "mine  primary  (was there already)\n")


def test_a_delay_and_a_time(run: Run) -> None:
    assert run("enqueue", "send", "--in", "1h", "--url", URL).code == 0
    assert run("enqueue", "send", "--at", "2099-12-24T18:00:00+01:00", "--url", URL).code == 0
    (queue,) = run("queues", "list", "--json", "--url", URL).json["queues"]
    assert (queue["ready"], queue["scheduled"]) == (0, 2)


def test_to_the_front(run: Run) -> None:
    run("enqueue", "send", "1", "--url", URL)
    assert run("enqueue", "send", "2", "--at-front", "--url", URL).code == 0
    assert only_job().args == (2,)
    said = run("enqueue", "send", "--at-front", "--in", "5m", "--url", URL)
    assert (said.code, said.out) == (2, "")
    assert "at_front= is for jobs that are due at once" in said.err


def test_a_task_of_the_app_goes_to_its_own_queue(run: Run) -> None:
    assert run("enqueue", "send", '"ann"', "--app", "shop:q", "--url", URL, "--json").json["queue"] == "mail"


def test_arguments_that_do_not_fit_the_task_are_wrong_usage(run: Run) -> None:
    said = run("enqueue", "send", "--app", "shop:q", "--url", URL)
    assert (said.code, said.out) == (2, "")
    assert "the arguments don't fit the task: send: missing a required argument: 'to'" in said.err


def test_a_name_that_the_app_lacks_is_sent_with_a_word(run: Run) -> None:
    said = run("enqueue", "sned", "--app", "shop:q", "--url", URL)
    assert said.code == 0
    assert said.err == "spoolq: shop:q has no task 'sned' (it has send, broken); sending it all the same\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("send", "ann"), "argument 1 isn't JSON"),
        (("send", "1", "NaN"), "argument 2 isn't JSON (NaN isn't JSON)"),
        (("send", "[" * 100_000), "argument 1 isn't JSON"),
        (("send", "--kwargs", "[1]"), "--kwargs isn't a JSON object: [1]"),
        (("send", "--in", "soon"), "'soon': expected a duration"),
        (("send", "--at", "tomorrow"), "'tomorrow': expected a time such as"),
        (("send", "--at", "2026-12-24T18:00:00"), "has no time zone: write 2026-12-24T18:00:00Z for UTC"),
        (("send", "--kwargs", "x"), """Give an object: --kwargs '{"subject": "hi"}'"""),
        (("send", "--in", "1", "--at", "2"), "--in and --at: give one of them"),
        (("send", "--in", "99999999d"), "too far away"),
        (("send", "--at", "1e30"), "at=1e+30 is too far away"),
        (("send", "--id", ""), "id='': an id is 1 to 200 printable characters"),
        (("send", "-1"), "No such option"),
        (("send", "--retries", "-1"), "-1 is not in the range"),
        ((), "Missing argument 'NAME'"),
    ],
)
def test_wrong_usage_says_how(run: Run, args: tuple[str, ...], says: str) -> None:
    said = run("enqueue", "--url", URL, *args)
    assert (said.code, said.out) == (2, "")
    assert says in said.err
    assert not Path("jobs.db").exists()


def test_a_job_that_can_not_be_carried_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOOLQ_MAX_PAYLOAD", "1KiB")
    said = run("enqueue", "send", f'"{"x" * 2000}"', "--url", URL)
    assert (said.code, said.out) == (1, "")
    assert "send" in said.err
    assert "Traceback" not in said.err


def test_a_wrong_queue_name_is_named(run: Run) -> None:
    said = run("enqueue", "send", "--queue", "a b", "--url", URL)
    assert said.code == 2
    assert "queue='a b'" in said.err


def test_without_redis_the_job_is_safe_in_the_spool_and_the_operator_is_told(spoolq: Run, nowhere: str) -> None:
    said = spoolq("enqueue", "send", "--url", nowhere)
    assert said.code == 0
    assert re.fullmatch(r"\S{36}  spool\n", said.out)
    assert "they go to the spool" in said.err


def test_when_neither_takes_it_the_error_has_the_id(spoolq: Run, nowhere: str) -> None:
    said = spoolq("enqueue", "send", "--id", "mine", "--url", nowhere, SPOOLQ_SPOOL_MIN_FREE="1024TiB")
    assert (said.code, said.out) == (73, "")
    assert "job mine could not be stored" in said.err
    assert "Traceback" not in said.err


def test_a_spool_whose_directory_is_missing_is_found_out_with_the_id_in_hand(spoolq: Run, nowhere: str) -> None:
    said = spoolq("enqueue", "send", "--id", "mine", "--url", nowhere, "--spool", "missing/spool.db")
    assert said.code == 75  # a given id asks the spool first, which can't say whether it is there already
    assert "there is no directory" in said.err
    assert "mine" in said.err
    said = spoolq("enqueue", "send", "--url", nowhere, "--spool", "missing/spool.db")
    assert said.code == 73
    assert "could not be stored: " in said.err


def test_a_spool_that_is_no_database_is_a_named_fault(spoolq: Run, nowhere: str, tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"holiday pictures " * 1000)
    said = spoolq("enqueue", "send", "--url", nowhere, "--spool", "spool.db")
    assert said.code == 73
    assert "Traceback" not in said.err
    assert (tmp_path / "spool.db").read_bytes().startswith(b"holiday")


def test_a_queue_that_is_no_database_is_a_named_fault(run: Run) -> None:
    connection = sqlite3.connect("other.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    said = run("enqueue", "send", "--url", "sqlite:///other.db")
    assert said.code in (73, 78)
    assert "other.db" in said.err


def test_with_redis_it_is_in_redis(spoolq: Run, server: Server) -> None:
    said = spoolq("enqueue", "send", '"ann"', "--queue", "mail", "--url", server.url)
    assert (said.code, said.out.split()[1], said.err) == (0, "primary", "")
    assert server.client().llen("resque:queue:mail") == 1


def test_a_negative_number_goes_behind_two_dashes(run: Run) -> None:
    assert run("enqueue", "--url", URL, "send", "--", "-1", "2").code == 0
    assert list(only_job().args) == [-1, 2]


SLOW = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "redis":
            time.sleep(0.6)

sys.meta_path.insert(0, Slow())
"""


def test_a_new_process_has_time_to_load_the_driver_before_its_deadline_begins(spoolq: Run, server: Server) -> None:
    """The teeth: an application's first call within the same deadline loads the driver in it, and spools."""
    Path("sitecustomize.py").write_text(SLOW)
    env = {"SPOOLQ_DEADLINE": "500ms", "SPOOLQ_URL": server.url, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{ROOT}"}
    first = "from spoolq import SpoolQ; print(SpoolQ(spool='first.db').enqueue('send').route)"
    ran = subprocess.run([sys.executable, "-c", first], env={**os.environ, **env}, capture_output=True, text=True, check=True)
    assert ran.stdout == "spool\n"
    # on a busy machine the put itself may take longer, so more than one try, each with a destination (and its hint) of its own
    tries = (spoolq("enqueue", "send", "--json", "--namespace", f"try{number}", **env) for number in range(30))
    assert any(said.json["route"] == "primary" for said in tries)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_receipt_that_can_not_be_printed_is_no_reason_to_launch_the_job_again(tmp_path: Path, form: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "spoolq", "enqueue", "mail", "--id", "a", "--url", f"sqlite:///{tmp_path}/jobs.db", *form],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "SPOOLQ_SPOOL_MIN_FREE": "0"},
        )
    assert ran.returncode == 1
    assert ran.stderr == "spoolq: job a is stored (primary), but the output can't be written: No space left on device\n"
