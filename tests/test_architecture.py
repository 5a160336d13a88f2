"""Imports point down, drivers stay at the edge, and the environment is read in one place. The list is the design's section 8."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spoolq"
FILES = sorted(PACKAGE.rglob("*.py"))

LEVELS = [  # each line may import those above it, never its own: the design's levels, some in several steps
    "errors importing version",
    "job",
    "middleware jsjson spans stamps units address pace cpu failurelog.target logfiles forked stacks latest mailbox",  # 2, pure
    "traces counts places boot parcels",
    "jsonable history tracing notifying",
    "failed unique",
    "following",
    "wire retry selection",
    "reruns",
    "turns",
    "store.upkeep store.journal store.effects store.quota store.tally store.events",  # 3
    "store.waiting store.failures store.looking tracking",
    "store.base runtime service meanwhile guards",
    "accounting chains hint presence membership signals reporter",
    "breaker slow",
    "alarm checks events",
    "store.sqlite store.redis",  # 4
    "hosts client teller results cancelling purging moving choosing whereabouts handoffs takers",  # 5
    "sieve hand",
    "periodic pauses wishes",
    "drain watch tasks ticker scheduler stats bookkeeping transfer failurelog",
    "gate current launching",
    "outcome",
    "runcounts",
    "runner forward limits schedules",
    "hold loop",
    "coroutines",
    "crew settler rescuer journal reach lineup",
    "reconciler replayer",
    "consumer crashes",
    "burst heartbeat house",
    "worker",
    "autoscale",  # 6
    "pool",
    "starting",
    "priorities quotas",
    "config",  # 7
    "settings_words stores failurelog.assembly asking batching declaring",
    "producer",
    "autoscale.assembly",
    "app",
    "facts",
    "verdict",
    "doctor probes probing",
    "metrics",
    "dashboard",  # 8
    "cli contrib testing",
    "__main__",
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names.split()}
OUTERMOST = LEVEL["cli"]
DRIVERS = {"redis": "store.redis", "sqlite3": "store.sqlite", "pysqlite3": "store.sqlite", "sqlite_utils": "store.sqlite"}
CONCRETE = {"store.redis", "store.sqlite"}
NAMES_STORES = {"stores"}
MAY_TOUCH_THE_ENVIRONMENT = {
    "config": "the one that reads it",
    "cli.demo": "hands it on to the processes that it starts",
    "failurelog.bucket": "sees whether its client can read what its client reads",
    "cli.opening": "tells the application's own module which file --config named",
}


def module_of(path: Path) -> str:
    """`spoolq/store/redis/put.py` is `store.redis.put`; the package itself is ``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unit_of(module: str) -> str:
    """The name in LEVELS to which a module belongs, `` for spoolq itself and for the empty package of the stores."""
    for name in sorted(LEVEL, key=len, reverse=True):
        if module == name or module.startswith(name + "."):
            return name
    return module


class Read(NamedTuple):
    """What a file says, with the lines: the absolute names that it imports, also inside functions and under TYPE_CHECKING; what
    it uses by a name or as an attribute; what it calls by a bare name."""

    imports: list[tuple[int, str]]
    names: dict[str, int]
    calls: dict[str, int]


@cache
def read(path: Path) -> Read:
    """Each file once, for all tests."""
    found = Read([], {}, {})
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import():
                found.imports.extend((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it points"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.imports.append((node.lineno, inner if _is_module(inner) else node.module or ""))
            case ast.Attribute():
                found.names[node.attr] = node.lineno
            case ast.Name():
                found.names[node.id] = node.lineno
            case ast.Call(func=ast.Name(id=name)):
                found.calls[name] = node.lineno
    return found


def _is_module(name: str) -> bool:
    if not name.startswith("spoolq."):
        return False
    path = ROOT / Path(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def inner_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Those of spoolq's own modules, named without `spoolq.`."""
    for line, name in read(path).imports:
        if name == "spoolq" or name.startswith("spoolq."):
            yield line, name.removeprefix("spoolq").removeprefix(".")


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_level(path: Path) -> None:
    unit = unit_of(module_of(path))
    assert unit in LEVEL or unit in {"", "store"}, f"{path} is in no line of LEVELS"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = unit_of(module_of(path))
    for line, module in inner_imports(path):
        there = unit_of(module)
        where = f"{path.relative_to(ROOT)}:{line}: spoolq.{module}"
        if here in {"", "store"}:  # `import spoolq` gives what it names; the rest of it is lazy
            continue
        if there == "":
            assert LEVEL[here] >= OUTERMOST, f"{where}: only the outermost level may import spoolq as a whole"
            continue
        if here == there:
            continue
        assert LEVEL[there] < LEVEL[here], f"{where}: {here} (level {LEVEL[here]}) imports {there} (level {LEVEL[there]})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_drivers_are_imported_by_their_store_only(path: Path) -> None:
    here = unit_of(module_of(path))
    for line, name in read(path).imports:
        home = DRIVERS.get(name.split(".")[0])
        assert home in {None, here}, f"{path.relative_to(ROOT)}:{line}: {name} belongs to {home}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_concrete_stores_are_named_in_one_place(path: Path) -> None:
    here = unit_of(module_of(path))
    for line, module in inner_imports(path):
        there = unit_of(module)
        assert there not in CONCRETE or here in {there, *NAMES_STORES}, f"{path.relative_to(ROOT)}:{line}: names {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    if module_of(path) in MAY_TOUCH_THE_ENVIRONMENT:
        return
    for name, line in read(path).names.items():
        assert name not in {"environ", "getenv", "environb"}, f"{path.relative_to(ROOT)}:{line}: {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_pickles_or_evaluates(path: Path) -> None:
    for line, name in read(path).imports:
        assert name.split(".")[0] not in {"pickle", "marshal", "shelve", "dill"}, f"{path.relative_to(ROOT)}:{line}: {name}"
    for name, line in read(path).calls.items():
        assert name not in {"eval", "exec"}, f"{path.relative_to(ROOT)}:{line}: {name}"


def test_every_file_says_what_it_is() -> None:
    """A module without a docstring has no sentence of its own."""
    silent = [
        str(path.relative_to(ROOT))
        for path in FILES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []
