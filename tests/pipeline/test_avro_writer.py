"""The generated writer against fastavro: the same bytes for every flat type."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mesh_stream.product.avro_lint import lint
from mesh_stream.product.product import Contract
from tests.pipeline.encoding import by_fastavro, encode, read
from tests.pipeline.making import (
    CURRENCY,
    DATE,
    LOCAL,
    LOCAL_MILLIS,
    MICROS,
    MILLIS,
    NESTED,
    TIME,
    TIME_MICROS,
    UUID_TEXT,
    contract,
    contract_of,
    decimal,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=9))]
)
LIMITS = [2**n + d for n in (6, 7, 13, 14, 27, 31, 40, 41, 48, 55, 62) for d in (-2, -1, 0, 1)]
LONGS = st.one_of(
    st.sampled_from([sign * n for n in LIMITS for sign in (1, -1)]),
    st.integers(-(2**63), 2**63 - 1),
)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    """Every decimal of a type, more often those at which the number of bytes changes."""
    limit = 10**precision
    edges = {2 ** (8 * n - 1) + d for n in range(1, 18) for d in (-1, 0, 1)} | {0, limit - 1}
    unscaled = st.one_of(
        st.sampled_from(sorted(edge for edge in edges if edge < limit)),
        st.integers(0, limit - 1),
    )
    return st.builds(
        lambda number, sign: Decimal((sign, tuple(map(int, str(number))), -scale)),
        unscaled,
        st.integers(0, 1),
    )


def _decimal_type(precision: int, scale: int) -> tuple[Any, st.SearchStrategy[Any]]:
    return decimal(precision, scale), decimals(precision, scale)


def _fixed_decimal_type(precision: int, scale: int) -> tuple[Any, st.SearchStrategy[Any]]:
    # As many bytes as hold the digits; fastavro writes a negative zero as another number.
    size = math.ceil((precision * math.log2(10) + 1) / 8)
    schema = decimal(precision, scale) | {"type": "fixed", "name": "Money", "size": size}
    return schema, decimals(precision, scale).map(lambda value: value if value else Decimal(0))


PRECISIONS = st.integers(1, 40).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p)))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)

# (Avro type, values of it)
TYPES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.one_of(
    st.sampled_from(
        [
            ("boolean", st.booleans()),
            ("int", st.integers(-(2**31), 2**31 - 1)),
            ("long", LONGS),
            ("float", st.floats(width=32)),
            ("double", st.floats()),
            ("string", TEXTS),
            ("bytes", st.binary(max_size=300)),
            ({"type": "string"}, TEXTS),
            (CURRENCY, st.sampled_from(["EUR", "USD"])),
            ({"type": "fixed", "name": "Hash", "size": 4}, st.binary(min_size=4, max_size=4)),
            (UUID_TEXT, st.uuids()),
            (DATE, st.dates()),
            (TIME, st.times()),
            (TIME_MICROS, st.times()),
            (MILLIS, st.datetimes(timezones=ZONES) | LONGS),
            (MICROS, st.datetimes(timezones=ZONES) | LONGS),
            (LOCAL_MILLIS, st.datetimes()),
            (LOCAL, st.datetimes()),
            ({"type": "long", "logicalType": "somebodys-own"}, LONGS),
        ]
    ),
    PRECISIONS.map(lambda digits: _decimal_type(*digits)),
    PRECISIONS.map(lambda digits: _fixed_decimal_type(*digits)),
)


def nullable(
    kind: tuple[Any, st.SearchStrategy[Any]], first: bool
) -> tuple[Any, st.SearchStrategy[Any]]:
    schema, values = kind
    return (["null", schema] if first else [schema, "null"]), st.none() | values


FIELDS = st.one_of(TYPES, st.builds(nullable, TYPES, st.booleans()))


@st.composite
def contracts_with_records(draw: st.DrawFn) -> tuple[Contract, dict[str, Any]]:
    kinds = draw(st.lists(FIELDS, min_size=1, max_size=6))
    fields, record = [], {}
    for number, (schema, values) in enumerate(kinds):
        fields.append({"name": f"f{number}", "type": renamed(schema, number)})
        record[f"f{number}"] = draw(values)
    return contract_of(*fields), record


def renamed(schema: Any, number: int) -> Any:
    """Named types of one schema need names of their own."""
    if isinstance(schema, list):
        return [renamed(branch, number) for branch in schema]
    if isinstance(schema, dict) and "name" in schema:
        return {**schema, "name": f"{schema['name']}{number}"}
    return schema


@given(contracts_with_records())
@example((contract(a=decimal(3)), {"a": Decimal(-128)}))
@example((contract(a=decimal(9, 2)), {"a": Decimal("-0.00")}))
@example((contract(a="string", b=["null", "string"]), {"a": "", "b": ""}))
def test_a_flat_fact_is_the_same_bytes_as_fastavro_writes(
    case: tuple[Contract, dict[str, Any]],
) -> None:
    facts, record = case

    with pytest.MonkeyPatch.context() as patch:
        # Nothing may be left to fastavro, or it would be compared with itself.
        patch.setattr("mesh_stream.pipeline.encode._fastavro_writer", None)
        fact = encode(facts, record, schema_id=0x01020304)

    assert fact.value == b"\x00\x01\x02\x03\x04" + by_fastavro(facts, record)


@pytest.mark.parametrize("schema", ["long", MILLIS, MICROS, decimal(20)], ids=str)
def test_every_length_of_a_number_is_the_same_bytes(schema: Any) -> None:
    """Seven bits a byte, eight in a decimal: the numbers on both sides of each step."""
    steps = [number for power in range(63) for number in (2**power - 1, 2**power)]
    numbers = [*steps, *(-number for number in steps), -(2**63)]
    record = {
        f"n{index}": Decimal(number) if isinstance(schema, dict) and "scale" in schema else number
        for index, number in enumerate(numbers)
    }
    facts = contract(**dict.fromkeys(record, schema))

    assert encode(facts, record).value[5:] == by_fastavro(facts, record)


LINE_RECORDS = st.fixed_dictionaries(
    {"sku": TEXTS, "price": decimals(9, 2)},
    optional={"due": st.none() | st.datetimes(timezones=ZONES)},
)
LINES = st.lists(LINE_RECORDS, max_size=4)


@given(
    st.fixed_dictionaries(
        {
            "id": TEXTS,
            "lines": LINES,
            "more": st.dictionaries(TEXTS, st.none() | LINE_RECORDS),
            "tags": st.lists(TEXTS | LONGS, max_size=3),
            "hash": st.binary(min_size=2, max_size=2),
            "other": st.none() | st.binary(min_size=2, max_size=2),
        }
    )
)
def test_a_nested_fact_is_the_same_bytes_as_fastavro_writes(record: dict[str, Any]) -> None:
    assert encode(NESTED, record).value[5:] == by_fastavro(NESTED, record)


@given(PRECISIONS.flatmap(lambda d: st.tuples(st.just(d), decimals(*d))), st.integers(0, 40))
def test_a_decimal_comes_back_as_it_was_whatever_zeros_it_carries(
    case: tuple[tuple[int, int], Decimal], zeros: int
) -> None:
    (precision, scale), value = case
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    padded = Decimal((sign, digits + (0,) * zeros, exponent - zeros))
    nested = {"type": "array", "items": decimal(precision, scale)}

    flat = contract(amount=decimal(precision, scale))
    deep = contract(amount=nested)

    assert read(flat, encode(flat, {"amount": padded})) == {"amount": value}
    assert read(deep, encode(deep, {"amount": [padded]})) == {"amount": [value]}


def test_a_text_of_another_kind_is_written_as_the_text_that_it_is() -> None:
    class Loud(str):
        def encode(self, *_: Any) -> bytes:
            return b"!"

        def __str__(self) -> str:
            return "!"

    facts = contract(name="string", nick=["null", "string"])
    fact = encode(facts, {"name": Loud("ä"), "nick": Loud("b")}, key="name")

    assert (read(facts, fact), fact.key) == ({"name": "ä", "nick": "b"}, "ä".encode())


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_a_fixed_decimal_comes_back_as_it_was_negative_zero_included(unscaled: int) -> None:
    money = decimal(18, 2) | {"type": "fixed", "name": "Money", "size": 8}
    facts = contract(amount=money, more={"type": "array", "items": "Money"})
    value = Decimal(unscaled).scaleb(-2)
    zero = Decimal("-0.00")

    assert read(facts, encode(facts, {"amount": value, "more": [value, zero]})) == {
        "amount": value,
        "more": [value, Decimal(0)],
    }


@settings(max_examples=30)
@given(contracts_with_records())
def test_every_type_above_is_one_that_a_contract_may_have(
    case: tuple[Contract, dict[str, Any]],
) -> None:
    """The lint at load decides; what it refuses needs no writer."""
    problems = lint(dict(case[0].schema))

    assert [problem for problem in problems if "somebodys" not in problem.found] == []
