"""`priorities`: names for queues, and the order of a worker that was told none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spoolq import ConfigError, SpoolQ
from spoolq.priorities import Priorities, priorities


@pytest.fixture
def q(tmp_path: Path) -> Iterator[SpoolQ]:
    with SpoolQ(f"sqlite:///{tmp_path / 'jobs.db'}", spool_min_free=0) as q:
        yield q


def work() -> None: ...


def test_a_priority_of_a_task_is_a_queue(q: SpoolQ) -> None:
    queues = {name: q.task(name=f"t-{name}", priority=name)(work).queue for name in ("high", "default", "low")}
    assert queues == {"high": "high", "default": "default", "low": "low"}
    assert q.task(name="plain")(work).queue == "default"


def test_a_launch_may_have_one_of_its_own(q: SpoolQ) -> None:
    task = q.task(name="t", queue="mail")(work)
    assert task.using(priority="high").job().queue == "high"
    assert task.using(priority="high").using(queue="bulk").job().queue == "bulk"
    assert task.using(queue="bulk").using(priority="low").job().queue == "low"
    assert q.remote("t").using(priority="low").job().queue == "low"


def test_names_and_queues_are_settings(tmp_path: Path) -> None:
    with SpoolQ(f"sqlite:///{tmp_path / 'a.db'}", priorities={"urgent": "critical", "default": "default", "idle": "bulk"}) as q:
        assert q.task(name="t", priority="urgent")(work).queue == "critical"
        with pytest.raises(ConfigError, match=r"priority='high': the priorities are urgent, default, idle"):
            q.task(name="u", priority="high")(work)


def test_from_the_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spoolq.toml"
    file.write_text('url = "sqlite:///a.db"\n[priorities]\nhigh = "critical"\nlow = "bulk"\n')
    assert SpoolQ(config_file=file).settings.priorities == Priorities((("high", "critical"), ("low", "bulk")))
    monkeypatch.setenv("SPOOLQ_PRIORITIES", "now=first, then=second")
    assert str(SpoolQ(config_file=file).settings.priorities) == "now=first,then=second"
    monkeypatch.setenv("SPOOLQ_PRIORITIES", "high")
    with pytest.raises(ConfigError, match=r"priorities = 'high' \(from SPOOLQ_PRIORITIES\): expected names of priorities"):
        SpoolQ(config_file=file)


@pytest.mark.parametrize("wrong", ["hgih", "", 5, "High"])
def test_one_that_is_not_known_names_those_that_are(q: SpoolQ, wrong: str) -> None:
    task = q.task(name="t")(work)
    for attempt in (lambda: q.task(name="u", priority=wrong)(work), lambda: task.using(priority=wrong)):
        with pytest.raises(ConfigError, match="the priorities are high, default, low"):
            attempt()
    assert q.tasks.names() == ("t",)


def test_a_queue_and_a_priority_together_are_refused(q: SpoolQ) -> None:
    class Both:
        queue, priority = "a", "high"

        def perform(self) -> None: ...

    task = q.task(name="t")(work)
    for attempt in (
        lambda: q.task(name="u", queue="a", priority="high")(work),
        lambda: task.using(queue="a", priority="high"),
        lambda: q.task(Both),
    ):
        with pytest.raises(ConfigError, match=r"queue='a' and priority='high': a priority is a queue; give one of them"):
            attempt()
    assert q.task(priority="low")(Both).queue == "low", "what is said here goes before the class's own"


def test_a_class_says_its_priority_as_an_attribute(q: SpoolQ) -> None:
    @q.task
    class Urgent:
        priority = "high"

        def perform(self) -> None: ...

    assert (Urgent.queue, Urgent.priority) == ("high", "high")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "there are none"),
        ({"high": "a b"}, "priorities: high: queue='a b'"),
        ({"high": "a:b"}, "priorities: high: queue='a:b'"),
        ({"high": 3}, "priorities: high: queue=3"),
        ({"": "a"}, "a name is printable characters"),
        ({"a,b": "a"}, "a name is printable characters"),
        ({"a": "x", "b": "x"}, "the queue 'x' is there twice"),
        ("a=x,a=y", "the name 'a' is there twice"),
        ("a=", "priorities: a: queue=''"),
    ],
)
def test_what_can_be_none_is_refused(value: object, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        priorities(value)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", ["", "high", "a=b,,c=d", 7, ["high"]])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".*"):
        priorities(value)


@pytest.mark.parametrize(
    ("tasks", "queues"),
    [
        ([], ()),
        ([("low", None), ("mail", None), ("high", None)], ("low", "mail", "high")),
        ([("low", "low"), ("mail", None), ("high", "high"), ("web", None)], ("high", "default", "mail", "web", "low")),
        ([("mail", None), ("default", None), ("web", None), ("low", "low")], ("high", "mail", "default", "web", "low")),
        ([("low", None), ("high", "high")], ("high", "default", "low")),
        ([("default", "default")], ("high", "default", "low")),
    ],
)
def test_the_order_of_a_worker_that_was_told_none(tasks: list[tuple[str, str | None]], queues: tuple[str, ...]) -> None:
    assert Priorities().arrange(tasks) == queues


def test_priorities_that_were_set_are_in_use_also_where_no_task_has_one() -> None:
    assert priorities("high=critical,default=web,low=bulk").arrange([("mail", None), ("web", None)]) == (
        "critical",
        "mail",
        "web",
        "bulk",
    )
    assert priorities("a=x,b=y").arrange([("mail", None), ("y", None)]) == ("x", "y", "mail")


def test_a_worker_takes_them_in_that_order(q: SpoolQ) -> None:
    ran: list[str] = []
    for name, options in (("tidy", {"priority": "low"}), ("mail", {"queue": "mail"}), ("charge", {"priority": "high"})):
        q.task(name=name, **options)(lambda name=name: ran.append(name))  # type: ignore[call-overload]
    for _ in range(3):
        for name in q.tasks.names():
            q.enqueue(name)
    q.tasks.get("mail").using(priority="low").enqueue()
    worker = q.worker(threads=1, burst=True)
    assert worker.info.queues == ("high", "default", "mail", "low")
    assert worker.run() == 0
    assert ran == ["charge"] * 3 + ["mail"] * 3 + ["tidy"] * 3 + ["mail"]
