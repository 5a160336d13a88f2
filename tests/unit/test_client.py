"""Where a job goes, and what `enqueue` says of it, for each pair of answers. Real faults are in tests/faults."""

import linecache
import random
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from spoolq import SpoolQ
from spoolq.breaker import Breaker
from spoolq.client import Client, Prober, chunks
from spoolq.errors import ConfigError, MaybeStored, NotStored, PayloadError, SpoolFull, StoreFull, StoreUnavailable
from spoolq.job import Message
from spoolq.store.effects import NONE, Effects
from spoolq.store.events import Away

REFUSED = StoreUnavailable("Redis refused at localhost:1", reason="refused")
IN_DOUBT = StoreUnavailable("no answer", reason="timeout", maybe_applied=True, not_after=123.5)
OWN_FAULT = StoreUnavailable("wrong type of queue:a", reason="wrongtype", server_wide=False)
DISK = StoreUnavailable("disk I/O error", reason="io")
DISK_HUNG = StoreUnavailable("the disk did not answer", reason="overdue", maybe_applied=True)


class Primary:
    """Answers puts and probes as told; an answer is used until the next is given."""

    def __init__(self, *answers: StoreUnavailable | None) -> None:
        self.answers = list(answers) or [None]
        self.puts: list[list[str]] = []
        self.probes: list[StoreUnavailable | None] = []

    def put(self, messages: list[Message], effects: Effects = NONE, **options: Any) -> list[bool]:
        self.puts.append([message.id for message in messages])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer
        return [True] * len(messages)

    def ready(self, timeout: float) -> float:
        answer = self.probes.pop(0) if self.probes else REFUSED
        if answer is not None:
            raise answer
        return 0.0


class SpoolStub:
    def __init__(self, answer: Exception | None = None, known: dict[str, str] | None = None) -> None:
        self.answer = answer
        self.known = known or {}
        self.rows: list[tuple[str, float | None]] = []
        self.asked = 0
        self.keeps: list[float] = []
        self.recalls: list[list[str]] = []

    def spool(
        self,
        messages: list[Message],
        effects: Effects = NONE,
        *,
        not_after: float | None = None,
        timeout: float | None = None,
        outage: Away | None = None,
    ) -> list[bool]:
        if self.answer is not None:
            raise self.answer
        self.rows += [(message.id, not_after) for message in messages]
        self.keeps += [message.keep for message in messages]
        return [True] * len(messages)

    def holds(self, queues: set[str], *, timeout: float | None = None) -> bool:
        if self.answer is not None:
            raise self.answer
        self.asked += 1
        return bool(self.rows)

    def recall(self, ids: list[str], *, timeout: float | None = None) -> list[str | None]:
        if self.answer is not None:
            raise self.answer
        self.recalls.append(ids)
        return [self.known.get(id) for id in ids]


def message(id: str = "j1", given: bool = False, size: int = 2) -> Message:
    return Message(id, "q", b"{}".ljust(size), 0.0, given)


@pytest.fixture
def make(request):
    def build(primary: Primary, spool: SpoolStub | None, **options: Any) -> Client:
        client = Client(cast(Any, primary), None if spool is None else lambda: cast(Any, spool), Breaker(), **options)
        request.addfinalizer(client.close)
        return client

    return build


def test_a_primary_that_answers_is_the_route(make):
    spool = SpoolStub()
    assert make(Primary(), spool).put([message()]) == [("j1", "primary", True)]
    assert spool.rows == []


@pytest.mark.parametrize(
    ("error", "not_after", "opens"),
    [(REFUSED, None, True), (StoreFull("OOM"), None, True), (IN_DOUBT, 123.5, True), (OWN_FAULT, None, False)],
)
def test_what_the_primary_refuses_goes_to_the_spool_with_its_doubt(make, error, not_after, opens):
    spool = SpoolStub()
    client = make(Primary(error), spool)
    assert client.put([message()]) == [("j1", "spool", True)]
    assert spool.rows == [("j1", not_after)]
    assert client.breaker.allows() is not opens


