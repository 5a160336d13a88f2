"""The matrix of faults: each fault at least once, and with each value of all else; `--all-faults` for every combination.

Whatever the fault: the answer is the table's, the deadline holds, and after healing and a drain each acknowledged id is in Redis
exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drivers import OLDEST, redis_py
from tests.faults import lab, matrix
from tests.faults.matrix import Case
from tests.faults.recipes import FAULTS, STATES
from tests.faults.scene import Stage
from tests.faults.table import NOT_CAUSED, OUTCOMES, expected
from tests.servers import Binary, servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    cases = [] if option("--no-real-redis") else matrix.product(servers())
    chosen = cases if option("--all-faults") else list(matrix.pairs(cases, option("--fault-seed")))
    squares = [
        pytest.param(case, id=str(case).replace(" ", "_"), marks=[pytest.mark.root] if FAULTS[case.fault].via == "lab" else [])
        for case in chosen
    ]
    metafunc.parametrize("case", squares or [pytest.param(None, id="no-server")])


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    one = Stage({"oldest": redis_py(OLDEST), "newest": None})
    try:
        yield one
    finally:
        one.close()


def test_the_answer_is_the_tables_and_each_acknowledged_job_is_in_redis_once(
    case: Case, one_binary: Binary, stage: Stage, tmp_path: Path
) -> None:
    if FAULTS[case.fault].via == "lab" and not lab.possible():
        pytest.fail(f"{lab.MISSING}; to go without: --no-root", pytrace=False)
    report = matrix.settled(stage, case, tmp_path)
    assert report.complaints == []


@pytest.mark.parametrize(
    ("wrong", "fault", "complaint"),
    [
        ("retries on", "accepted, never read", "outlasted the deadline"),
        ("marker first", "wrong type (queue)", "lost"),
        ("no not-after", "late request", "queued twice"),
        ("delete first", "cut before", "lost"),
    ],
)
def test_the_same_check_complains_of_a_set_up_that_is_wrong(
    wrong: str, fault: str, complaint: str, one_binary: Binary, tmp_path: Path
) -> None:
    reports = []
    for number in range(3):  # on a machine that runs nothing, time is nobody's fault
        stage = Stage({"newest": None})  # of its own: the set-up is spoilt for good
        try:
            case = Case(fault, "warm", "newest", servers()[-1].id, 2)
            reports.append(matrix.run(stage, case, tmp_path / str(number), wrong=wrong))
        finally:
            stage.close()
        if any(complaint in text for text in reports[-1].complaints):
            return
    pytest.fail(f"nothing was found wrong: {reports}")


def test_the_pairs_hold_each_fault_with_each_value_of_all_else() -> None:
    found = list(servers())
    cases = matrix.product(found)
    for seed in range(3):
        chosen = list(matrix.pairs(cases, seed))
        assert len(chosen) < len(cases) / 4
        seen = {(case.fault, value) for case in chosen for value in case[1:]}
        assert seen == {(case.fault, value) for case in cases for value in case[1:]}
    assert list(matrix.pairs(cases, 1)) == list(matrix.pairs(cases, 1))


def test_each_fault_has_its_row_and_each_row_its_fault() -> None:
    assert list(OUTCOMES) == list(FAULTS)
    for fault in FAULTS.values():
        assert set(fault.states) <= set(STATES)
        assert all(expected(fault.name, state) for state in fault.states)


def test_each_reason_of_the_code_is_met_or_it_is_said_why_not() -> None:
    from tests.faults.page import reasons

    met = {outcome.reason for fault in FAULTS.values() for state in fault.states for outcome in expected(fault.name, state)}
    words = {reason.word for reason in reasons()}
    assert met - {""} | set(NOT_CAUSED) == words
    assert not met & set(NOT_CAUSED)


def test_the_breaker_opens_as_the_codes_own_table_says() -> None:
    from tests.faults.page import reasons

    wide = {(reason.word, reason.server_wide) for reason in reasons()}
    for fault in FAULTS.values():
        for state in fault.states:
            for outcome in expected(fault.name, state):
                assert not outcome.reason or (outcome.reason, outcome.opens) in wide


def test_the_page_shows_the_tables_as_they_are() -> None:
    from tests.faults.page import PAGE, written

    assert PAGE.read_text("utf-8") == written(PAGE.read_text("utf-8")), "python -m tests.faults.page writes it anew"
