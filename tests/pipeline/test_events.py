"""Events on their way: key, type, time, and the form they have on the product's own topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import CodeError, ContractError
from mesh_stream.pipeline.events import (
    GLOBAL_KEY,
    Arrival,
    Notice,
    Timing,
    event_reader,
    key_from_text,
    key_reader,
    repartitioned_type,
    source_of,
    text_of_key,
)
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.windows import LAST
from mesh_stream.product.product import Hopping, Untimely
from tests.pipeline.making import message
from tests.pipeline.remembering import DAY, HOUR, MINUTE, T0, Move, state


class Named(msgspec.Struct, rename="camel"):
    sku_code: Any = None


class Coded(TypedDict):
    skuCode: Any


# The key


@given(st.text() | st.integers(-(1 << 63), 1 << 64) | st.uuids())
def test_a_key_comes_back_from_its_text(key: Any) -> None:
    try:
        text = text_of_key(key)
    except ContractError:
        assert any(0xD800 <= ord(letter) <= 0xDFFF for letter in key)
        return
    assert key_from_text(state(key_type=type(key)))(text) == key


def test_text_that_no_topic_can_hold_is_no_key() -> None:
    with pytest.raises(ContractError, match="cannot be written as Unicode") as caught:
        text_of_key("\ud800")
    assert caught.value.rule == "key"


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (str, None, "null"),
        (str, 5, "int"),
        (int, "5", "str"),
        (int, True, "bool"),
        (int, 5.0, "float"),
        (UUID, "00000000-0000-0000-0000-000000000005", "str"),
    ],
)
def test_a_key_of_another_type_is_wrong(kind: type, value: Any, found: str) -> None:
    for event_type, event in ((Named, Named(value)), (Coded, {"skuCode": value})):
        read = key_reader(state(key="skuCode", key_type=kind, event_type=event_type))
        with pytest.raises(ContractError) as caught:
            read(event)
        assert caught.value.rule == "key"
        assert caught.value.reason == (
            f"field skuCode: found {found}; expected {kind.__name__}: it is the state's key"
        )


def test_a_key_is_read_by_its_name_on_the_wire() -> None:
    def read(event_type: Any, event: Any) -> Any:
        return key_reader(state(key="skuCode", event_type=event_type))(event)

    assert read(Named, Named("a")) == read(Coded, {"skuCode": "a"}) == b"a"
    with pytest.raises(ContractError, match="found null"):
        read(Coded, {})
    assert key_reader(state(key=None))({}) == GLOBAL_KEY


# The event


class Part(TypedDict):
    price: Decimal


@dataclass
class Plain:
    sku: str
    units: int
    at: int


class Whole(msgspec.Struct, frozen=True):
    """Every scalar that an event may hold, and some that hold them."""

    text: str
    number: int
    real: float
    flag: bool
    raw: bytes
    price: Decimal
    id: UUID
    at: datetime
    on: date
    by: time
    took: timedelta
    parts: list[Part]
    counts: dict[int, int]
    maybe: datetime | None = None


WHOLES = st.builds(
    Whole,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    number=st.integers(),
    real=st.floats(allow_nan=False, allow_infinity=False),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    at=st.datetimes(timezones=st.just(UTC)) | st.datetimes(),
    by=st.times(),
    took=st.timedeltas(timedelta(days=-9), timedelta(days=9)),
    parts=st.lists(st.builds(dict, price=st.decimals(allow_nan=False, allow_infinity=False))),
)


@given(WHOLES)
def test_an_event_comes_through_the_own_topic_as_it_was(event: Whole) -> None:
    arriving, kind = repartitioned_type(state(event_type=Whole))
    sent = kind(T0, "raw.a:1", 7, -5, event, T0 + 9)

    read = msgspec.json.decode(msgspec.json.encode(sent), type=arriving)

    assert read == sent
    assert str(read.event.price) == str(event.price)


def test_what_stands_on_the_own_topic_can_be_read_by_anybody() -> None:
    _, kind = repartitioned_type(state())
    written = msgspec.json.encode(kind(T0, "raw.a:1", 7, -5, Move("a", 2, T0), T0 + 9))

    assert msgspec.json.decode(written) == {
        "is": "event",
        "at": T0,
        "source": "raw.a:1",
        "offset": 7,
        "highest": -5,
        "event": {"sku": "a", "units": 2, "at": T0},
        "arrived": T0 + 9,
    }
    assert msgspec.json.decode(msgspec.json.encode(Notice({"raw.a:1": T0}, ("raw.a:2",)))) == {
        "is": "notice",
        "highest": {"raw.a:1": T0},
        "idle": ["raw.a:2"],
    }
    assert source_of("raw.a", 1) == "raw.a:1"


def test_an_event_that_was_written_before_arrivals_were_is_read_all_the_same() -> None:
    arriving, _ = repartitioned_type(state())
    event = b'{"sku":"a","units":2}'
    written = b'{"is":"event","at":5,"source":"raw.a:1","offset":7,"highest":-5,"event":%s}' % event

    assert msgspec.json.decode(written, type=arriving).arrived == -1


def test_an_event_that_is_one_already_is_not_touched() -> None:
    event = Move("a", 1)

    assert event_reader(state())(event) is event


@pytest.mark.parametrize(
    "record",
    [
        {"sku": "a", "units": 1, "at": 5},
        {"sku": "a", "units": 1, "at": 5, "more": 1},
        Plain("a", 1, 5),
    ],
)
def test_what_has_the_fields_of_an_event_becomes_one(record: Any) -> None:
    assert event_reader(state())(record) == Move("a", 1, 5)


class Raising:
    sku = "a"

    @property
    def units(self) -> int:
        raise RuntimeError("the book of secrets")


@dataclass
class Odd(Raising):
    at: int = 5


@pytest.mark.parametrize("record", [{"sku": "a"}, {"sku": 5, "units": 1}, Named("a"), 5, Odd()])
def test_what_is_no_event_is_the_codes_fault(record: Any) -> None:
    with pytest.raises(CodeError, match="what is no Move, which the fold takes") as caught:
        event_reader(state())(record)

    assert caught.value.rule == "transformation"


def test_an_arrival_is_a_record_with_the_states_key_and_the_events_time() -> None:
    sent = message(b"{}", key=b"other", headers=[("h", b"1")], offset=9)
    arrival = Arrival(Move("a", 1), T0, -5, b"a", sent)

    assert (arrival.topic(), arrival.partition(), arrival.offset()) == (sent.topic(), 0, 9)
    assert (arrival.key(), arrival.timestamp(), arrival.value()) == (b"a", (1, T0), b"{}")
    assert arrival.headers() == [("h", b"1")]


# The time


def timing(field: str | None = "at", **parts: Any) -> tuple[Timing, Any]:
    said = {"window": Hopping(HOUR, HOUR), "ahead": MINUTE, **parts}
    time = None if field is None else InputTime(field)
    made = Timing(state(**said), time)

    def admit(at: Any, written: int, outcome: Outcome | None = None) -> int | None:
        sent = message(b"{}", timestamp=(0, -1) if written == -1 else (1, written))
        if time is not None:
            time.noting(lambda _message: {"at": at})(sent)
        return made.admit(sent, outcome or Outcome())

    return made, admit


@pytest.mark.parametrize("field", ["at", None])
@pytest.mark.parametrize("parts", [{}, {"window": None}])
def test_it_is_noted_when_a_record_arrived_whatever_says_when_it_happened(
    field: str | None, parts: dict[str, Any]
) -> None:
    made, admit = timing(field, **parts)

    admit(T0, T0 + 7)

    assert made.arrived == T0 + 7


@pytest.mark.parametrize(
    ("at", "written"),
    [(T0, T0), (T0 + MINUTE, T0), (T0 - 999 * DAY, T0), (datetime(1969, 1, 1, tzinfo=UTC), T0),
     (0, 0), (LAST, LAST), (LAST, LAST + DAY)],
)  # fmt: skip
def test_an_event_not_too_far_ahead_of_its_record_is_admitted(at: Any, written: int) -> None:
    _, admit = timing()
    expected = at if isinstance(at, int) else -365 * DAY

    assert admit(at, written) == expected


@pytest.mark.parametrize(
    ("at", "written", "rule", "words"),
    [
        (T0 + MINUTE + 1, T0, "early", "60 s ahead of the time the record was written"),
        (1 << 80, T0, "early", "expected at most 60 s"),
        (T0, -1, "event_time", "without a timestamp"),
        (None, T0, "event_time", "field at: found no moment"),
        ("soon", T0, "event_time", "field at: found no moment"),
        (LAST + 1, LAST + 1, "event_time", "outside the years 1 to 9999"),
    ],
)
def test_an_event_at_no_known_time_is_wrong(at: Any, written: int, rule: str, words: str) -> None:
    _, admit = timing()

    with pytest.raises(ContractError, match=words) as caught:
        admit(at, written)
    assert caught.value.rule == rule


def test_an_early_event_may_be_dropped() -> None:
    _, admit = timing(early=Untimely.DROP)
    outcome = Outcome()

    assert admit(T0 + MINUTE + 1, T0, outcome) is None
    assert outcome.filtered == {"early": 1}


def test_without_an_event_time_the_records_timestamp_is_the_time() -> None:
    _, admit = timing(None)

    assert admit(None, T0) == T0
    with pytest.raises(ContractError, match="without a timestamp"):
        admit(None, -1)


@pytest.mark.parametrize("parts", [{"window": None}, {"window": None, "ttl": None}])
def test_where_time_does_not_matter_every_time_is_admitted(parts: dict[str, Any]) -> None:
    made, admit = timing(**parts)

    assert not made.matters
    assert admit(T0 + DAY, T0) == T0 + DAY
    assert admit(None, T0) == T0
    assert admit(None, -1) == -1


def test_time_matters_to_what_is_forgotten() -> None:
    assert timing(window=None, ttl=HOUR)[0].matters
