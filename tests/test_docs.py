"""The README and the pages of docs/ say what is so: their examples run, their commands, settings and links are there.

A page's Python blocks run in order, in one namespace and a temporary directory, against a server of the test's own. A block that
begins with a comment such as `# app.py` is saved under that name, and imported. HTML comments, which readers don't see, direct
the rest: `<!-- redis: kill -->`, `<!-- redis: start -->`, `<!-- spool: damage -->`, `<!-- spool: set one aside -->`,
`<!-- run -->` before a shell block to be run (`<!-- run: 1 -->`: with that exit code), `<!-- output: … -->`.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from spoolq.app import SpoolQ
from spoolq.cli import main
from spoolq.config import KINDS, Settings, load
from spoolq.current import Current, running
from spoolq.job import Job
from tests.servers import Server

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))}
REDIS, SPOOL, SECRET = "redis://127.0.0.1:6379/0", "/var/lib/webhead/spool.db", "/run/secrets/redis"  # as the pages name them
_STEP = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- (.*?) -->$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^|[\s/&])spoolq (.*)")

SPOOL_IS = {  # what happens to the spool in processes of their own: opening its file in one that uses it would drop its locks
    "damage": """
import sqlite3, sys
page = sqlite3.connect(sys.argv[1]).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_ready'").fetchone()[0]
with open(sys.argv[1], "r+b") as file:
    file.seek((page - 1) * 4096)
    file.write(b"damage" * 100)
""",
    "set one aside": """
import sys
from spoolq.store.base import WorkerInfo
from spoolq.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], role="spool", timeout=20.0)
drainer = WorkerInfo("d", "host", 1, (), kind="drainer")
store.quarantine(store.take(drainer, 1, 1, store.now())[0], "refused by Redis for its own sake: WRONGTYPE")
store.unregister(drainer)
store.close()
""",
}


class Step(NamedTuple):
    """A fenced block (`kind` is its language) or a directive (`kind` is `directive`), and where it stands."""

    kind: str
    text: str
    line: int


def steps(page: Path) -> list[Step]:
    text = page.read_text("utf-8")
    return [
        Step(found[1] or "directive", found[2] or found[3] or "", text[: found.start()].count("\n") + 2)
        for found in _STEP.finditer(text)
    ]


class Reader:
    """Somebody who does what a page says, line by line."""

    def __init__(self, page: Path, folder: Path, server: Server) -> None:
        self.page, self.folder, self.server = page, folder, server
        self.names: dict[str, Any] = {"__name__": "example"}
        self.modules: list[str] = []
        self.said = ""

    def follow(self) -> None:
        run: int | None = None
        for step in steps(self.page):
            if step.kind == "directive":
                run = int(step.text[5:] or 0) if re.fullmatch("run(: [0-9]+)?", step.text) else None
                self.direct(step)
            elif step.kind == "python":
                self.python(step)
            elif step.kind == "sh" and run is not None:
                self.said = "".join(self.shell(line, run) for line in step.text.splitlines())
                run = None

    def direct(self, step: Step) -> None:
        name, _, rest = step.text.partition(": ")
        if name == "output":
            assert rest in self.said, f"{self.page.name}:{step.line}: no {rest!r} in\n{self.said}"
        elif name == "redis":
            {"kill": self.server.kill, "start": self.server.start}[rest]()
        elif name == "spool":
            subprocess.run([sys.executable, "-c", SPOOL_IS[rest], str(self.folder / "spool.db")], check=True, cwd=ROOT)
        else:
            assert re.fullmatch("run(: [0-9]+)?", step.text), f"{self.page.name}:{step.line}: unknown directive {step.text!r}"

    def here(self, text: str) -> str:
        """The page's addresses, replaced by those of this test."""
        return text.replace(REDIS, self.server.url).replace(SPOOL, str(self.folder / "spool.db"))

    def python(self, step: Step) -> None:
        code = "\n" * (step.line - 1) + self.here(step.text)
        if saved := re.match(r"# (\w+)\.py\n", step.text):
            (self.folder / f"{saved[1]}.py").write_text(code, "utf-8")
            importlib.invalidate_caches()
            sys.modules.pop(saved[1], None)
            self.modules.append(saved[1])
            module = importlib.import_module(saved[1])
            self.names |= {name: value for name, value in vars(module).items() if not name.startswith("__")}
            return
        # A page shows `await` without the function around it.
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        result = eval(compile(code, str(self.page), "exec", flags=flags, dont_inherit=True), self.names)
        if inspect.iscoroutine(result):
            asyncio.run(result)

    def shell(self, line: str, code: int = 0) -> str:
        program, *arguments = shlex.split(self.here(line), comments=True)
        assert program == "spoolq", line
        done = subprocess.run(
            [sys.executable, "-m", "spoolq", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == code, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def close(self) -> None:
        values = [*self.names.values(), *(value for name in self.modules for value in vars(sys.modules[name]).values())]
        for q in {id(value): value for value in values if isinstance(value, SpoolQ)}.values():
            q.close()
        for name in self.modules:
            sys.modules.pop(name, None)


@pytest.fixture
def reader(
    start_server: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], Reader]]:
    for name in [name for name in os.environ if name.startswith("SPOOLQ_")] + ["REDIS_URL", "STATE_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPOOLQ_SPOOL_MIN_FREE", "0")  # whatever this machine has left
    monkeypatch.setenv("SPOOLQ_DISK_LIMIT", "20s")
    monkeypatch.setenv("SPOOLQ_DEADLINE", "20s")  # however busy it is: the pages say where a job goes, with time to spare
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    readers: list[Reader] = []

    def begin(page: Path) -> Reader:
        readers.append(Reader(page, tmp_path, start_server(appendonly=True, appendfsync="always")))
        return readers[-1]

    yield begin
    for one in readers:
        one.close()