def test_the_second_call_of_an_outage_does_not_ask_the_primary(make):
    primary, spool = Primary(REFUSED), SpoolStub()
    client = make(primary, spool)
    client.put([message("a")])
    client.put([message("b")])
    assert primary.puts == [["a"]]
    assert [id for id, _ in spool.rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (REFUSED, DISK, NotStored),
        (REFUSED, StoreFull("the spool is at its limit"), SpoolFull),
        (REFUSED, DISK_HUNG, MaybeStored),
        (IN_DOUBT, DISK, MaybeStored),
        (IN_DOUBT, StoreFull("the spool is at its limit"), MaybeStored),
    ],
)
def test_when_both_refuse_the_error_carries_the_id_and_both_reasons(make, first, second, kind):
    with pytest.raises(kind, match="j1") as caught:
        make(Primary(first), SpoolStub(second)).put([message()])
    assert type(caught.value) is kind
    assert caught.value.id == "j1"
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_the_error_of_an_open_breaker_says_why_it_is_open(make):
    client = make(Primary(REFUSED), SpoolStub(DISK))
    client.breaker.failed("oom")
    with pytest.raises(NotStored, match="oom"):
        client.put([message()])


def test_without_a_spool_the_primarys_word_is_final(make):
    assert make(Primary(), None).put([message()])[0].route == "primary"
    with pytest.raises(NotStored):
        make(Primary(DISK), None).put([message()])
    with pytest.raises(MaybeStored):
        make(Primary(DISK_HUNG), None).put([message("g", given=True)])


@pytest.mark.parametrize("found", ["waiting", "ran"])
def test_a_given_id_that_the_spool_knows_is_answered_without_asking_the_primary(make, found):
    primary = Primary()
    assert make(primary, SpoolStub(known={"j1": found})).put([message(given=True)]) == [("j1", "spool", False)]
    assert primary.puts == []


def test_a_given_id_asks_nobody_else_when_the_spool_can_not_answer(make):
    primary = Primary()
    with pytest.raises(MaybeStored, match="same id") as caught:
        make(primary, SpoolStub(DISK)).put([message(given=True), message("other")])
    assert primary.puts == []
    assert (caught.value.unknown, caught.value.not_stored) == (("j1",), ("other",))


def test_a_given_id_is_named_too_when_the_spool_can_not_be_opened_at_all(make):
    with pytest.raises(MaybeStored, match="j1"):
        make(Primary(), SpoolStub(ConfigError("its directory is missing"))).put([message(given=True)])


def test_a_mixed_call_keeps_the_order_of_its_receipts(make):
    receipts = make(Primary(), SpoolStub(known={"b": "waiting"})).put([message("a"), message("b", True), message("c")])
    assert receipts == [("a", "primary", True), ("b", "spool", False), ("c", "primary", True)]


def test_the_given_ids_of_a_chunk_are_asked_for_together(make):
    """Each question is a synced transaction: one by one, a slow disk took its limit for each."""
    spool = SpoolStub(known={"a": "ran", "c": "waiting"})
    receipts = make(Primary(), spool).put([message("a", True), message("b"), message("c", True), message("d", True)])
    assert [receipt.route for receipt in receipts] == ["spool", "primary", "spool", "primary"]
    assert spool.recalls == [["a", "c", "d"]]


