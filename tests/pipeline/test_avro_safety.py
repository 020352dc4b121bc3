"""Which schemas are refused before a single message is read with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream.pipeline.avro_safety import MAX_DEPTH, MAX_VALUES, unsafe
from tests.pipeline.making import LINE, NESTED, decimal
from tests.pipeline.test_avro_writer import contracts_with_records


def record(name: str, *types: Any, **more: Any) -> dict[str, Any]:
    fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields, **more}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def nested(levels: int) -> Any:
    schema: Any = "long"
    for _ in range(levels):
        schema = array(schema)
    return schema


def chain(length: int, width: int) -> dict[str, Any]:
    """Each record holds `width` of the one before: short to write, `width ** length` to read."""
    before: Any = "null"
    fields = []
    for number in range(length):
        before = record(f"R{number}", *[before] * width)
        fields.append({"name": f"r{number}", "type": before})
        before = f"R{number}"
    return {"type": "record", "name": "Top", "fields": fields}


UNSAFE: dict[str, tuple[Any, str]] = {
    "a record inside itself": (record("Node", ["null", "Node"]), "the type Node contains itself"),
    "through an array": (record("Node", array("Node")), "the type Node contains itself"),
    "through a map": (
        record("Node", {"type": "map", "values": "Node"}),
        "the type Node contains itself",
    ),
    "through another": (
        record("A", record("B", ["null", "A"])),
        "the type A contains itself",
    ),
    "by its full name": (
        record("Node", ["null", "shop.Node"], namespace="shop"),
        "the type shop.Node contains itself",
    ),
    "by its short name": (
        record("Node", ["null", "Node"], namespace="shop"),
        "the type shop.Node contains itself",
    ),
    "an array of nulls": (record("R", array("null")), "an array of items that take no bytes"),
    "at the top": (array("null"), "an array of items that take no bytes"),
    "of a null in other words": (array({"type": "null"}), "an array of items that take no bytes"),
    "of empty records": (array(record("E")), "an array of items that take no bytes"),
    "of records of nulls": (array(record("E", "null")), "an array of items that take no bytes"),
    "of fixed of no size": (
        array({"type": "fixed", "name": "F", "size": 0}),
        "an array of items that take no bytes",
    ),
    "of a named empty record": (
        record("R", record("E"), array("E")),
        "an array of items that take no bytes",
    ),
    "too deep": (nested(MAX_DEPTH + 1), f"nested deeper than {MAX_DEPTH}"),
    "far too deep": (nested(900), f"nested deeper than {MAX_DEPTH}"),
    "too deep by reference": (chain(MAX_DEPTH + 1, 1), f"nested deeper than {MAX_DEPTH}"),
    "too many fields": (record("R", *["long"] * MAX_VALUES), f"more than {MAX_VALUES} values"),
    "types that double each other": (chain(12, 2), f"more than {MAX_VALUES} values"),
    "an undefined type": (record("R", "Other"), "the type Other is not defined"),
    "a decimal of a million digits": (decimal(1_000_000), "a decimal of more than 1000 digits"),
    "a decimal of text digits": (decimal("9"), "a decimal of more than 1000 digits"),  # type: ignore[arg-type]  # the point
    "a fixed of no stated size": ({"type": "fixed", "name": "F", "size": "2"}, "without a size"),
    "a fixed of less than nothing": ({"type": "fixed", "name": "F", "size": -1}, "without a size"),
    "one that says it was parsed": (
        {**record("R", "Hidden"), "__fastavro_parsed": True, "__named_schemas": {"Hidden": "null"}},
        "claims to be parsed",
    ),
    "an empty union": ([], "no Avro schema"),
    "a number": (7, "no Avro schema"),
    "nothing": (None, "no Avro schema"),
    "an empty mapping": ({}, "no Avro schema"),
    "a record without fields": ({"type": "record", "name": "R"}, "no Avro schema"),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "complaint"), UNSAFE.values(), ids=list(UNSAFE))
def test_an_unsafe_schema_is_refused_for_what_it_is(schema: Any, complaint: str) -> None:
    assert complaint in unsafe(schema)


SAFE: dict[str, Any] = {
    "text": "string",
    "nested facts": dict(NESTED.schema),
    "an array of unions with null": array(["null", "string"]),
    "as deep as may be": nested(MAX_DEPTH),
    "as deep as may be, by reference": chain(MAX_DEPTH - 1, 1),
    "as many fields as may be": record("R", *["long"] * (MAX_VALUES - 1)),
    "a type used twice": record("R", LINE, array("Line"), ["null", "Line"]),
    "null beside others": record("R", "null", "long"),
    "a bare decimal": {"type": "bytes", "logicalType": "decimal"},
}


@pytest.mark.parametrize("schema", SAFE.values(), ids=list(SAFE))
def test_a_usual_schema_is_safe(schema: Any) -> None:
    assert unsafe(schema) == ""


@settings(max_examples=30)
@given(contracts_with_records())
def test_whatever_a_contract_may_be_is_safe(case: Any) -> None:
    assert unsafe(dict(case[0].schema)) == ""
    assert unsafe({"type": "map", "values": dict(case[0].schema)}) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["record", "long", "A", "null"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "values", "size", "logicalType"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_judged_without_an_error(schema: Any) -> None:
    assert isinstance(unsafe(schema), str)
