"""How SQLite means to run the statements of the hot paths: by searching, whatever the number of rows, and sorting nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq.store.sqlite import statements
from spoolq.store.sqlite.statements import schema

HOT = {
    "jobs": (
        "insert promote scheduled_queues ready_queues claim held held_between delete remember retry release rescue free "
        "set_aside purge_remember purge forget_settled forget_row sweep_settled"
    ),
    "spool": "doubt recall known ran next take give_back quarantine",
    "ahead": "watch watch_of keep kept let_go send_again end_watch",
    "workers": "find register extend heartbeat called held expire remove working",
    "views": (
        "any_waiting any_ready next_due since oldest span about set_about in_doubt_queues ready_of in_doubt_of scheduled_of "
        "ready_head in_doubt_head ready_front in_doubt_front"
    ),
    "effects": "acquire other release set_value delete_value value count sweep_guards sweep_values meta set_meta delete_meta",
    "upkeep": (
        "rows quarantined find_quarantined release drop page_job exported page_quarantine page_settled page_failure "
        "remove_job remove_quarantine remove_failure add_job add_settled add_failure salvage_up salvage_down salvage_one"
    ),
    "settlements": "write strike adopt",
    "failures": "add scan newest of entries_of take_out remove prune",
}
CASES = [(subject, name) for subject, names in HOT.items() for name in names.split()]
TABLES = ("jobs", "failures", "settled", "watches", "guards", "vals", "meta", "about")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(";\n".join(schema()))
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    count = max((int(n) for n in re.findall(r"\?(\d+)", sql)), default=0)
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (0,) * count)]


@pytest.mark.parametrize(("subject", "name"), CASES, ids=lambda part: part)
def test_it_searches_and_sorts_nothing(connection: sqlite3.Connection, subject: str, name: str) -> None:
    steps = plan(connection, statements.statements(subject)[name])
    scans = [step for step in steps if any(step.startswith(f"SCAN {table}") for table in TABLES)]
    assert (scans, [step for step in steps if "TEMP B-TREE" in step]) == ([], []), steps


def test_no_row_that_is_written_needs_a_table_of_its_own_to_check_its_state(connection: sqlite3.Connection) -> None:
    """Of a list of more than two SQLite (3.40, say) makes one, with an entry for each, at every row anew."""
    steps = [row[1] for row in connection.execute("EXPLAIN UPDATE jobs SET state = 'c'")]
    assert "Halt" in steps
    assert "OpenEphemeral" not in steps


def test_a_row_has_a_state_that_is_known(connection: sqlite3.Connection) -> None:
    insert, row = statements.statements("jobs")["insert"], (b"{}", 1, 0, 0)
    for state in "rsckq":
        assert connection.execute(insert, (state, "mail", *row, state, 0, 0, 0, 0, 0, 0)).rowcount == 1
    for state in ("x", "R", "", "rs", "r\0", "%"):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed"):
            connection.execute(insert, (f"not {state}", "mail", *row, state, 0, 0, 0, 0, 0, 0))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.execute("PRAGMA ignore_check_constraints = ON")  # as a disk that flips a bit
    connection.execute("UPDATE jobs SET state = 'p' WHERE id = 'r'")
    connection.execute("PRAGMA ignore_check_constraints = OFF")
    assert ("CHECK constraint failed in jobs",) in connection.execute("PRAGMA integrity_check").fetchall()


def test_the_indexes_meant_are_used(connection: sqlite3.Connection) -> None:
    jobs, spool = statements.statements("jobs"), statements.statements("spool")
    meant = {
        jobs["claim"]: "jobs_ready (queue=? AND state=? AND doubt=?)",
        jobs["promote"]: "jobs_scheduled (queue=? AND state=? AND run_at<?)",
        jobs["rescue"]: "jobs_claimed (worker=? AND state=? AND doubt=?)",
        jobs["free"]: "jobs_claimed (worker=? AND state=? AND doubt>?)",
        spool["next"]: "INTEGER PRIMARY KEY (rowid>?)",
    }
    for sql, index in meant.items():
        assert any(index in step for step in plan(connection, sql)), (index, plan(connection, sql))


def test_every_statement_is_one_that_sqlite_takes(connection: sqlite3.Connection) -> None:
    for subject in HOT:
        for sql in statements.statements(subject).values():
            plan(connection, sql)


@pytest.mark.parametrize("subject", [path.stem for path in Path(statements.__file__).with_name("sql").glob("*.sql")])
def test_no_name_stands_twice(subject: str) -> None:
    """The later one would be taken, by whoever meant the earlier one too."""
    text = Path(statements.__file__).with_name("sql").joinpath(f"{subject}.sql").read_text("utf-8")
    names = re.findall(r"^-- name: (\w+)", text, re.MULTILINE)
    assert sorted(set(names)) == sorted(names)


def test_a_claim_reads_its_index_alone_to_choose(connection: sqlite3.Connection) -> None:
    steps = plan(connection, statements.statements("jobs")["claim"])
    assert any("USING COVERING INDEX jobs_ready" in step for step in steps), steps


def test_counts_read_an_index_alone(connection: sqlite3.Connection) -> None:
    views = statements.statements("views")
    for name in (
        "ready",
        "in_doubt",
        "scheduled",
        "count_ready",
        "count_in_doubt",
        "count_scheduled",
        "count_claimed",
        "count_kept",
    ):
        steps = [step for step in plan(connection, views[name]) if "jobs" in step]
        assert all("COVERING INDEX" in step for step in steps), (name, steps)


def test_the_schema_fits_the_files_first_page(connection: sqlite3.Connection) -> None:
    """Else a damage to the second page would make every table unreadable."""
    [size] = connection.execute("SELECT sum(length(name) + length(tbl_name) + ifnull(length(sql), 0) + 20) FROM sqlite_schema")
    assert size[0] < 4096 - 100
