"""What a user installs: a wheel with everything in it that the code reads, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import spoolq

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network: hatchling is in the test extra."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_scripts_statements_and_types_are_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "spoolq").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert {path.suffix for path in map(Path, package)} >= {".py", ".lua", ".sql", ".typed"}
    assert package - names == set()


def test_nothing_but_the_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"spoolq", f"spoolq-{spoolq.__version__}.dist-info"}


def test_the_wheel_says_what_the_package_says(wheel: zipfile.ZipFile) -> None:
    [metadata] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    text = wheel.read(metadata).decode()
    assert f"\nVersion: {spoolq.__version__}\n" in text
    required = {
        line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    assert {name.split(">")[0].strip() for name in required} == {"redis", "sqlite-utils", "tenacity", "uuid-utils", "click"}
    assert not any("<" in name for name in required), "a cap makes spoolq uninstallable beside others"