@pytest.mark.parametrize("ordered", [False, True])
def test_the_disk_has_one_limit_for_all_that_a_call_asks_of_it(make, ordered):
    now, allowed = [100.0], []

    class Slow(SpoolStub):
        def took(self, timeout: float) -> None:
            allowed.append(timeout)
            now[0] += 0.75

        def recall(self, ids: list[str], *, timeout: float) -> list[str | None]:
            self.took(timeout)
            return [None]

        def holds(self, queues: set[str], *, timeout: float) -> bool:
            self.took(timeout)
            return True

        def spool(self, messages: list[Message], effects: Effects = NONE, *, timeout: float, **options: Any) -> list[bool]:
            self.took(timeout)
            return [True]

    client = make(Primary(REFUSED), Slow(), ordered=ordered, disk_limit=2.0, monotonic=lambda: now[0])
    assert client.put([message(given=True)])[0].route == "spool"
    assert allowed == ([2.0, 1.25, 0.5] if ordered else [2.0, 1.25])


def test_an_id_given_twice_in_one_call_has_a_receipt_for_each(make):
    class Once(Primary):
        def put(self, messages: list[Message], effects: Effects = NONE, **options: Any) -> list[bool]:
            return [message.id not in [m.id for m in messages[:n]] for n, message in enumerate(messages)]

    receipts = make(Once(), SpoolStub()).put([message("a", True), message("b"), message("a", True)])
    assert receipts == [("a", "primary", True), ("b", "primary", True), ("a", "primary", False)]


@pytest.mark.parametrize(("first", "kind"), [(IN_DOUBT, MaybeStored), (REFUSED, PayloadError)])
def test_a_job_that_the_spool_can_never_hold_may_be_in_the_primary(make, first, kind):
    with pytest.raises(kind, match="larger"):
        make(Primary(first), SpoolStub(PayloadError("larger than the file"))).put([message()])


def test_many_are_put_in_chunks_and_the_error_sorts_every_id(make):
    messages = [message(f"j{n}") for n in range(1200)]
    primary = Primary(None, REFUSED)
    with pytest.raises(NotStored) as caught:
        make(primary, SpoolStub(DISK)).put(messages)
    assert len(caught.value.stored) == 500
    assert len(caught.value.not_stored) == 700
    assert caught.value.unknown == ()
    primary = Primary(None, IN_DOUBT)
    with pytest.raises(MaybeStored) as caught:
        make(primary, SpoolStub(DISK)).put(messages)
    error = caught.value
    assert (len(error.stored), len(error.unknown), len(error.not_stored)) == (500, 500, 200)
    assert {*error.stored, *error.unknown, *error.not_stored} == {m.id for m in messages}


def test_a_job_that_can_never_be_held_does_not_hide_what_was_stored_before_it(tmp_path: Path):
    """With a real spool: 500 fit, and one that is larger than the file may get."""
    with SpoolQ(
        "redis://127.0.0.1:1/0", spool=tmp_path / "s.db", spool_min_free=0, max_payload="4MiB", spool_max_bytes="4MiB"
    ) as q:
        jobs = [q.remote("t").job(number) for number in range(500)] + [q.remote("t").job("x" * (3600 << 10))]
        with pytest.raises(NotStored, match=r"takes 3,145,728 at most.*500 of the same call are stored") as caught:
            q.enqueue_many(jobs)
        assert caught.value.stored == tuple(job.id for job in jobs[:500])
        assert caught.value.not_stored == (jobs[500].id,)
        assert q.spool is not None
        assert q.spool.waiting() == 500
        with pytest.raises(PayloadError):
            q.enqueue_many(jobs[500:])


def test_an_id_that_the_spool_knows_is_stored_beside_one_that_can_never_be_held(make):
    spool = SpoolStub(known={"a": "waiting"})
    client = make(Primary(REFUSED), spool)
    client.put([message("a", given=True)])
    real = spool.recall

    def recall(ids, **options):
        spool.answer, found = PayloadError("larger than the file"), real(ids, **options)
        return found

    spool.recall = recall
    with pytest.raises(NotStored, match=r"larger than the file \(of 1 jobs; 1 of the same call are stored\)") as caught:
        client.put([message("a", given=True), message("b")])
    assert (caught.value.stored, caught.value.not_stored, caught.value.unknown) == (("a",), ("b",), ())


