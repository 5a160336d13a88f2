"""What a process counts: without a lock for who adds, and nothing lost between threads, forks and tellings."""

from __future__ import annotations

import os
import threading

from spoolq.counts import BOUNDS, DURATION, MOST_VALUES, OTHER, Counts, encoded

KEY = (DURATION, "mail", "send")


def test_counts_are_added_up_under_their_labels() -> None:
    counts = Counts()
    counts.add("errors", "put", "refused")
    counts.add("errors", "put", "refused", by=2)
    counts.add("errors", "drain", "refused")
    assert counts.totals() == {"errors\tput\trefused": 3, "errors\tdrain\trefused": 1}


def test_a_histogram_has_a_count_for_each_bucket_and_the_sum_in_microseconds() -> None:
    counts = Counts()
    for seconds in (0.001, 0.0011, 4.0, 1e6):
        counts.observe(KEY, seconds)
    front = encoded(*KEY)
    assert counts.totals() == {
        f"{front}\t0.001": 1,
        f"{front}\t0.005": 1,
        f"{front}\t5.0": 1,
        f"{front}\t+Inf": 1,
        f"{front}\tsum": 1_000_004_002_100,
    }


def test_what_was_taken_is_not_taken_again_and_what_was_given_back_is() -> None:
    counts = Counts()
    counts.add("n", by=2)
    taken = counts.take()
    assert taken == {"n": 2}
    assert counts.take() == {}
    counts.add("n")
    counts.give_back(taken)
    assert counts.take() == {"n": 3}
    assert counts.totals() == {"n": 3}


def test_threads_that_have_ended_are_remembered_and_keep_no_memory() -> None:
    counts = Counts()
    for _ in range(20):
        thread = threading.Thread(target=counts.add, args=("n",))
        thread.start()
        thread.join()
    assert counts.take() == {"n": 20}
    counts.add("n")
    assert counts.take() == {"n": 1}
    assert len(counts._threads) == 1


def test_a_reader_loses_nothing_of_threads_that_go_on_counting() -> None:
    counts = Counts()

    def work() -> None:
        for n in range(3000):
            counts.add("n", str(n % 50))
            counts.observe(KEY, 0.002)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[str, int] = {}
    while any(thread.is_alive() for thread in threads):
        for name, n in counts.take().items():
            seen[name] = seen.get(name, 0) + n
    for name, n in counts.take().items():
        seen[name] = seen.get(name, 0) + n
    assert sum(n for name, n in seen.items() if name.startswith("n\t")) == 12_000
    assert seen[encoded(*KEY, "0.005")] == 12_000


def test_a_forked_child_counts_for_itself() -> None:
    counts = Counts()
    counts.add("n", by=5)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        counts.after_fork()
        counts.add("n")
        os.write(write, repr(counts.take()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100) == b"{'n': 1}"
    assert counts.take() == {"n": 5}
    os.close(read)
    os.close(write)


def test_values_of_an_open_set_are_bounded() -> None:
    counts = Counts()
    seen = {counts.bounded(f"queue-{n}") for n in range(1000)}
    assert len(seen) <= MOST_VALUES
    assert OTHER in seen
    assert counts.bounded("queue-0") == "queue-0"


def test_a_label_keeps_its_name_in_one_piece() -> None:
    assert encoded("n", "a\tb\nc", "ü") == "n\ta\\tb\\nc\tü"


def test_bounds_rise() -> None:
    assert all(list(bounds) == sorted(set(bounds)) for bounds in BOUNDS.values())
