"""Contracts that may follow each other, checked against fastavro's own resolution."""

from __future__ import annotations

import copy
import io
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_stream.product.compatibility import breaks, can_read

LEVELS = ("NONE", "BACKWARD", "FORWARD", "FULL")


def record(*fields: tuple[Any, ...], name: str = "Fact") -> dict[str, Any]:
    """A record schema of (name, type) or (name, type, default)."""
    keys = ("name", "type", "default")
    return {
        "type": "record",
        "name": name,
        "fields": [dict(zip(keys, field, strict=False)) for field in fields],
    }


def decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def enum(*symbols: str, default: str | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "enum", "name": "State", "symbols": list(symbols)}
    return schema if default is None else {**schema, "default": default}


BASE = record(("id", "string"), ("amount", decimal(18, 2)))


@pytest.mark.parametrize("level", LEVELS)
def test_a_contract_may_follow_itself(level: str) -> None:
    assert breaks(BASE, [BASE], level) == ()


def test_the_first_contract_breaks_nothing() -> None:
    assert breaks(BASE, [], "FULL_TRANSITIVE") == ()


@pytest.mark.parametrize(
    ("old", "new", "backward", "forward"),
    [
        pytest.param(("a", "int"), ("a", "long"), True, False, id="widened"),
        pytest.param(("a", "long"), ("a", "int"), False, True, id="narrowed"),
        pytest.param(("a", "int"), ("a", "double"), True, False, id="int-to-double"),
        pytest.param(("a", "int"), ("a", "string"), False, False, id="other-type"),
        pytest.param(("a", "string"), ("a", "bytes"), True, False, id="string-to-bytes"),
        pytest.param(("a", "int"), ("a", ["null", "int"]), True, False, id="made-nullable"),
        pytest.param(("a", ["null", "int"]), ("a", "int"), False, True, id="no-longer-nullable"),
        pytest.param(("a", decimal(18, 2)), ("a", decimal(18, 4)), False, False, id="other-scale"),
        pytest.param(("a", decimal(18, 2)), ("a", "bytes"), False, False, id="decimal-to-bytes"),
        pytest.param(
            ("a", {"type": "long", "logicalType": "timestamp-millis"}),
            ("a", {"type": "long", "logicalType": "timestamp-micros"}),
            False,
            False,
            id="millis-to-micros",
        ),
        pytest.param(
            ("a", enum("NEW", "PAID")), ("a", enum("NEW")), False, True, id="symbol-removed"
        ),
        pytest.param(
            ("a", enum("NEW")), ("a", enum("NEW", "PAID")), True, False, id="symbol-added"
        ),
        pytest.param(
            ("a", enum("NEW", "PAID")),
            ("a", enum("NEW", default="NEW")),
            True,
            True,
            id="symbol-removed-with-default",
        ),
        pytest.param(
            ("a", {"type": "array", "items": "int"}),
            ("a", {"type": "array", "items": "long"}),
            True,
            False,
            id="items-widened",
        ),
        pytest.param(
            ("a", {"type": "map", "values": "long"}),
            ("a", {"type": "map", "values": "int"}),
            False,
            True,
            id="values-narrowed",
        ),
        pytest.param(
            ("a", {"type": "fixed", "name": "F", "size": 4}),
            ("a", {"type": "fixed", "name": "F", "size": 8}),
            False,
            False,
            id="other-size",
        ),
        pytest.param(
            ("a", record(("b", "int"), name="Inner")),
            ("a", record(("b", "int"), ("c", "int"), name="Inner")),
            False,
            True,
            id="nested-field-added",
        ),
        pytest.param(
            ("a", record(("b", "int"), name="Inner")),
            ("a", record(("b", "int"), name="Other")),
            False,
            False,
            id="nested-record-renamed",
        ),
    ],
)
def test_a_changed_type(
    old: tuple[Any, ...], new: tuple[Any, ...], backward: bool, forward: bool
) -> None:
    before, after = record(old), record(new)

    assert (breaks(after, [before], "BACKWARD") == ()) is backward
    assert (breaks(after, [before], "FORWARD") == ()) is forward
    assert (breaks(after, [before], "FULL") == ()) is (backward and forward)
    assert breaks(after, [before], "NONE") == ()