def test_what_is_written_ahead_asks_the_spool_alone_and_is_handed_over(make):
    primary, spool, woken = Primary(), SpoolStub(), []
    client = make(primary, spool, forward=lambda: woken.append(1))
    ahead = message("a")._replace(keep=60.0)
    assert client.put([ahead]) == [("a", "spool", True)]
    assert client.put([message("b"), ahead._replace(id="c")]) == [("b", "spool", True), ("c", "spool", True)]
    assert client.put([message("d")]) == [("d", "primary", True)]
    assert (spool.rows, spool.keeps) == ([("a", None), ("b", None), ("c", None)], [60.0, 0.0, 60.0])
    assert (primary.puts, len(woken)) == ([["d"]], 2)


@pytest.mark.parametrize(
    ("error", "kind"), [(DISK, NotStored), (StoreFull("the spool is at its limit"), SpoolFull), (DISK_HUNG, MaybeStored)]
)
def test_what_can_not_be_written_ahead_goes_nowhere_else(make, error, kind):
    primary, woken = Primary(), []
    with pytest.raises(kind, match="accept='spool'") as caught:
        make(primary, SpoolStub(error), forward=lambda: woken.append(1)).put([message()._replace(keep=60.0)])
    assert type(caught.value) is kind
    assert (primary.puts, woken) == ([], [])


def test_a_client_that_confirms_has_what_falls_back_kept(make):
    spool = SpoolStub()
    make(Primary(IN_DOUBT), spool, keep=60.0).put([message()])
    assert (spool.rows, spool.keeps) == ([("j1", 123.5)], [60.0])


def test_chunks_are_bounded_in_rows_and_bytes():
    assert [len(chunk) for chunk in chunks([message(size=400)] * 5, rows=10, size=1000)] == [2, 2, 1]
    assert [len(chunk) for chunk in chunks([message(size=4000)] * 2, rows=10, size=1000)] == [1, 1]
    assert list(chunks([])) == []


