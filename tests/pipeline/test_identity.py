"""Records that are published as they come."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from mesh_stream.pipeline.identity import contract_type
from mesh_stream.product.product import Format, Holds, MatchesRegex, Rule
from mesh_stream.testing import ProductDriver
from tests.pipeline.making import (
    CURRENCY,
    DATE,
    LINE,
    LOCAL,
    MICROS,
    MILLIS,
    TIME,
    UUID_TEXT,
    contract,
    contract_of,
    decimal,
    port,
    product,
)

EVERYTHING = contract(
    text="string",
    number="long",
    share="double",
    sure="boolean",
    raw="bytes",
    hash={"type": "fixed", "name": "Hash", "size": 2},
    amount=decimal(18, 2),
    at=MILLIS,
    precisely=MICROS,
    locally=LOCAL,
    day=DATE,
    hour=TIME,
    id=UUID_TEXT,
    currency=CURRENCY,
    before=["null", "Currency"],
    note=["null", "string"],
    lines={"type": "array", "items": LINE},
    more={"type": "map", "values": ["null", "Line"]},
)
JSON = {
    "text": "a",
    "number": 1,
    "share": 0.5,
    "sure": True,
    "raw": "/wA=",
    "hash": "AAE=",
    "amount": 12.50,
    "at": "2026-01-01T13:00:00+01:00",
    "precisely": "2026-01-01T12:00:00.000001Z",
    "locally": "2026-01-01T12:00:00",
    "day": "2026-01-01",
    "hour": "12:00:00",
    "id": "00000000-0000-0000-0000-000000000001",
    "currency": "EUR",
    "before": "USD",
    "lines": [{"sku": "a", "price": "0.10", "due": "2026-01-01T12:00:00Z"}],
    "more": {"none": None, "one": {"sku": "b", "price": 1}},
    "not of the contract": 1,
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FACT = {
    "text": "a",
    "number": 1,
    "share": 0.5,
    "sure": True,
    "raw": b"\xff\x00",
    "hash": b"\x00\x01",
    "amount": Decimal("12.50"),
    "at": NOON,
    "precisely": NOON.replace(microsecond=1),
    "locally": NOON.replace(tzinfo=None),
    "day": date(2026, 1, 1),
    "hour": time(12),
    "id": UUID(int=1),
    "currency": "EUR",
    "before": "USD",
    "note": None,
    "lines": [{"sku": "a", "price": Decimal("0.10"), "due": NOON}],
    "more": {"none": None, "one": {"sku": "b", "price": Decimal("1.00"), "due": None}},
}


def test_every_type_of_a_contract_is_read_from_json() -> None:
    driver = ProductDriver(product(EVERYTHING))

    driver.send(JSON)

    assert driver.facts == [FACT], driver


def test_every_type_of_a_contract_is_read_from_avro() -> None:
    driver = ProductDriver(product(EVERYTHING, port(form=Format.AVRO, reader=EVERYTHING)))

    driver.send(FACT)

    assert driver.facts == [FACT], driver


@pytest.mark.parametrize(
    ("field", "value"),
    [("number", "1"), ("at", "noon"), ("amount", "much"), ("hash", 1), ("lines", [{"sku": "a"}])],
)
def test_a_field_of_another_type_is_a_payload_fault(field: str, value: Any) -> None:
    driver = ProductDriver(product(EVERYTHING))

    driver.send({**JSON, field: value})

    assert [(one.fault_class, one.rule) for one in driver.rejected] == [("payload", "type")]
    assert f"$.{field}" in driver.rejected[0].reason


def test_a_missing_field_takes_its_default_or_null_or_is_refused() -> None:
    facts = contract_of(
        {"name": "id", "type": "string"},
        {"name": "channel", "type": "string", "default": "web"},
        {"name": "fee", "type": decimal(9, 2), "default": "\u0000"},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["new"]},
        {"name": "note", "type": ["null", "string"]},
    )
    driver = ProductDriver(product(facts))

    driver.send({"id": "o1"})
    driver.send({"channel": "shop"})

    whole = {"id": "o1", "channel": "web", "fee": Decimal(0), "tags": ["new"], "note": None}
    assert driver.facts == [whole]
    assert driver.rejected[0].reason == "Object missing required field `id`"


def test_a_default_that_can_be_changed_is_each_records_own() -> None:
    tags = {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["new"]}
    kind = contract_type(contract_of(tags))

    msgspec.json.decode(b"{}", type=kind).tags.append("old")

    assert msgspec.json.decode(b"{}", type=kind).tags == ["new"]


@pytest.mark.parametrize("name", ["class", "from", "None", "__dict__", "__init__", "match", "self"])
def test_a_field_may_be_called_as_no_attribute_can(name: str) -> None:
    other = f"f_{name}"
    facts = contract_of({"name": name, "type": "string"}, {"name": other, "type": "long"})
    driver = ProductDriver(product(facts, rules=[Rule("r", MatchesRegex("a"), name)]))

    driver.send({name: "a", other: 1})
    driver.send({name: "b", other: 1})

    assert driver.facts == [{name: "a", other: 1}], driver
    assert driver.rejected[0].rule == "r"


def test_a_predicate_sees_the_contracts_names() -> None:
    dear = Rule("dear", Holds(lambda record: record.amount > 10), None)
    driver = ProductDriver(product(EVERYTHING, rules=[dear]))

    driver.send(JSON)
    driver.send({**JSON, "amount": 1})

    assert len(driver.facts) == 1, driver
    assert driver.rejected[0].rule == "dear"


def test_a_union_that_json_cannot_tell_apart_is_left_to_the_encoder() -> None:
    driver = ProductDriver(product(contract(a=["string", UUID_TEXT, "long"])))

    driver.send({"a": "text"})
    driver.send({"a": 1})
    driver.send({"a": [1]})

    assert driver.facts == [{"a": "text"}, {"a": 1}]
    assert driver.rejected[0].reason.startswith("field a: found a list")