def test_a_field_without_default_breaks_backward_and_says_the_way_out() -> None:
    after = record(("id", "string"), ("amount", decimal(18, 2)), ("currency", "string"))

    (found,) = breaks(after, [BASE], "BACKWARD")

    assert found.field == "currency"
    assert str(found) == (
        "currency: added without a default: the new contract cannot read facts that were written "
        "with the old one; give it a default, or make it nullable with the default null"
    )


def test_a_field_with_default_may_be_added() -> None:
    after = record(*[(f["name"], f["type"]) for f in BASE["fields"]], ("currency", "string", "EUR"))

    assert breaks(after, [BASE], "FULL") == ()


def test_a_removed_field_breaks_forward_only_and_is_named() -> None:
    after = record(("id", "string"))

    assert breaks(after, [BASE], "BACKWARD") == ()
    (found,) = breaks(after, [BASE], "FORWARD")
    assert (found.field, found.change) == (
        "amount",
        "removed, though the old contract has no default for it",
    )


def test_a_changed_type_is_told_in_the_words_of_a_field_list() -> None:
    after = record(("id", "string"), ("amount", decimal(20, 4)))

    (found,) = breaks(after, [BASE], "BACKWARD")

    assert found.change == "changed from decimal(18,2) to decimal(20,4)"
    assert "major version" in found.remedy


def test_a_nested_field_is_named_with_its_path() -> None:
    old = record(("line", record(("sku", "string"), name="Line")))
    new = record(("line", record(("sku", "string"), ("qty", "int"), name="Line")))

    (found,) = breaks(new, [old], "BACKWARD")

    assert found.field == "line.qty"


def test_only_the_last_contract_counts_unless_the_level_is_transitive() -> None:
    # The field came with a default, which was then taken away: no step breaks, the sum does.
    first = record(("id", "string"))
    second = record(("id", "string"), ("region", "string", "EU"))
    third = record(("id", "string"), ("region", "string"))

    assert breaks(second, [first], "BACKWARD_TRANSITIVE") == ()
    assert breaks(third, [first, second], "BACKWARD") == ()
    (found,) = breaks(third, [first, second], "BACKWARD_TRANSITIVE")
    assert found.field == "region"


def test_an_alias_lets_a_field_be_renamed() -> None:
    new = {
        "type": "record",
        "name": "Fact",
        "fields": [{"name": "order_id", "type": "string", "aliases": ["id"]}],
    }

    assert breaks(new, [record(("id", "string"))], "BACKWARD") == ()


def test_a_renamed_record_is_a_break_and_a_moved_one_is_not() -> None:
    renamed = {**BASE, "name": "Other"}
    moved = {**BASE, "namespace": "orders"}

    (found,) = breaks(renamed, [BASE], "BACKWARD")
    assert found.change == "the record Fact is now called Other"
    assert breaks(moved, [BASE], "FULL") == ()


def test_a_named_type_is_followed_where_it_is_used_again() -> None:
    first = record(("a", enum("X", "Y")), ("b", "State"))
    second = record(("a", enum("X")), ("b", "State"))

    assert {found.field for found in breaks(second, [first], "BACKWARD")} == {"a", "b"}


# --- whatever is called readable, fastavro reads -------------------------------------------------

NAMES = ("a", "b", "c", "d")
LEAVES: list[Any] = [
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    "boolean",
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"},
    decimal(9, 2),
    decimal(9, 3),
]


@st.composite
def types(draw: st.DrawFn, depth: int = 2) -> Any:
    """A type: a leaf, an enum, a fixed, a container, a nested record or a nullable of these."""
    kind = draw(
        st.sampled_from(("leaf", "leaf", "leaf", "enum", "fixed", "array", "map", "record"))
    )
    schema: Any
    if kind == "leaf" or depth == 0:
        schema = draw(st.sampled_from(LEAVES))
    elif kind == "enum":
        symbols = draw(st.lists(st.sampled_from("XYZ"), min_size=1, unique=True))
        default = draw(st.sampled_from([None, *symbols]))
        schema = {**enum(*symbols, default=default), "name": "E"}
    elif kind == "fixed":
        schema = {"type": "fixed", "name": "F", "size": draw(st.integers(1, 2))}
    elif kind == "array":
        schema = {"type": "array", "items": draw(types(depth=depth - 1))}
    elif kind == "map":
        schema = {"type": "map", "values": draw(types(depth=depth - 1))}
    else:
        schema = draw(records(depth=depth - 1))
    if draw(st.booleans()):
        return ["null", schema]
    # Beside a logical type, fastavro tries to read a text as a date before it tries the string.
    if draw(st.integers(0, 5)) == 0 and schema != "string" and "logicalType" not in schema:
        return [schema, "string"]
    return schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, dict) else schema)