def test_the_prober_waits_first_then_asks_until_it_is_answered():
    primary, breaker = Primary(), Breaker()
    primary.probes = [REFUSED, REFUSED, None]
    prober = Prober(cast(Any, primary), breaker, random.Random(1))
    assert prober.turn() is None  # closed: nothing to ask
    breaker.failed("refused")
    delays = [prober.turn() for _ in range(3)]
    assert all(delay is not None and 0.2 <= delay <= 5.2 for delay in delays)
    assert prober.turn() is None
    assert breaker.allows()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_where_no_thread_can_be_had_the_job_is_spooled_all_the_same(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def no_thread(thread: threading.Thread) -> None:
        raise error

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    spool = SpoolStub()
    client = Client(cast(Any, Primary(REFUSED)), lambda: cast(Any, spool), Breaker())
    for id in ("a", "b"):
        [receipt] = client.put([Message(id, "q", b"{}")])
        assert receipt.route == "spool"


def test_a_prober_whose_start_was_interrupted_is_started_by_a_later_caller():
    """By a signal handler that raises, at every line of it in turn; nor does its end hang."""
    lines = 0
    for number in range(1, 40):
        breaker = Breaker()
        breaker.failed("refused")
        prober = Prober(cast(Any, Primary()), breaker, random.Random(1), first=60.0)
        left = number

        def trace(frame, event, argument):
            nonlocal left, lines
            if frame.f_code is not Prober.begin.__code__:
                return None
            # Python runs no signal handler where a `with` ends, and tells of that line all the same
            if event == "line" and "with " not in linecache.getline(frame.f_code.co_filename, frame.f_lineno):
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    lines += 1
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        with suppress(KeyboardInterrupt):
            prober.begin()
        sys.settrace(before)
        caller = threading.Thread(target=prober.begin)
        caller.start()
        caller.join(40)
        assert prober._service is not None
        assert prober._service.running
        prober.stop(40.0)
    assert lines > 5


def test_callers_that_fail_together_start_one_prober_and_none_after_its_end():
    breaker = Breaker()
    breaker.failed("refused")
    before = set(threading.enumerate())
    probers = [Prober(cast(Any, Primary()), breaker, random.Random(1), first=60.0) for _ in range(20)]

    def probing() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before and thread.name == "spoolq-prober"]

    for number, prober in enumerate(probers, 1):
        together = threading.Barrier(8)
        callers = [threading.Thread(target=lambda b=together, p=prober: (b.wait(), p.begin())) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len(probing()) == number
    for prober in probers:
        prober.stop(40.0)
        prober.begin()
    assert probing() == []


def test_an_outage_may_last_for_days():
    primary, breaker = Primary(), Breaker()
    breaker.failed("refused")
    prober = Prober(cast(Any, primary), breaker, random.Random(1))
    for _ in range(3000):
        delay = prober.turn()
        assert delay is not None
        assert 0.2 <= delay <= 5.2


def test_a_primary_that_is_slow_again_and_again_is_left_alone_until_a_quick_probe():
    now = [100.0]
    primary, spool, breaker = Primary(), SpoolStub(), Breaker(quick=0.25, monotonic=lambda: now[0])
    took = 0.2

    def put(messages: list[Message], effects: Effects, **options: Any) -> list[bool]:
        now[0] += took
        return [True] * len(messages)

    def ready(timeout: float) -> float:
        now[0] += 2 * took
        return 0.0

    primary.put, primary.ready = put, ready  # type: ignore[method-assign]
    client = Client(cast(Any, primary), lambda: cast(Any, spool), breaker, monotonic=lambda: now[0])
    client._prober = quiet = Prober(cast(Any, primary), breaker, random.Random(1))
    quiet.begin = lambda: None  # type: ignore[method-assign]
    routes = [client.put([message(str(n))])[0].route for n in range(8)]
    assert routes == ["primary"] * 5 + ["spool"] * 3
    assert breaker.reason == "slow"
    assert quiet.turn() is not None
    assert quiet.turn() is not None  # answered, and as slow as before
    took = 0.1
    assert quiet.turn() is None
    assert client.put([message("after")])[0].route == "primary"


def test_batches_may_take_their_time():
    now = [100.0]
    primary = Primary()
    client = Client(
        cast(Any, primary), lambda: cast(Any, SpoolStub()), Breaker(), monotonic=lambda: now.append(now[-1] + 0.2) or now[-1]
    )  # type: ignore[func-returns-value]
    assert {client.put([message("a"), message("b")])[0].route for _ in range(20)} == {"primary"}


def test_jobs_that_are_spooled_for_a_lasting_reason_are_an_error_in_the_log(make, caplog):
    client = make(Primary(StoreUnavailable("Redis at r:1: auth; mend the password", reason="auth")), SpoolStub())
    for id in "abc":
        client.put([message(id)])
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert "mend the password" in said[0]


def test_with_order_a_queue_that_has_rows_in_the_spool_is_spooled(make):
    primary, spool = Primary(), SpoolStub()
    client = make(primary, spool, ordered=True)
    assert client.put([message("a")])[0].route == "primary"
    spool.rows.append(("earlier", None))
    assert client.put([message("b")])[0].route == "spool"
    assert primary.puts == [["a"]]
    assert spool.rows[-1] == ("b", None), "nothing was sent, so nothing is in doubt"


def test_with_order_the_spool_is_asked_each_time_without_it_never(make):
    for ordered, asked in ((True, 3), (False, 0)):
        spool = SpoolStub()
        client = make(Primary(), spool, ordered=ordered)
        for number in range(3):
            client.put([message(f"j{number}")])
        assert spool.asked == asked


def test_with_order_and_a_spool_that_can_not_tell_nobody_is_asked(make):
    primary = Primary()
    with pytest.raises(NotStored, match="ordering = fifo"):
        make(primary, SpoolStub(DISK), ordered=True).put([message()])
    assert primary.puts == []
