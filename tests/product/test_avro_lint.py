from __future__ import annotations

import copy
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream.product.avro_lint import LOGICAL, Problem, lint


def fact(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "Fact", "fields": list(fields), **more}


def field(schema: Any, **more: Any) -> dict[str, Any]:
    return {"name": "a", "type": schema, **more}


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
ENUM = {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}
FIXED = {"type": "fixed", "name": "Hash", "size": 2}
LINE = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}

SOUND = [
    field("string"),
    field(["null", "string"], default=None),
    field(["string", "null"], default="x"),
    field("int", default=2**31 - 1),
    field("long", default=-(2**63)),
    field("double", default=1),
    field("boolean", default=False),
    field("bytes", default="\u00ff"),
    field(DECIMAL, default="\u0007"),
    field(ENUM, default="NEW"),
    field({**ENUM, "default": "PAID"}),
    field(FIXED, default="ab"),
    field({"type": "array", "items": LINE}, default=[{"sku": "x"}]),
    field({"type": "map", "values": "long"}, default={"k": 1}),
    field(LINE, default={"sku": "x"}),
    field({"type": "string"}),
    field({"type": "array", "items": ["null", "int"]}),
    field({"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 18}),
    field("string", doc="x", aliases=["b"], order="ignore", custom=1),
    *[field({"type": bases[0], "logicalType": name}) for name, bases in LOGICAL.items()
      if name != "decimal"],
]  # fmt: skip


@pytest.mark.parametrize("sound", SOUND, ids=lambda part: json.dumps(part)[:60])
def test_what_the_specification_allows_is_sound(sound: dict[str, Any]) -> None:
    schema = fact(sound)

    assert lint(schema) == []
    fastavro.parse_schema(copy.deepcopy(schema))


@pytest.mark.parametrize(
    ("broken", "found", "expected"),
    [
        (field(["null", "string"], default="x"), "a default that does not fit", "first type"),
        (field("string", default=None), "a default that does not fit", "string"),
        (field("int", default=2**31), "a default that does not fit", "int"),
        (field("int", default=True), "a default that does not fit", "int"),
        (field("int", default=1.0), "a default that does not fit", "int"),
        (field("bytes", default="\u0100"), "a default that does not fit", "bytes"),
        (field(ENUM, default="GONE"), "a default that does not fit", "enum"),
        (field(FIXED, default="abc"), "a default that does not fit", "fixed"),
        (field(LINE, default={}), "a default that does not fit", "a value for sku"),
        (field({"type": "array", "items": "int"}, default=["x"]), "a default that", "int"),
        (field({"type": "map", "values": "int"}, default={"k": "x"}), "a default that", "int"),
        (field({"type": "string", "logicalType": "timestamp-millis"}),
         "timestamp-millis on string", "on long"),
        (field({"type": "long", "logicalType": "date"}), "date on long", "on int"),
        (field({"type": "long", "logicalType": "timestamp-milis"}),
         "the logical type 'timestamp-milis'", "timestamp-millis"),
        (field("long", logicalType="timestamp-millis"), "logicalType beside the type", "inside"),
        (field("bytes", precision=4), "precision beside the type", "inside"),
        (field("array", items="int"), "the type 'array'", "a type of Avro"),
        (field({**DECIMAL, "scale": 19}), "the scale 19", "0 to 18"),
        (field({**DECIMAL, "scale": -1}), "the scale -1", "0 to 18"),
        (field({**DECIMAL, "precision": 0}), "the precision 0", "1 or more"),
        (field({**DECIMAL, "precision": "18"}), "the precision '18'", "1 or more"),
        (field({"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal",
                "precision": 10}), "the precision 10", "at most 9"),
        (field("strng"), "the type 'strng'", "a type of Avro"),
        (field(3), "3 as a type", "a type's name"),
        (field([]), "an empty union", "at least one"),
        (field(["null", ["int"]]), "a union inside a union", "one flat union"),
        (field(["int", "int"]), "int twice in one union", "each type once"),
        (field(["int", {"type": "int", "logicalType": "date"}]), "int twice", "each type once"),
        (field([LINE, {**LINE}]), "a second definition of Line", "one"),
        (field({"type": {"type": "string"}}), "a type inside a type", "name"),
        (field({"logicalType": "date"}), "a mapping without type", "a type"),
        (field({"type": "array"}), "array without items", "items"),
        (field({"type": "map"}), "map without values", "values"),
        (field({"type": "array", "items": "null"}), "items without content", "one byte"),
        (field({"type": "array", "items": {"type": "record", "name": "N",
                "fields": [{"name": "n", "type": "null"}]}}), "items without content", "one byte"),
        (field({"type": "enum", "name": "E", "symbols": []}), "an enum without symbols", "symbol"),
        (field({"type": "enum", "name": "E", "symbols": ["a", "a"]}), "a symbol twice", "once"),
        (field({"type": "enum", "name": "E", "symbols": ["a-b"]}), "the symbol 'a-b'", "letters"),
        (field({**ENUM, "default": "GONE"}), "the default 'GONE'", "NEW, PAID"),
        (field({"type": "fixed", "name": "F", "size": 0}), "a fixed of size 0", "1 to"),
        (field({"type": "fixed", "name": "F"}), "a fixed of size None", "1 to"),
        (field({"type": "record", "name": "L", "fields": []}), "a record without fields", "one"),
        (field({"type": "record", "fields": [field("int")]}), "a type without a name", "a name"),
        (field({**LINE, "name": "a-b"}), "the name 'a-b'", "letters"),
        (field({**LINE, "namespace": "a..b"}), "the name 'a..b.Line'", "letters"),
        (field(["null", "Fact"]), "the type Fact inside itself", "bounded depth"),
        ({"name": "a"}, "a field without type", "a type"),
        ({"type": "int"}, "a field without a name", "name and type"),
        ("a", "a field without a name", "name and type"),
        ({"name": "a b", "type": "int"}, "the field name 'a b'", "letters"),
        ({"name": "1a", "type": "int"}, "the field name '1a'", "no digit first"),
        ({"name": "é", "type": "int"}, "the field name 'é'", "letters"),
    ],
    ids=lambda part: json.dumps(part)[:60] if isinstance(part, dict) else None,
)  # fmt: skip
def test_what_readers_would_trip_over_is_found(broken: Any, found: str, expected: str) -> None:
    problems = lint(fact(broken))

    assert any(found in p.found and expected in p.expected for p in problems), problems


@pytest.mark.parametrize(
    "top", ["string", ["null", "string"], ENUM, {"type": "array"}, {}, 3, None]
)
def test_a_contract_is_a_record(top: Any) -> None:
    assert [problem.found for problem in lint(top)] == ["another type at the top"]


def test_the_field_of_a_problem_is_named_with_its_path() -> None:
    line = {"type": "record", "name": "Line", "fields": [{"name": "qty", "type": "integer"}]}

    (problem,) = lint(fact({"name": "lines", "type": {"type": "array", "items": line}}))

    assert problem.place == "lines.qty"
    assert problem.remedy == "did you mean int?"


def test_every_problem_is_found_at_once() -> None:
    schema = fact({"name": "a", "type": "x"}, {"name": "a", "type": "int", "default": "1"}, {})

    assert len(lint(schema)) == 4


def test_a_named_type_is_known_where_it_is_used_again() -> None:
    schema = fact(field(LINE), {"name": "b", "type": "Line"}, namespace="orders")
    full = fact(field(LINE), {"name": "b", "type": "orders.Line"}, namespace="orders")
    other = fact(field(LINE), {"name": "b", "type": "elsewhere.Line"}, namespace="orders")

    assert lint(schema) == []
    assert lint(full) == []
    assert [problem.place for problem in lint(other)] == ["b"]


def test_depth_and_number_of_fields_are_bounded() -> None:
    deep: Any = "int"
    for _ in range(40):
        deep = {"type": "array", "items": deep}
    wide = fact(*[{"name": f"f{n}", "type": "int"} for n in range(1_001)])

    assert [problem.found for problem in lint(fact(field(deep)))] == ["more than 16 levels"]
    assert [problem.found for problem in lint(wide)] == ["more than 1000 fields"]


PARTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from(["int", "string", "record", "enum", "Fact", "a", "null", "decimal", "bytes"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "name", "fields", "items", "values", "symbols", "default", "size", "scale",
             "precision", "logicalType", "namespace"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300)
@given(PARTS, PARTS)
def test_any_json_is_judged_and_never_raises(schema: Any, default: Any) -> None:
    problems = lint(fact({"name": "a", "type": schema, "default": default}))

    assert all(isinstance(problem, Problem) for problem in problems)


@settings(max_examples=300)
@given(PARTS, PARTS)
def test_what_is_sound_is_parsed_by_fastavro(schema: Any, default: Any) -> None:
    whole = fact({"name": "a", "type": schema, "default": default})
    if not lint(whole):
        fastavro.parse_schema(whole)
