"""`spoolq completion`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT, Run


@pytest.mark.parametrize(
    ("shell", "mark"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef spoolq"), ("fish", "complete --no-files --command spoolq")],
)
def test_each_shell_gets_its_script(run: Run, shell: str, mark: str) -> None:
    said = run("completion", shell)
    assert said.code == 0
    assert mark in said.out
    assert "_SPOOLQ_COMPLETE" in said.out


def test_another_shell_is_wrong_usage(run: Run) -> None:
    assert run("completion", "cmd").code == 2


def test_bash_reads_the_script(run: Run) -> None:
    bash = shutil.which("bash")
    assert bash, "bash is part of every system that the tests run on"
    subprocess.run([bash, "-n"], input=run("completion", "bash").out, text=True, check=True)


@pytest.mark.parametrize(
    ("words", "found"), [("spoolq qu", ["queues"]), ("spoolq sch", ["schedule"]), ("spoolq schedule r", ["run", "resume"])]
)
def test_commands_are_completed(words: str, found: list[str]) -> None:
    env = {
        **os.environ,
        "_SPOOLQ_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
        "PYTHONPATH": str(ROOT),
    }
    said = subprocess.run([sys.executable, "-m", "spoolq"], env=env, capture_output=True, text=True, check=True)
    assert sorted(said.stdout.split()) == sorted(f"plain,{name}" for name in found)
