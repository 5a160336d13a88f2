"""What importing spoolq costs a webhead: the standard library, and nothing else until it's needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.servers import Server

ROOT = Path(__file__).parents[1]
LOADED = "import json, sys; print(json.dumps(sorted(n for n in sys.modules)))"


def loaded_after(program: str, *arguments: str) -> set[str]:
    """The top-level names of what a fresh interpreter has loaded after running `program`, its own start left out."""
    start = subprocess.run([sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True)
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{LOADED}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    new = set(json.loads(ran.stdout.splitlines()[-1])) - set(json.loads(start.stdout))
    return {name.split(".")[0] for name in new}


def test_importing_spoolq_loads_the_standard_library_only() -> None:
    foreign = loaded_after("import spoolq") - set(sys.stdlib_module_names) - {"spoolq"}
    assert foreign == set()


def test_importing_spoolq_leaves_the_heavy_parts_of_the_standard_library_alone() -> None:
    heavy = {"asyncio", "sqlite3", "email", "http", "ssl", "multiprocessing", "unittest", "zoneinfo", "argparse", "urllib"}
    assert loaded_after("import spoolq") & heavy == set()


def test_everything_spoolq_offers_can_be_had() -> None:
    program = "import spoolq\nfor name in spoolq.__all__: getattr(spoolq, name)"
    assert "spoolq" in loaded_after(program)


ENQUEUE = """
sys.modules["opentelemetry"] = None  # redis-py imports its SDK where that is installed, as it is for other tests
from spoolq import SpoolQ
q = SpoolQ(sys.argv[1], spool=sys.argv[2], deadline=20.0)
@q.task(queue="mail")
def send(to): ...
receipt = send.enqueue("a@example.com")
assert receipt.route == sys.argv[3], receipt
"""
NEVER = {"click", "sqlite_utils", "rich", "tenacity", "starlette", "obstore", "psutil", "fakeredis", "prometheus_client"}


def test_declaring_tasks_connects_to_nothing_and_loads_no_driver(tmp_path: Path) -> None:
    program = ENQUEUE.split("receipt")[0]
    loaded = loaded_after(program, "redis://127.0.0.1:1/0", str(tmp_path / "spool.db"))
    assert loaded & (NEVER | {"redis", "sqlite3"}) == set()
    assert list(tmp_path.iterdir()) == []


def test_an_enqueue_to_redis_loads_no_spool(server: Server, tmp_path: Path) -> None:
    loaded = loaded_after(ENQUEUE, server.url, str(tmp_path / "spool.db"), "primary")
    assert loaded & (NEVER | {"sqlite3"}) == set()
    assert list(tmp_path.iterdir()) == []


def test_an_enqueue_to_the_spool_loads_no_command_line(tmp_path: Path) -> None:
    loaded = loaded_after(ENQUEUE, "redis://127.0.0.1:1/0", str(tmp_path / "spool.db"), "spool")
    assert loaded & NEVER == set()
    assert (tmp_path / "spool.db").exists()
