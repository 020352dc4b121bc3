"""What a fact is: its key, its event time, its size; the same for every kind of record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import ContractError
from mesh_stream.product.product import Contract
from tests.pipeline.encoding import encode
from tests.pipeline.making import (
    LINE,
    MICROS,
    MILLIS,
    UUID_TEXT,
    contract,
    contract_of,
    decimal,
    message,
)

LOUD = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


# Every kind of record, the same fact

ORDER = contract_of(
    {"name": "class", "type": "string"},
    {"name": "orderId", "type": "string"},
    {"name": "amount", "type": ["null", decimal(9, 2)], "default": None},
    {"name": "at", "type": MILLIS},
)
ORDER_WITH_LINES = contract_of(
    *ORDER.schema["fields"], {"name": "lines", "type": {"type": "array", "items": LINE}}
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class LineStruct(msgspec.Struct, rename={"stock_keeping_unit": "sku"}):
    stock_keeping_unit: str
    price: Decimal


@dataclasses.dataclass
class LineDataclass:
    sku: str
    price: Decimal
    due: datetime | None = None


class LineModel(pydantic.BaseModel):
    stock_keeping_unit: str = pydantic.Field(alias="sku")
    price: Decimal


class OrderStruct(msgspec.Struct, rename={"kind": "class", "order_id": "orderId"}):
    kind: str
    order_id: str
    amount: Decimal | None
    at: datetime
    lines: Any


# A dataclass has no aliases: it gets the word `class`, which no attribute can be called, by name.
OrderDataclass = dataclasses.make_dataclass("OrderDataclass", ["orderId", "amount", "at", "lines"])
setattr(OrderDataclass, "class", property(lambda _self: "new"))


class OrderModel(pydantic.BaseModel):
    kind: str = pydantic.Field(serialization_alias="class")
    order_id: str = pydantic.Field(alias="orderId")
    amount: Decimal | None
    at: datetime
    lines: Any


AMOUNT = Decimal("12.50")
PRICE = Decimal("0.10")
FORMS: dict[str, Callable[[], Any]] = {
    "struct": lambda: OrderStruct("new", "o1", AMOUNT, NOON, [LineStruct("a", PRICE)]),
    "dataclass": lambda: OrderDataclass("o1", AMOUNT, NOON, (LineDataclass("a", PRICE),)),
    "pydantic": lambda: OrderModel(
        kind="new", orderId="o1", amount=AMOUNT, at=NOON, lines=[LineModel(sku="a", price=PRICE)]
    ),
    "mixed": lambda: OrderStruct(
        "new", "o1", AMOUNT, NOON, [LineModel(sku="a", price=PRICE)]
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("facts", [ORDER, ORDER_WITH_LINES], ids=["flat", "nested"])
def test_every_kind_of_record_makes_the_same_fact(form: Callable[[], Any], facts: Contract) -> None:
    plain = {
        "class": "new",
        "orderId": "o1",
        "amount": AMOUNT,
        "at": NOON,
        "lines": [{"sku": "a", "price": PRICE, "due": None}],
    }

    assert encode(facts, form()) == encode(facts, plain)


def test_a_fact_over_its_limit_is_refused() -> None:
    facts = contract(a="string")

    assert len(encode(facts, {"a": "x" * 92}, record_bytes=99).value) == 99
    with pytest.raises(ContractError, match="takes 100 bytes; expected at most 99") as caught:
        encode(facts, {"a": "x" * 93}, record_bytes=99)
    assert caught.value.rule == "oversize"


# Key and event time


@pytest.mark.parametrize(
    ("schema", "value", "key"),
    [
        ("string", "ord_é", "ord_é".encode()),
        ("long", -7, b"-7"),
        (UUID_TEXT, LOUD, LOUD.lower().encode()),
    ],
)
def test_the_key_is_the_fields_text(schema: Any, value: Any, key: bytes) -> None:
    nested = contract(id=schema, tags={"type": "array", "items": "string"})

    assert encode(contract(id=schema), {"id": value}, key="id").key == key
    assert encode(nested, {"id": value, "tags": []}, key="id").key == key


def test_without_a_key_field_the_inputs_key_stays_untouched() -> None:
    facts = contract(a="string")

    for key in (b"\xff\x00", b"", None):
        assert encode(facts, {"a": ""}, message=message(key=key)).key == key


def test_a_null_is_no_key() -> None:
    with pytest.raises(ContractError, match="field id: found null; expected a value: it is the"):
        encode(contract(id=["null", "string"]), {"id": None}, key="id")


@given(
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])),
    st.sampled_from([MILLIS, MICROS]),
    st.booleans(),
    st.booleans(),
)
def test_the_event_time_is_the_fields_milliseconds_exactly(
    moment: datetime, schema: Any, nested: bool, number: bool
) -> None:
    tags = {"tags": {"type": "array", "items": "string"}} if nested else {}
    facts = contract(at=schema, **tags)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    exact = (moment - epoch) // timedelta(milliseconds=1)
    value: Any = moment
    if number:
        value = (moment - epoch) // timedelta(microseconds=1 if schema is MICROS else 1000)

    assert encode(facts, {"at": value, "tags": []}, event_time="at").event_time == exact


def test_without_an_event_time_field_the_records_timestamp_counts() -> None:
    facts = contract(a="string")

    assert encode(facts, {"a": ""}, message=message(timestamp=(1, 77))).event_time == 77
    assert encode(facts, {"a": ""}, message=message(timestamp=(0, -1))).event_time == -1


# When it arrived


@pytest.mark.parametrize("facts", [ORDER, ORDER_WITH_LINES])
@pytest.mark.parametrize("event_time", ["at", None])
@pytest.mark.parametrize(("timestamp", "arrived"), [((1, 7), 7), ((2, 7), 7), ((0, 7), -1)])
def test_a_fact_arrived_when_its_record_was_written_whatever_says_when_it_happened(
    facts: Contract, event_time: str | None, timestamp: tuple[int, int], arrived: int
) -> None:
    record: dict[str, Any] = {
        "class": "new",
        "orderId": "o",
        "amount": None,
        "at": NOON,
        "lines": [],
    }

    fact = encode(facts, record, event_time=event_time, message=message(timestamp=timestamp))

    assert fact.arrived == arrived
    assert fact.event_time == (arrived if event_time is None else NOON.timestamp() * 1000)
