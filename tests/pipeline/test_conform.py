"""What is refused rather than bent, and how it is said."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from mesh_stream.errors import ContractError
from tests.pipeline.encoding import encode, read
from tests.pipeline.making import (
    CURRENCY,
    DATE,
    LINE,
    LOCAL,
    MICROS,
    MILLIS,
    NESTED,
    TIME,
    TIME_MICROS,
    UUID_TEXT,
    contract,
    decimal,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def refusals() -> list[Any]:
    """(type, value, what the message says was found)."""
    nan, surrogate = Decimal("NaN"), "a\ud800"
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the point
    cases: list[tuple[Any, Any, str]] = [
        (decimal(9, 2), Decimal("1.005"), "a decimal of 4 digits and exponent -3"),
        (decimal(3, 2), Decimal("10.00"), "a decimal of 4 digits and exponent -2"),
        (decimal(3), Decimal(1000), "a decimal of 4 digits"),
        (decimal(3), Decimal(-1000), "a decimal of 4 digits"),
        (decimal(9, 2), Decimal("1E+999999"), "a decimal of 1 digits and exponent 999999"),
        (decimal(9, 2), Decimal("1E-999999"), "a decimal of 1 digits and exponent -999999"),
        (decimal(9, 2), nan, "a decimal that is no number"),
        (decimal(9, 2), Decimal("sNaN"), "a decimal that is no number"),
        (decimal(9, 2), Decimal("Infinity"), "a decimal that is no number"),
        (decimal(9, 2), 1.5, "a float"),
        (decimal(9, 2), True, "a bool"),
        (decimal(9, 2), "1.50", "a str"),
        (decimal(3), 1000, "an int out of its range"),
        ("int", 2**31, "an int out of its range"),
        ("int", -(2**31) - 1, "an int out of its range"),
        ("long", 2**63, "an int out of its range"),
        ("long", -(2**63) - 1, "an int out of its range"),
        ("long", True, "a bool"),
        ("long", 1.0, "a float"),
        ("long", "1", "a str"),
        ("boolean", 1, "an int"),
        ("double", True, "a bool"),
        ("double", "1.0", "a str"),
        ("double", Decimal("1E+400"), "a decimal of 1 digits and exponent 400"),
        ("double", 10**400, "an int"),
        ("float", 1e39, "a float"),
        ("string", 1, "an int"),
        ("string", b"text", "a bytes"),
        ("string", surrogate, "text that is no Unicode"),
        ("bytes", "text", "a str"),
        (MILLIS, naive, "a datetime without a time zone"),
        (MILLIS, 2**63, "an int out of its range"),
        (MILLIS, True, "a bool"),
        (MILLIS, date(2026, 1, 1), "a date"),
        (MILLIS, "2026-01-01T00:00:00Z", "a str"),
        (MICROS, naive, "a datetime without a time zone"),
        (LOCAL, NOON, "a datetime"),
        (DATE, NOON, "a datetime"),
        (DATE, "2026-01-01", "a str"),
        (TIME, time(12, tzinfo=UTC), "a time"),
        (TIME, 86_400_000, "an int out of its range"),
        (TIME_MICROS, -1, "an int out of its range"),
        (UUID_TEXT, "not-a-uuid", "text that is no UUID"),
        (CURRENCY, "GBP", "text that is no symbol of it"),
        (CURRENCY, 0, "an int"),
        ({"type": "fixed", "name": "Hash", "size": 2}, b"abc", "3 bytes"),
        (["null", "string"], 1, "an int"),
        (["null", decimal(3, 2)], Decimal("0.001"), "a decimal of 1 digits and exponent -3"),
        ("string", None, "null"),
        (["string", "long"], None, "null"),
        (["string", "long"], 1.5, "a float"),
        ({"type": "array", "items": "long"}, "12", "a str"),
        ({"type": "map", "values": "long"}, [1], "a list"),
        ({"type": "map", "values": "long"}, {1: 1}, "a key that is no Unicode text"),
        ({"type": "map", "values": "long"}, {surrogate: 1}, "a key that is no Unicode text"),
        (LINE, "line", "a str"),
    ]
    return [pytest.param(*case, id=f"{case[0]}-{case[1]!r:.40}") for case in cases]


@pytest.mark.parametrize(("schema", "value", "found"), refusals())
def test_what_does_not_fit_is_refused_with_its_place_and_without_its_value(
    schema: Any, value: Any, found: str
) -> None:
    flat = contract(ok="string", field=schema)
    with pytest.raises(ContractError) as caught:
        encode(flat, {"ok": "", "field": value})
    assert caught.value.reason.startswith(f"field field: found {found}")
    assert caught.value.rule == "schema"

    deep = contract(ok="string", list={"type": "array", "items": schema})
    with pytest.raises(ContractError) as caught:
        encode(deep, {"ok": "", "list": [value]})
    assert caught.value.reason.startswith(f"field list[0]: found {found}")


def test_a_part_deep_inside_is_named_by_its_way() -> None:
    line = {"sku": "a", "price": Decimal("0.001")}
    record: dict[str, Any] = {"id": "o1", "lines": [], "more": {"secret-key": line}}
    record |= {"tags": [], "hash": b"12", "other": None}

    with pytest.raises(ContractError) as caught:
        encode(NESTED, record)

    assert caught.value.reason == (
        "field more[...].price: found a decimal of 1 digits and exponent -3; expected decimal(9,2)"
    )


def test_a_missing_field_is_named() -> None:
    @dataclasses.dataclass
    class OnlyId:
        id: str

    facts = contract(id="string", at=MILLIS)
    for record in ({"id": "o1"}, OnlyId("o1")):
        with pytest.raises(ContractError, match="field at: found nothing; expected timestamp"):
            encode(facts, record)


def test_a_field_that_cannot_be_read_is_the_records_fault() -> None:
    class Torn:
        @property
        def id(self) -> str:
            raise RuntimeError("secret")

    torn = dataclasses.dataclass(Torn)()

    with pytest.raises(ContractError) as caught:
        encode(contract(id="string"), torn)

    assert "raises RuntimeError when it is read" in caught.value.reason
    assert "secret" not in caught.value.reason


def test_a_tiny_number_that_stands_for_a_huge_one_costs_no_time() -> None:
    """Nine bytes of JSON whose integer would take minutes to write out."""
    facts, nested = (
        contract(a=decimal(38, 9)),
        contract(a={"type": "array", "items": decimal(38, 9)}),
    )
    for huge in (Decimal("1E+999999"), Decimal("-9E+999990")):
        for record, schema in (({"a": huge}, facts), ({"a": [huge]}, nested)):
            with pytest.raises(ContractError, match="exponent 9999"):
                encode(schema, record)
    for zero in (Decimal("0E+999999"), Decimal("0E-999999")):
        assert read(facts, encode(facts, {"a": zero})) == {"a": 0}
        assert read(nested, encode(nested, {"a": [zero]})) == {"a": [0]}


# Small liberties


LOUD = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"


def test_what_means_the_same_is_the_same() -> None:
    class Money(StrEnum):
        EUR = "EUR"

    same = [
        (decimal(9, 2), 5, Decimal("5.00")),
        ("double", 1, 1.0),
        ("double", Decimal("0.5"), 0.5),
        (UUID_TEXT, LOUD, UUID(LOUD)),
        (CURRENCY, Money.EUR, "EUR"),
        (MILLIS, 1_767_268_800_000, NOON),
        (MILLIS, NOON + timedelta(microseconds=999), NOON),
    ]
    for schema, loose, strict in same:
        flat, deep = contract(a=schema), contract(a={"type": "array", "items": schema})
        assert encode(flat, {"a": loose}) == encode(flat, {"a": strict})
        assert encode(deep, {"a": [loose]}) == encode(deep, {"a": [strict]})


def test_a_moment_before_the_epoch_is_rounded_down_like_any_other() -> None:
    facts = contract(at=MILLIS)
    before = datetime(1969, 12, 31, 23, 59, 59, 999_500, tzinfo=UTC)

    assert read(facts, encode(facts, {"at": before}))["at"] == before.replace(microsecond=999_000)
