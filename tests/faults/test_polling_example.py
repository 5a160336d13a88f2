"""The example page, over HTTP, with a real worker, through an outage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server
from tests.waiting import eventually

pytestmark = pytest.mark.one_server

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "polling"


class Site:
    """The page's web server, and a worker beside it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SPOOLQ_URL": url,
            "SPOOLQ_SPOOL": str(folder / "spool.db"),
            "SPOOLQ_SPOOL_MIN_FREE": "0",
            "SPOOLQ_DEADLINE": "5s",
        }
        self.processes: list[subprocess.Popen[str]] = []
        web = self.start("web.py", "0")
        assert web.stdout is not None
        line = web.stdout.readline()
        self.url = re.search(r"http://\S+(?=/)", line)[0]  # type: ignore[index]

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=EXAMPLE,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def work(self) -> None:
        self.start("-m", "spoolq", "worker", "jobs:q")

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def state(self, id: str) -> Any:
        return self.ask("GET", f"/jobs/{id}")

    def reaches(self, id: str, status: str, within: float = 40.0) -> Any:
        return eventually(lambda: seen if (seen := self.state(id))["status"] == status else None, within, what=status)


@pytest.fixture
def site(tmp_path: Path, durable: Server) -> Iterator[Site]:
    one = Site(tmp_path, durable.url)
    try:
        yield one
    finally:
        for process in one.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def test_the_page_starts_a_job_and_follows_it_to_its_result(site: Site) -> None:
    with urllib.request.urlopen(site.url + "/", timeout=30) as answer:
        assert b"<form>" in answer.read()
    id = site.ask("POST", "/jobs", {"title": "é"})["id"]
    # "unknown" where Redis had no core to answer in a second
    eventually(lambda: site.state(id)["status"] in ("queued", "spooled"), what="a job that waits")
    stopped = site.ask("POST", "/jobs", {"title": "never"})["id"]
    assert site.ask("DELETE", f"/jobs/{stopped}")["outcome"] == "removed"
    site.work()
    half = eventually(lambda: seen if (seen := site.state(id))["progress"] else None, what="progress")
    assert 0 < half["progress"] < 1
    assert half["text"].startswith("step ")
    assert site.reaches(id, "done")["result"] == {"title": "é", "pages": 20}
    site.reaches(stopped, "cancelled")


def test_a_running_job_is_stopped_from_the_page(site: Site) -> None:
    site.work()
    id = site.ask("POST", "/jobs", {"title": "long"})["id"]
    site.reaches(id, "running")
    assert site.ask("DELETE", f"/jobs/{id}")["outcome"] == "asked"
    site.reaches(id, "cancelled")


def test_in_an_outage_the_page_says_spooled_and_the_job_is_done_afterwards(site: Site, durable: Server) -> None:
    site.ask("POST", "/jobs", {"title": "before"})
    durable.kill()
    id = site.ask("POST", "/jobs", {"title": "in the outage"})["id"]
    assert site.reaches(id, "spooled")["text"] == ""
    assert site.state("nobody") == {"id": "nobody", "status": "unknown", "progress": None, "text": ""}, "no address, no path"
    durable.start()
    site.work()
    assert site.reaches(id, "done")["result"]["title"] == "in the outage"


def test_what_is_no_id_is_refused(site: Site) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        site.state("%00")


@pytest.mark.parametrize("document", [None, [], {"titel": "a"}])
def test_what_names_no_report_is_refused(site: Site, document: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        site.ask("POST", "/jobs", document)
