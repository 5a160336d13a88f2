"""The oldest client library that spoolq allows: the contract holds on it as it does on the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.drivers import OLDEST, redis_py
from tests.servers import Binary

ROOT = Path(__file__).parents[1]
CONTRACT = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "contract").glob("test_*.py"))
PARTS = 3  # beside each other, and none so long that a busy machine needs minutes for it


@pytest.mark.slow
@pytest.mark.timeout(330)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_contract_holds_on_the_oldest_redis_py(part: int, one_binary: Binary) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(redis_py(OLDEST)), environment.get("PYTHONPATH", "")]))
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
        *CONTRACT[part::PARTS],
        "-k",
        one_binary.id,
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
