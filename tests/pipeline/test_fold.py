"""What a product remembers, whatever order its records come in and whatever happens between."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream import DependencyError
from mesh_stream.errors import HaltError
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.windows import EPOCH
from mesh_stream.product.product import (
    Action,
    Between,
    Emit,
    Hopping,
    InSet,
    Product,
    Rule,
    Session,
    Untimely,
)
from mesh_stream.testing import MemoryMessage, ProductDriver
from tests.pipeline.making import contract
from tests.pipeline.remembering import (
    HOUR,
    MINUTE,
    T0,
    WINDOWS,
    Course,
    Move,
    Sum,
    both,
    events_from,
    record,
    remembering,
    state,
    summed,
)

# The property. Events of three sources are late or not by their own source alone, and early by
# their own record alone; so the facts do not depend on how the sources interleave, where commits
# fall, how many windows close at once, or what is aborted and read again.

FAR = T0 + 1_000 * HOUR


class Sent(NamedTuple):
    """An event and how long before its time it was written."""

    event: Move
    early: int


GRACE = 4 * MINUTE


@st.composite
def a_source(draw: st.DrawFn) -> list[Sent]:
    """Events that go on by and by, some of them later than the grace, some too early."""
    now, sent = T0, []
    for _ in range(draw(st.integers(0, 12))):
        now += draw(st.sampled_from([0, MINUTE // 2, MINUTE, 3 * MINUTE, 7 * MINUTE]))
        back = draw(st.sampled_from([0, 0, MINUTE, GRACE, GRACE + 1, 9 * MINUTE, 30 * MINUTE]))
        early = draw(st.sampled_from([0] * 9 + [HOUR, HOUR + 1]))
        move = Move(draw(st.sampled_from("abc")), draw(st.integers(-5, 5)), now - back)
        sent.append(Sent(move, early))
    return sent


Sources = list[list[Sent]]
THREE_SOURCES = st.tuples(a_source(), a_source(), a_source()).map(list)


class Row(NamedTuple):
    """A fact."""

    sku: str
    start: int
    end: int
    events: int
    units: int


def reference(sources: Sources, window: Hopping | Session) -> tuple[list[Row], Counter[Any]]:
    """What comes of it, by arithmetic over everything at once: facts, and letters by rule."""
    kept: list[tuple[Move, list[int]]] = []
    letters: Counter[Any] = Counter()
    for sent in sources:
        highest: int | None = None
        for event, early in sent:
            if early > HOUR:
                letters["early", event.sku, event.at] += 1
                continue
            if isinstance(window, Session):
                starts = [0] if highest is None or event.at + GRACE >= highest else []
            else:
                starts = [
                    start
                    for start in range(T0 - 2 * HOUR, T0 + 3 * HOUR, MINUTE)
                    if start % window.advance == 0
                    and start <= event.at < start + window.size
                    and (highest is None or start + window.size + GRACE > highest)
                ]
            if starts:
                kept.append((event, starts))
            else:
                letters["late", event.sku, event.at] += 1
            highest = event.at if highest is None else max(highest, event.at)
    if isinstance(window, Session):
        return _sessions([event for event, _ in kept], window.gap), letters
    panes: dict[tuple[str, int], list[Move]] = {}
    for event, starts in kept:
        for start in starts:
            panes.setdefault((event.sku, start), []).append(event)
    rows = [
        Row(sku, start, start + window.size, len(events), sum(event.units for event in events))
        for (sku, start), events in panes.items()
    ]
    return sorted(rows), letters


def _sessions(moves: list[Move], gap: int) -> list[Row]:
    rows: list[Row] = []
    for event in sorted(moves, key=lambda event: (event.sku, event.at)):
        last = rows[-1] if rows else None
        if last is not None and last.sku == event.sku and event.at < last.end + gap:
            rows[-1] = Row(
                last.sku, last.start, event.at, last.events + 1, last.units + event.units
            )
        else:
            rows.append(Row(event.sku, event.at, event.at, 1, event.units))
    return sorted(rows)


def windowed(window: Hopping | Session, emit: Emit) -> Product:
    return remembering(
        state(window=window, emit=emit, grace=GRACE),
        events_from("raw.a"),
        events_from("raw.b"),
    )


PLACES = [("raw.a", 0), ("raw.a", 1), ("raw.b", 0)]


def logs_of(sources: Sources) -> dict[tuple[str, int], list[MemoryMessage]]:
    return {
        (topic, number): [
            record(event, offset, topic=topic, partition=number, timestamp=event.at - early)
            for offset, (event, early) in enumerate(sent)
        ]
        for (topic, number), sent in zip(PLACES, sources, strict=True)
    }


def rows_of(facts: Iterable[dict[str, Any]]) -> list[Row]:
    return [
        Row(fact["sku"], _ms(fact["start"]), _ms(fact["end"]), fact["count"], fact["units"])
        for fact in facts
    ]


def _ms(moment: datetime) -> int:
    return round((moment - EPOCH).total_seconds() * 1000)


def letters_of(course: Course) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for rejected in course.done.letters:
        value = msgspec.json.decode(rejected.message.value() or b"")
        event = value.get("event", value)
        found[rejected.rule, event["sku"], event["at"]] += 1
    return found


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@settings(max_examples=60, deadline=None)
@given(sources=THREE_SOURCES, seed=st.integers(0, 1 << 32))
def test_facts_and_late_letters_depend_on_no_interleaving_nor_commit_nor_abort(
    window: Hopping | Session, sources: Sources, seed: int
) -> None:
    expected, letters = reference(sources, window)
    course = Course(windowed(window, Emit.ON_CLOSE), logs_of(sources))

    course.stumble(seed)
    course.finish(advance_to=FAR)

    # Lists, not sets: no window is lost, and none is emitted twice.
    assert sorted(rows_of(course.published())) == expected
    assert letters_of(course) == letters
    assert course.done.closed == len(expected)
    assert [key for store in course.stores for key in store.entries if key[:1] in b"swd"] == []


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@settings(max_examples=60, deadline=None)
@given(sources=THREE_SOURCES, seed=st.integers(0, 1 << 32))
def test_the_last_fact_of_a_window_that_changed_is_what_it_came_to(
    window: Hopping | Session, sources: Sources, seed: int
) -> None:
    expected, letters = reference(sources, window)
    course = Course(windowed(window, Emit.ON_CHANGE), logs_of(sources))

    course.stumble(seed)
    course.finish(advance_to=FAR)

    last = {(row.sku, row.start): row for row in rows_of(course.published())}
    assert {place: last.get(place) for place in last if place in _places(expected)} == {
        (row.sku, row.start): row for row in expected
    }
    if isinstance(window, Hopping):
        assert last.keys() == _places(expected)
    assert letters_of(course) == letters


def _places(rows: list[Row]) -> set[tuple[str, int]]:
    return {(row.sku, row.start) for row in rows}


@settings(max_examples=60, deadline=None)
@given(sent=a_source(), seed=st.integers(0, 1 << 32))
def test_without_windows_a_key_comes_to_what_its_events_come_to(
    sent: list[Sent], seed: int
) -> None:
    log = [record(event, offset) for offset, (event, _) in enumerate(sent)]
    course = Course(remembering(state(repartitions=False)), {("raw.moves", 0): log}, cached=2)

    course.stumble(seed)
    course.finish()

    last = {fact["sku"]: (fact["count"], fact["units"]) for fact in course.published()}
    assert last == {
        sku: (
            sum(event.sku == sku for event, _ in sent),
            sum(event.units for event, _ in sent if event.sku == sku),
        )
        for sku in {event.sku for event, _ in sent}
    }
    counts: dict[str, int] = {}
    for fact in course.published():
        assert fact["count"] > counts.get(fact["sku"], 0), "a fact was published twice"
        counts[fact["sku"]] = fact["count"]


# The rules, one by one


class Ledger(msgspec.Struct, frozen=True):
    """An event that says what is to become of it."""

    sku: str
    units: int
    does: str = ""
    at: int = T0


class Balance(msgspec.Struct, frozen=True):
    """A state that is a fact."""

    sku: str
    units: int


class Box(msgspec.Struct):
    """A state that is changed in place."""

    sku: str
    units: int = 0


def balance(before: Balance | None, event: Ledger) -> Any:
    match event.does:
        case "raise":
            raise ValueError("the book of secrets")
        case "bank":
            raise DependencyError("the bank does not answer")
        case "misfit":
            return Balance(event.sku, "many")  # type: ignore[arg-type]  # what it must not
        case "overflow":
            return Balance(event.sku, 1 << 70)
        case "forget":
            return None
        case "nothing":
            return before
        case "dict":
            return {"sku": event.sku, "units": event.units}
        case _:
            return Balance(event.sku, event.units + (before.units if before else 0))


def fill(before: Box | None, event: Ledger) -> Any:
    box = before or Box(event.sku)
    box.units += event.units
    if event.does == "raise":
        raise ValueError("after it was changed")
    return None if event.does == "forget" else box


def merged(a: Balance, b: Balance) -> Balance:
    return Balance(a.sku, a.units + b.units)


BALANCES = contract(sku="string", units="long")
RULES = [
    Rule("not_negative", Between(0, None), "units"),
    Rule("not_much", Between(None, 100), "units", Action.WARN),
    Rule("not_fatal", InSet((666,), negated=True), "units", Action.FAIL),
]


def balances(
    fold: Any = balance, *, direct: bool = True, fact: Any = None, **parts: Any
) -> Product:
    parts = {"event_type": Ledger, "state_type": Balance, "merge": merged, **parts}
    said = state(fold, fact=fact, repartitions=not direct, **parts)
    return remembering(said, facts=BALANCES, rules=RULES)


def driver(*arguments: Any, **parts: Any) -> ProductDriver:
    return ProductDriver(balances(*arguments, **parts))


def move(units: int, does: str = "", *, sku: str = "a", at: int = T0) -> dict[str, Any]:
    return {"sku": sku, "units": units, "does": does, "at": at}


BOTH_WAYS = pytest.mark.parametrize("direct", [True, False], ids=["direct", "repartitioned"])
TUMBLING = Hopping(10 * MINUTE, 10 * MINUTE)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (move(1, "raise"), ("code", "transformation")),
        (move(1, "misfit"), ("code", "state")),
        (move(1, "overflow"), ("code", "state")),
        (move(-10), ("contract", "not_negative")),
        (move(1 << 62), ("contract", "schema")),
    ],
    ids=["the fold raises", "no state", "no integer", "a rule", "no fact"],
)
@pytest.mark.parametrize("parts", [{}, {"ttl": HOUR}, {"window": TUMBLING}, {"window": Session(1)}])
def test_an_event_that_goes_wrong_leaves_no_trace(
    parts: dict[str, Any], bad: dict[str, Any], fault: tuple[str, str], direct: bool
) -> None:
    one = driver(direct=direct, **parts)
    one.send(move(3))
    if fault[1] == "schema":
        one = ProductDriver(
            dataclasses.replace(one.product, contract=contract(sku="string", units="int"), rules=())
        )
        one.send(move(3))
    before = one.states

    sent = one.send(bad)

    assert sent.rejected is not None
    assert (sent.rejected.fault_class, sent.rejected.rule) == fault
    assert "secrets" not in sent.rejected.reason
    assert (sent.facts, one.states, len(one.facts)) == ([], before, 1)
    assert not one.tolerated
    one.send(move(2))
    assert one.facts[-1] == {"sku": "a", "units": 5}


def test_a_fact_that_cannot_be_made_rejects_the_event() -> None:
    def fact(key: str, window: Any, state: Balance) -> Any:
        if state.units > 5:
            raise KeyError(key)
        return {"sku": key, "units": state.units}

    one = driver(fact=fact)
    one.send(move(5))
    sent = one.send(move(1))

    assert sent.rejected is not None
    assert (sent.rejected.fault_class, sent.rejected.rule) == ("code", "transformation")
    assert one.state("a") == Balance("a", 5)


@BOTH_WAYS
def test_none_forgets_the_key_and_makes_no_fact(direct: bool) -> None:
    one = driver(direct=direct)
    one.send(move(5))
    sent = one.send(move(0, "forget"))

    assert (sent.facts, sent.rejected, one.states) == ([], None, {})
    assert one.send(move(2)).facts == [{"sku": "a", "units": 2}]
    assert one.send(move(2, "forget", sku="never there")).facts == []


@pytest.mark.parametrize("parts", [{}, {"ttl": HOUR}, {"window": TUMBLING}, {"window": Session(9)}])
def test_a_state_that_did_not_change_makes_no_fact(parts: dict[str, Any]) -> None:
    one = driver(**parts)
    one.send(move(5))

    assert one.send(move(7, "nothing")).facts == []
    assert [state.units for state in one.states.values()] == [5]


@pytest.mark.parametrize("parts", [{}, {"ttl": HOUR}, {"window": TUMBLING}, {"window": Session(9)}])
def test_a_state_may_be_changed_in_place(parts: dict[str, Any]) -> None:
    one = driver(fill, state_type=Box, **parts)
    with one.one_commit():
        one.send(move(5))
        one.send(move(6))
        one.send(move(7, "raise"))
    assert one.facts == [{"sku": "a", "units": 11}]

    assert one.send(move(4)).facts == [{"sku": "a", "units": 15}]
    assert one.send(move(4, "raise")).facts == []
    assert one.send(move(0)).facts == []
    assert list(one.states.values()) == [Box("a", 15)]
    one.send(move(0, "forget"))
    assert one.states == {}


def test_a_state_is_what_its_type_says_whatever_the_fold_returned() -> None:
    one = driver()
    with one.one_commit():
        one.send(move(5, "dict"))
        one.send(move(6))

    assert (one.facts, one.rejected) == ([{"sku": "a", "units": 11}], [])


def test_a_rule_that_warns_is_counted_and_the_fact_published() -> None:
    one = driver()

    assert one.send(move(101)).tolerated == ["not_much"]
    assert one.facts == [{"sku": "a", "units": 101}]


@pytest.mark.parametrize("emit", [Emit.ON_CHANGE, Emit.ON_CLOSE])
def test_a_rule_that_fails_halts_and_nothing_is_remembered(emit: Emit) -> None:
    one = driver(window=TUMBLING, emit=emit)
    one.send(move(600))
    before = one.states

    def fatal() -> None:
        one.send(move(66))
        one.advance(T0 + HOUR)

    with pytest.raises(HaltError, match="breaks the rule not_fatal"):
        fatal()
    if emit is Emit.ON_CHANGE:
        assert (one.states, one.sent) == (before, 1)
    assert len(one.facts) == (emit is Emit.ON_CHANGE)


@BOTH_WAYS
def test_a_platform_fault_is_no_dead_letter_and_the_event_may_come_again(direct: bool) -> None:
    one = driver(direct=direct)
    one.send(move(5))
    with pytest.raises(DependencyError, match="the bank does not answer"):
        one.send(move(1, "bank"))

    assert (one.rejected, one.sent, one.state("a")) == ([], 1, Balance("a", 5))
    assert one.send(move(1)).facts == [{"sku": "a", "units": 6}]


def test_a_fact_has_the_states_key_and_the_events_time() -> None:
    for parts in ({}, {"ttl": HOUR}, {"window": TUMBLING}, {"window": Session(9)}):
        for direct in (True, False):
            one = driver(direct=direct, **parts)
            one.send(move(1, at=T0 + 77), timestamp=T0 + 999)

            (published,) = one.published
            assert (published.key, published.event_time) == (b"a", T0 + 77)


def test_without_an_event_time_the_records_own_counts() -> None:
    for direct in (True, False):
        said = state(
            balance, fact=None, event_type=Ledger, state_type=Balance, repartitions=not direct
        )
        source = events_from(record_type=Ledger, key="sku" if direct else None, at="")
        one = ProductDriver(remembering(said, source, facts=BALANCES))
        one.send(move(1), timestamp=T0 + 5)
        one.send(move(1), timestamp=-1)

        assert [published.event_time for published in one.published] == [T0 + 5, -1]


def test_a_product_without_a_key_has_one_state() -> None:
    one = driver(
        direct=False,
        key=None,
        fact=lambda key, _window, state: {"sku": repr(key), "units": state.units},
    )
    one.send(move(1))
    one.send(move(2, sku="b"))

    assert one.facts[-1] == {"sku": "''", "units": 3}
    assert one.state() == Balance("b", 3)
    assert one.published[-1].key == b""


@pytest.mark.parametrize(
    ("kind", "key"), [(int, -7), (UUID, UUID(int=5)), (str, ""), (str, "é ")], ids=str
)
def test_a_key_comes_back_from_its_bytes_as_it_was(kind: type, key: Any) -> None:
    event_type = msgspec.defstruct("Event", [("sku", kind), ("at", int, T0)], frozen=True)
    seen = []

    def fact(found: Any, window: Any, state: Sum) -> Any:
        seen.append(found)
        return summed(found, window, state)

    for direct in (True, False):
        said = state(
            lambda before, _event: both(before or Sum(0, 0, 0, 0), Sum(1, 1, 1, 1)),
            fact=fact, key_type=kind, event_type=event_type, window=TUMBLING, emit=Emit.ON_CLOSE,
            repartitions=not direct,
        )  # fmt: skip
        one = ProductDriver(remembering(said))
        one.send({"sku": key, "at": T0})
        one.advance(T0 + HOUR)

        assert one.rejected == []
        assert one.facts[0]["sku"] == str(key)
    assert seen == [key, key]


# Time


@pytest.mark.parametrize("late", list(Untimely))
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@BOTH_WAYS
def test_a_late_event_changes_nothing(
    late: Untimely, window: Hopping | Session, direct: bool
) -> None:
    one = driver(direct=direct, window=window, late=late, grace=MINUTE)
    one.send(move(1, at=T0 + HOUR))
    before = one.states

    sent = one.send(move(1, at=T0 + HOUR - 12 * MINUTE))

    assert (sent.facts, one.states) == ([], before)
    if late is Untimely.DROP:
        assert (sent.rejected, sent.filtered) == (None, "late")
    else:
        assert sent.rejected is not None
        assert (sent.rejected.fault_class, sent.rejected.rule) == ("contract", "late")


def test_a_window_takes_events_until_its_grace_is_over() -> None:
    one = driver(window=TUMBLING, grace=MINUTE)
    end = T0 + 10 * MINUTE
    one.send(move(1, at=end + MINUTE - 1))
    assert one.send(move(1, at=end - 1)).facts
    one.send(move(1, at=end + MINUTE))

    assert one.send(move(1, at=end - 1)).rejected is not None
    assert one.send(move(1, at=end)).facts


def test_an_event_may_be_late_for_some_of_its_windows() -> None:
    one = driver(window=Hopping(10 * MINUTE, 5 * MINUTE), emit=Emit.ON_CLOSE)
    one.send(move(1, at=T0 + 12 * MINUTE))
    one.send(move(5, at=T0 + 7 * MINUTE))
    one.advance(T0 + HOUR)

    assert one.rejected == []
    assert [fact["units"] for fact in one.facts] == [6, 1]


@pytest.mark.parametrize("early", list(Untimely))
@BOTH_WAYS
def test_an_early_event_changes_nothing_and_closes_nothing(early: Untimely, direct: bool) -> None:
    one = driver(direct=direct, window=TUMBLING, early=early, ahead=MINUTE)
    one.send(move(1))
    before = one.states

    assert one.send(move(1, at=T0 + HOUR), timestamp=T0 + HOUR - MINUTE - 1).facts == []
    assert one.states == before
    assert one.send(move(1, at=T0)).facts == [{"sku": "a", "units": 2}]
    if early is Untimely.DROP:
        assert (one.rejected, one.filtered) == ([], {"early": 1})
    else:
        assert [rejected.rule for rejected in one.rejected] == ["early"]
    assert one.send(move(1, at=T0 + HOUR), timestamp=T0 + HOUR - MINUTE).facts


def test_without_windows_nothing_is_late_or_early() -> None:
    one = driver()
    for at in (T0 + HOUR * 99, T0, 5):
        one.send(move(1, at=at))

    assert (one.rejected, one.filtered, one.state("a")) == ([], {}, Balance("a", 3))


def test_a_window_on_close_makes_one_fact_when_every_source_has_passed_it() -> None:
    said = state(
        balance, fact=None, event_type=Ledger, state_type=Balance, window=TUMBLING,
        emit=Emit.ON_CLOSE,
    )  # fmt: skip
    ports = [events_from(topic, Ledger) for topic in ("raw.a", "raw.b")]
    one = ProductDriver(remembering(said, *ports, facts=BALANCES))
    one.send(move(1), topic="raw.a")
    one.send(move(2), topic="raw.b")
    assert one.send(move(5, at=T0 + HOUR), topic="raw.a").facts == []

    closing = one.send(move(7, at=T0 + 10 * MINUTE), topic="raw.b")

    assert closing.facts == [{"sku": "a", "units": 3}]
    assert one.published[0].event_time == T0 + 10 * MINUTE
    assert sorted(start for _, start in one.states) == [
        EPOCH + timedelta(milliseconds=T0 + 10 * MINUTE), EPOCH + timedelta(milliseconds=T0 + HOUR)
    ]  # fmt: skip


def test_a_window_whose_fact_is_wrong_becomes_a_dead_letter_with_its_state() -> None:
    one = driver(window=TUMBLING, emit=Emit.ON_CLOSE)
    one.send(move(-5))
    one.send(move(-6, sku="b"))
    one.send(move(7, sku="c"))
    one.advance(T0 + HOUR)

    assert (one.facts, one.states) == ([{"sku": "c", "units": 7}], {})
    assert [rejected.rule for rejected in one.rejected] == ["not_negative"] * 2
    letters = [rejected.message for rejected in one.rejected]
    assert letters[0].topic() == "mesh.orders-tested.changelog"
    assert (letters[0].key(), letters[0].offset()) == (b"a", -1)
    assert letters[0].value() == b'{"sku":"a","units":-5}'
    assert letters[0].timestamp() == (1, T0 + 10 * MINUTE)
    ids = {dict(rejected.headers)["mesh.dlq.id"] for rejected in one.rejected}
    assert len(ids) == 2
    assert not any(part == b"a" for name in ids for part in (name or b"").split(b"-"))


def test_a_state_that_json_cannot_say_is_a_dead_letter_all_the_same() -> None:
    def fold(_before: Any, _event: Ledger) -> Any:
        return {(1, 2): 3}

    one = driver(fold, state_type=dict[tuple[int, int], int], window=TUMBLING, emit=Emit.ON_CLOSE)
    one.send(move(1))
    one.advance(T0 + HOUR)

    assert [rejected.fault_class for rejected in one.rejected] == ["contract"]
    value = one.rejected[0].message.value()
    assert msgspec.msgpack.decode(value or b"", type=dict[tuple[int, int], int]) == {(1, 2): 3}


def test_a_window_beyond_the_calendar_is_wrong_where_its_moments_are_asked_for() -> None:
    last = 253_402_300_799_999

    def fact(key: str, window: Any, state: Balance) -> Any:
        return state

    for emit in Emit:
        one = driver(fact=fact, window=TUMBLING, emit=emit)
        one.send(move(1, at=last))
        one.send(move(1, at=last + 1), timestamp=last + 1)
        one.advance(last + 3 * HOUR)

        assert [rejected.rule for rejected in one.rejected] == ["event_time"] * 2
        assert one.facts == []


def test_sessions_that_an_event_joins_are_one() -> None:
    one = driver(window=Session(5 * MINUTE), grace=HOUR, emit=Emit.ON_CLOSE)
    one.send(move(1, at=T0))
    one.send(move(2, at=T0 + 9 * MINUTE))
    one.send(move(9, at=T0 + 5 * MINUTE + 9 * MINUTE))
    assert len(one.states) == 3

    one.send(move(4, at=T0 + 5 * MINUTE - 1))
    assert [state.units for state in one.states.values()] == [7, 9]
    assert one.state("a", T0) == Balance("a", 7)

    one.advance(T0 + 5 * HOUR)
    assert [fact["units"] for fact in one.facts] == [7, 9]
    assert [published.event_time for published in one.published] == [
        T0 + 9 * MINUTE, T0 + 14 * MINUTE
    ]  # fmt: skip


def test_a_session_that_became_part_of_another_makes_no_fact_of_its_own() -> None:
    one = driver(window=Session(5 * MINUTE), grace=HOUR)
    with one.one_commit():
        one.send(move(1, at=T0 + 4 * MINUTE))
        one.send(move(2, at=T0))
        one.send(move(9, at=T0 + HOUR))

    assert [fact["units"] for fact in one.facts] == [3, 9]


def test_none_forgets_a_session_and_leaves_the_others() -> None:
    one = driver(window=Session(5 * MINUTE), grace=HOUR)
    for at in (T0, T0 + 30 * MINUTE):
        one.send(move(1, at=at))
    one.send(move(0, "forget", at=T0 + MINUTE))
    assert [state.units for state in one.states.values()] == [1]
    one.send(move(0, "forget", at=T0 + 31 * MINUTE))
    one.send(move(0, "forget", at=T0 + 31 * MINUTE))

    assert one.states == {}


def test_a_key_without_events_is_forgotten_when_its_time_is_over() -> None:
    one = driver(ttl=HOUR)
    one.send(move(1))
    one.send(move(1, at=T0 + MINUTE))
    one.send(move(5, sku="b", at=T0 + 30 * MINUTE))
    one.advance(T0 + HOUR + MINUTE - 1)
    assert one.states.keys() == {"a", "b"}

    one.advance(T0 + HOUR + MINUTE)
    assert one.states.keys() == {"b"}
    one.send(move(3, at=T0 + HOUR + 2 * MINUTE))
    assert one.facts[-1] == {"sku": "a", "units": 3}
    one.advance(T0 + 9 * HOUR)
    assert one.states == {}


def test_an_event_from_before_does_not_shorten_a_keys_time() -> None:
    one = driver(ttl=HOUR)
    for minutes in (0, 30, 10):
        one.send(move(1, at=T0 + minutes * MINUTE))

    one.advance(T0 + HOUR)
    one.advance(T0 + HOUR + 30 * MINUTE - 1)
    assert one.state("a") == Balance("a", 3)
    one.advance(T0 + HOUR + 30 * MINUTE)
    assert one.states == {}


def test_an_event_that_changes_nothing_prolongs_a_keys_time() -> None:
    one = driver(ttl=HOUR)
    one.send(move(1))
    one.send(move(0, "nothing", at=T0 + MINUTE))

    one.advance(T0 + HOUR)
    assert one.states.keys() == {"a"}
    one.advance(T0 + HOUR + MINUTE)
    assert one.states == {}


def test_a_session_that_went_on_closes_when_it_ends() -> None:
    one = driver(window=Session(5 * MINUTE), emit=Emit.ON_CLOSE)
    one.send(move(1))
    one.send(move(2, at=T0 + 4 * MINUTE))

    for early in (5, 6, 8):
        assert one.advance(T0 + early * MINUTE).facts == []
    assert one.advance(T0 + 9 * MINUTE).facts == [{"sku": "a", "units": 3}]
    assert one.states == {}


def test_a_million_windows_are_closed_so_many_at_a_time() -> None:
    log = [record(Move(str(n), 1, T0), n) for n in range(50)]
    course = Course(
        remembering(state(window=TUMBLING, emit=Emit.ON_CLOSE, repartitions=False)),
        {("raw.moves", 0): log},
    )
    course.read(("raw.moves", 0), 50)
    course.freeze()
    course.commit()
    course.fold.shards[0].watermark.reached("raw.moves:0", FAR)

    closed = []
    while looked_at := course.close(0, 20):
        closed.append((looked_at, course.fold.shards[0].unseen))

    assert closed == [(20, True), (20, True), (10, False)]
    assert len(course.open.facts) == 50


def test_a_silent_source_holds_nobody_back_and_what_it_brings_then_may_be_late() -> None:
    moves = {"raw.a": [Move("a", 1, T0), Move("a", 1, T0 + HOUR)], "raw.b": [Move("a", 5, T0)]}
    logs = {
        (topic, 0): [record(event, n, topic=topic) for n, event in enumerate(events)]
        for topic, events in moves.items()
    }
    course = Course(windowed(TUMBLING, Emit.ON_CLOSE), {**logs, ("raw.b", 0): []})
    course.read(("raw.a", 0), 2)
    course.settle()
    assert course.published() == []

    course.tell(idle=["raw.b:0"])
    course.settle()
    assert [row.units for row in rows_of(course.published())] == [1]

    course.logs["raw.b", 0] = logs["raw.b", 0]
    course.settle()
    assert [rejected.rule for rejected in course.done.letters] == ["late"]


@pytest.mark.parametrize("window", [TUMBLING, Hopping(9, 9), Session(5 * MINUTE)], ids=str)
def test_a_window_closes_with_the_last_moment_of_its_grace(window: Hopping | Session) -> None:
    one = driver(window=window, grace=MINUTE, emit=Emit.ON_CLOSE)
    one.send(move(3))
    start = T0 if isinstance(window, Session) else T0 - T0 % window.advance
    end = start + (window.gap if isinstance(window, Session) else window.size)

    assert one.advance(end + MINUTE - 1).facts == []
    assert one.advance(end + MINUTE).facts == [{"sku": "a", "units": 3}]


def test_windows_close_in_their_order_committed_or_not() -> None:
    said = state(window=TUMBLING, emit=Emit.ON_CLOSE, repartitions=False, grace=9 * TUMBLING.size)
    moves = [record(Move("a", 1, T0 + 5 * TUMBLING.size), 0), record(Move("a", 2), 1)]
    course = Course(remembering(said), {("raw.moves", 0): moves[:1]})
    course.read(("raw.moves", 0))
    course.freeze()
    course.commit()
    # The earlier window is here, and not yet in the store, when both are over.
    course.logs["raw.moves", 0] += moves[1:]
    course.read(("raw.moves", 0))
    course.fold.shards[0].watermark.reached("raw.moves:0", FAR)
    outcome = Outcome()
    assert course.fold.close(0, outcome, 9) == 2

    times = [fact.event_time for fact in outcome.facts]
    assert times == sorted(times)
    assert len(set(times)) == 2
