"""`selection`: what a worker's list of queues means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spoolq.errors import ConfigError
from spoolq.selection import HEAVIEST, Entry, Selection, fits, named, parse

THERE = ("bulk_1", "bulk_2", "critical", "low", "mail", "old_bulk", "slow", "slow_2")


def test_names_alone_are_strict_and_in_order() -> None:
    found = parse("critical,default,low")
    assert found == named(("critical", "default", "low"))
    assert found.runs == ((Entry("critical"),), (Entry("default"),), (Entry("low"),))
    assert (found.open, found.weighted) == (False, False)


def test_weighted_ones_next_to_each_other_share() -> None:
    found = parse("critical,default:3,low:1,last,a:1,b:1")
    assert found.runs == (
        (Entry("critical"),),
        (Entry("default", 3), Entry("low", 1)),
        (Entry("last"),),
        (Entry("a", 1), Entry("b", 1)),
    )
    assert found.weighted
    assert not found.open


def test_a_text_and_its_parts_are_the_same() -> None:
    assert parse(" critical , default:3 ,low : 1 ".replace(" : ", ":")) == parse(["critical", "default:3", "low:1"])
    assert parse(("*", "!slow")) == parse("*,!slow")


def test_what_was_parsed_is_taken_as_it_is() -> None:
    found = parse("a:2,b")
    assert parse(found) is found


@pytest.mark.parametrize("text", ["a,b", "critical,default:3,low:1", "*", "bulk_*:2,mail:1,!bulk_1", "mail,*,low,!slow,!slow_*"])
def test_it_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


def test_the_words_have_no_weights_and_stay_in_their_order() -> None:
    assert parse("critical,!slow,default:3,bulk_*:1").words == ("critical", "!slow", "default", "bulk_*")
    assert parse("!slow").words == ("*", "!slow")


@pytest.mark.parametrize(
    ("text", "queues"),
    [
        ("*", THERE),
        ("mail,*,low", ("mail", "bulk_1", "bulk_2", "critical", "old_bulk", "slow", "slow_2", "low")),
        ("!slow", ("bulk_1", "bulk_2", "critical", "low", "mail", "old_bulk", "slow_2")),
        ("*,!slow*,!low", ("bulk_1", "bulk_2", "critical", "mail", "old_bulk")),
        ("bulk_*", ("bulk_1", "bulk_2")),
        ("*bulk", ("old_bulk",)),
        ("*bulk*", ("bulk_1", "bulk_2", "old_bulk")),
        ("b*1", ("bulk_1",)),
        ("*,bulk_*", ("critical", "low", "mail", "old_bulk", "slow", "slow_2", "bulk_1", "bulk_2")),
        ("bulk_2,bulk_*", ("bulk_2", "bulk_1")),
        ("bulk_*,bulk_2", ("bulk_1", "bulk_2")),
        ("slow*,*2", ("slow", "slow_2", "bulk_2")),
        ("absent,low", ("absent", "low")),
        ("absent_*", ()),
    ],
)
def test_patterns_take_what_is_there(text: str, queues: tuple[str, ...]) -> None:
    found = parse(text).expand(reversed(THERE))
    assert tuple(queue for some in found.values() for queue in some) == queues


def test_only_the_star_is_special_in_a_pattern() -> None:
    assert fits("a[1]?", "a[1]*")
    assert not fits("a1x", "a[1]*")
    assert not fits("ab", "a?*")
    assert fits("Bulk", "B*")
    assert not fits("bulk", "B*")
    assert parse("a**").entries == (Entry("a*"),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a part without a name"),
        (" ", "a part without a name"),
        ("a,,b", "a part without a name"),
        ("a,", "a part without a name"),
        ("!", "'!' alone takes nothing out; write !name"),
        ("a,!", "'!' alone"),
        (":3", "a weight and no name"),
        ("a:", "a whole number from 1 to 1000"),
        ("a:0", "a whole number from 1 to 1000"),
        ("a:-1", "a whole number"),
        ("a:1.5", "a whole number"),
        ("a:1001", "a whole number"),
        ("a:١", "a whole number"),
        ("a:b", "no queue has a colon in its name"),
        ("a:1:2", "no queue has a colon in its name"),
        ("a,b,a", "'a' is there twice"),
        ("a,a:2", "'a:2' is there twice"),
        ("a*,a**", "twice"),
        ("*,!a,!a", "'!a' is there twice"),
        ("*,a,!a", "'a' is both named and taken out"),
        ("*,!a,a", "'a' is both named and taken out"),
        ("a*,!a*", "both named and taken out"),
        ("a_1,a*,!a_*", "'a_1' is named, and !a_* takes it out"),
        ("a,!b", "!b takes nothing out"),
        ("*,!a:2", "what is taken out has no weight; write !a"),
        ("!*", "takes everything out"),
        ("a,!*", "takes everything out"),
        ("a!b", "printable characters"),
        ("!!a", "printable characters"),
        ("a\tb", "printable characters"),
        ("a" * 201, "printable characters"),
        (["a,b"], "printable characters"),
        (["a", 3], "3 is not a text"),
    ],
)
def test_what_makes_no_sense_is_refused_and_says_why(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^queues: ") as caught:
        parse(text)
    assert says in str(caught.value)


def test_the_heaviest_weight_is_taken() -> None:
    assert parse(f"a:{HEAVIEST}").entries == (Entry("a", HEAVIEST),)


parts = st.from_regex(r"!?[abc*]{1,3}(:[1-9])?", fullmatch=True)


@given(st.lists(parts, min_size=1, max_size=5), st.sets(st.from_regex(r"[abc]{1,3}", fullmatch=True)))
def test_whatever_is_written_each_queue_is_taken_once_and_none_that_is_taken_out(text: list[str], there: set[str]) -> None:
    try:
        found = parse(text)
    except ConfigError:
        return
    queues = [queue for some in found.expand(there).values() for queue in some]
    assert len(queues) == len(set(queues))
    assert not [queue for queue in queues if any(fits(queue, out) for out in found.without)]
    assert set(found.names) <= set(queues) <= set(found.names) | there
    assert {queue for queue in there if any(fits(queue, e.name) for e in found.entries)} - set(queues) == {
        queue for queue in there if any(fits(queue, e.name) for e in found.entries) and any(fits(queue, o) for o in found.without)
    }
    assert parse(str(found)) == Selection(found.entries, found.without, parse(str(found)).words)