@pytest.mark.one_server
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if any(step.kind == "python" for step in steps(page))])
def test_the_examples_of_a_page_run(name: str, reader: Callable[[Path], Reader]) -> None:
    reader(PAGES[name]).follow()


def test_both_jobs_of_the_readme_arrive_and_run(reader: Callable[[Path], Reader]) -> None:
    readme = reader(PAGES["README.md"])
    readme.follow()
    said = readme.shell("spoolq worker app:q --burst")
    assert "hi, a@example.com" in said
    assert "hello, b@example.com" in said


def test_the_idempotent_task_of_the_guarantees_charges_once(reader: Callable[[Path], Reader]) -> None:
    page = reader(PAGES["guarantees.md"])
    page.follow()
    page.python(Step("python", 'charge.using(id="order-7").enqueue("ann", 500)', 1))
    page.shell("spoolq worker ledger:q --burst")
    token = running.set(Current(Job("order-7", "charge", "default"), "primary"))  # a second run of the same job
    try:
        page.names["charge"]("ann", 500)
    finally:
        running.reset(token)
    with closing(sqlite3.connect(page.folder / "ledger.db")) as ledger:
        assert ledger.execute("SELECT job, customer, cents FROM charges").fetchall() == [("order-7", "ann", 500)]


# Commands


def command_lines(page: Path) -> Iterator[tuple[str, str]]:
    """Every `spoolq …` of a page, in shell blocks and in running text, and where it stands."""
    for step in steps(page):
        if step.kind == "sh":
            for number, line in enumerate(step.text.splitlines(), step.line):
                if found := _COMMAND.search(line.partition("#")[0]):
                    yield found[1], f"{page.name}:{number}"
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        for code in re.findall(r"`spoolq ([^`]+)`", line):
            yield code, f"{page.name}:{number}"


def options_of(command: click.Command) -> set[str]:
    return {"--help"} | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def subcommand(group: click.Command, name: str) -> click.Command | None:
    return group.get_command(click.Context(group), name) if isinstance(group, click.Group) else None


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_commands_and_their_options_are_there(page: Path) -> None:
    for line, place in command_lines(page):
        command: click.Command = main
        known = options_of(main)
        before = ""
        for word in re.split(r"[\s\[\]|…]+", line):
            value_of, before = before if before.startswith("-") else "", word
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{place}: `spoolq {line}` has no option {word}"
            elif value_of and isinstance(command, click.Group) and command.invoke_without_command:
                continue  # a group that also does something by itself has options with values
            elif command.context_settings.get("ignore_unknown_options") and (other := subcommand(main, word)):
                known |= options_of(other)  # it hands them on to that one
            elif isinstance(command, click.Group) and word and not word.isupper():
                found = subcommand(command, word)
                assert found is not None, f"{place}: there is no command `{word}` in `spoolq {line}`"
                command, known = found, known | options_of(found)


def every_option(command: click.Command) -> set[str]:
    found = options_of(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = subcommand(command, name)
            assert child is not None
            found |= every_option(child)
    return found


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_options_named_alone_are_there(page: Path) -> None:
    elsewhere = {
        option
        for file in ("benchmarks/__main__.py", "tests/conftest.py")
        for option in re.findall(r"\"(--[a-z-]+)\"", (ROOT / file).read_text("utf-8"))
    }
    known = every_option(main) | elsewhere
    named = re.findall(r"`(--[a-z-]+)[^`]*`", page.read_text("utf-8"))
    assert [option for option in named if option not in known] == []


def test_make_targets_and_scripts_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for page in PAGES.values():
        for step in steps(page):
            if step.kind == "sh":
                for target in re.findall(r"^make ([\w-]+)", step.text, re.MULTILINE):
                    assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}:{step.line}: make {target}"
                for script in re.findall(r"^(scripts/\S+)", step.text, re.MULTILINE):
                    assert os.access(ROOT / script, os.X_OK), f"{page.name}:{step.line}: {script}"


# Settings


def settings_table() -> dict[str, str]:
    section = PAGES["configuration.md"].read_text("utf-8").partition("## Settings")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", section.partition("more variables, which")[0], re.MULTILINE))


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = settings_table()
    assert list(table) == list(KINDS)
    defaults = Settings()
    for name, text in table.items():
        if text.startswith("`"):
            assert KINDS[name].read(text.strip("`")) == getattr(defaults, name), name
    assert [name for name, text in table.items() if not text.startswith("`")] == ["spool"]


def test_configuration_files_shown_are_read_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("tiger\n")
    shown = [step for page in PAGES.values() for step in steps(page) if step.kind == "toml"]
    assert shown
    for step in shown:
        file = tmp_path / "spoolq.toml"
        file.write_text(step.text.replace(SECRET, str(tmp_path / "secret")), "utf-8")
        settings, origins = load(file, {})
        assert origins.warnings == ()
        assert (":tiger@" in settings.url) == (SECRET in step.text)


# The pages themselves


def anchors(page: Path) -> set[str]:
    """The headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES.values(), ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_every_command_is_in_the_table() -> None:
    page = PAGES["configuration.md"].read_text("utf-8")
    assert [name for name in main.list_commands(click.Context(main)) if f"`spoolq {name}" not in page] == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = PAGES["README.md"].read_text("utf-8")
    pages = [str(page.relative_to(ROOT)) for name, page in PAGES.items() if name not in ("README.md", "CONTRIBUTING.md")]
    assert [page for page in pages if f"({page}" not in readme] == []


def test_the_readme_is_short() -> None:
    assert len(PAGES["README.md"].read_text("utf-8").splitlines()) < 150


def test_the_changelog_has_an_unreleased_section() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