@st.composite
def records(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    fields = []
    for name in names:
        schema = draw(types(depth=depth))
        field = {"name": name, "type": schema}
        if isinstance(schema, list) and schema[0] == "null" and draw(st.booleans()):
            field["default"] = None
        elif schema in ("int", "long") and draw(st.booleans()):
            field["default"] = 7
        fields.append(field)
    return {"type": "record", "name": "R", "fields": fields}


@st.composite
def evolved(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema some edits away: fields dropped, added, retyped, made nullable, reordered."""
    new = copy.deepcopy(schema)
    other = draw(records())
    for field in list(new["fields"]):
        edit = draw(st.sampled_from(("keep", "keep", "keep", "drop", "retype", "null", "widen")))
        if edit == "drop" and len(new["fields"]) > 1:
            new["fields"].remove(field)
        elif edit == "retype":
            field["type"] = draw(types())
            field.pop("default", None)
        elif edit == "null" and not isinstance(field["type"], list):
            field["type"] = ["null", field["type"]]
            field["default"] = None
        elif edit == "widen" and field["type"] == "int":
            field["type"] = draw(st.sampled_from(("long", "float", "double")))
            field.pop("default", None)
    taken = {field["name"] for field in new["fields"]}
    new["fields"] += [f for f in other["fields"] if f["name"] not in taken and draw(st.booleans())]
    if draw(st.booleans()):
        new["fields"].reverse()
    return new


def unambiguous(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with each named type under a name of its own, as Avro asks for."""
    renamed = copy.deepcopy(schema)
    seen: set[str] = set()

    def walk(part: Any, path: str) -> None:
        if isinstance(part, list):
            for branch in part:
                walk(branch, path)
        elif isinstance(part, dict):
            if part.get("type") in ("record", "enum", "fixed"):
                part["name"] = f"{part['name']}{path}"
                assert part["name"] not in seen
                seen.add(part["name"])
            for key, below in (("items", "I"), ("values", "V")):
                if key in part:
                    walk(part[key], path + below)
            for field in part.get("fields", ()):
                walk(field["type"], path + field["name"])

    walk(renamed, "")
    return renamed


@st.composite
def values(draw: st.DrawFn, schema: Any) -> Any:
    """A value of a type, in the form that needs no logical conversion."""
    if isinstance(schema, list):
        return draw(values(draw(st.sampled_from(schema))))
    kind = _kind(schema)
    if kind == "record":
        return {f["name"]: draw(values(f["type"])) for f in schema["fields"]}
    if kind == "array":
        return [draw(values(schema["items"])) for _ in range(draw(st.integers(0, 2)))]
    if kind == "map":
        return {f"k{n}": draw(values(schema["values"])) for n in range(draw(st.integers(0, 2)))}
    if kind == "enum":
        return draw(st.sampled_from(schema["symbols"]))
    if kind == "fixed":
        return draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
    if isinstance(schema, dict):
        # One byte of a decimal, a day, a moment: each is in range for its logical type.
        return b"\x07" if kind == "bytes" else draw(st.integers(0, 10_000))
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
        "double": st.floats(allow_nan=False, allow_infinity=False),
        "string": st.text(max_size=5),
        "bytes": st.binary(max_size=5),
    }
    return draw(simple[kind])


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_what_is_called_readable_is_read_by_fastavro(data: st.DataObject) -> None:
    base = data.draw(records())
    old, new = unambiguous(base), unambiguous(data.draw(evolved(base)))
    if not can_read(new, old):
        return
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, old, data.draw(values(old)))
    size = buffer.tell()
    buffer.seek(0)

    fastavro.schemaless_reader(buffer, old, new)

    assert buffer.tell() == size


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_full_is_backward_and_forward(data: st.DataObject) -> None:
    base = data.draw(records())
    old, new = unambiguous(base), unambiguous(data.draw(evolved(base)))

    backward, forward = breaks(new, [old], "BACKWARD"), breaks(new, [old], "FORWARD")

    assert set(breaks(new, [old], "FULL")) == {*backward, *forward}
    assert (backward == ()) == can_read(new, old)
    assert (forward == ()) == can_read(old, new)
