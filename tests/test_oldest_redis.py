"""The oldest client library that spoolq allows: the contract holds on it as it does on the newest."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import NONE_FOUND, servers

ROOT = Path(__file__).parents[1]
OLDEST = "5.0.8"


@pytest.fixture(scope="session")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with redis-py of that version alone, kept in the environment between runs."""
    home = Path(sys.prefix) if sys.prefix != sys.base_prefix else tmp_path_factory.getbasetemp().parent
    folder = home / f"spoolq-redis-{OLDEST}"
    with (home / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "redis").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*command, "--target", str(folder), f"redis=={OLDEST}"], check=True, timeout=100)
    return folder


@pytest.mark.slow
def test_the_contract_holds_on_the_oldest_redis_py(request: pytest.FixtureRequest, oldest: Path) -> None:
    if request.config.getoption("--no-real-redis"):
        pytest.skip("--no-real-redis")
    if not servers():
        pytest.fail(NONE_FOUND, pytrace=False)
    binary = servers()[-1]  # one is enough: the library is what differs
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(oldest), environment.get("PYTHONPATH", "")]))
    version = [sys.executable, "-c", "import redis; print(redis.__version__)"]
    said = subprocess.run(version, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    assert said == OLDEST
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "tests/contract",
        "-k",
        binary.id,
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
