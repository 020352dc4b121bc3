from __future__ import annotations

from typing import Any

import fastavro
import pytest

from mesh_stream.product.fields import PRIMITIVES, avro_field, avro_type
from mesh_stream.product.schema import in_words
from mesh_stream.product.sla import UnreadableError


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_each_word_is_a_type_that_avro_knows(name: str) -> None:
    fields = [avro_field("a", name, None), avro_field("b", f"{name}?", None)]

    fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})


@pytest.mark.parametrize(
    ("declared", "avro"),
    [
        ("string", "string"),
        ("timestamp", {"type": "long", "logicalType": "timestamp-millis"}),
        ("timestamp-micros", {"type": "long", "logicalType": "timestamp-micros"}),
        ("decimal", {"type": "bytes", "logicalType": "decimal"}),
        (
            "decimal(18,2)",
            {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
        ),
        (
            "decimal( 9 )",
            {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 0},
        ),
        ("string?", ["null", "string"]),
        ("array<string>", {"type": "array", "items": "string"}),
        ("map<int?>?", ["null", {"type": "map", "values": ["null", "int"]}]),
        ("array<map<int>>", {"type": "array", "items": {"type": "map", "values": "int"}}),
        (" uuid ", {"type": "string", "logicalType": "uuid"}),
    ],
)  # fmt: skip
def test_types(declared: str, avro: Any) -> None:
    assert avro_type(declared) == avro


@pytest.mark.parametrize(
    ("declared", "remedy"),
    [
        ("strng", "did you mean string?"),
        ("String", "did you mean string?"),
        ("varchar", "write string"),
        ("datetime", "write timestamp"),
        ("integer", "write int or long"),
        ("array", "write array<...>"),
        ("null", ""),
        ("string??", ""),
        ("?", ""),
        ("array<>", "array<...>"),
        ("array<strng>", "did you mean string?"),
        ("decimal(2,4)", ""),
        ("decimal(0,0)", ""),
        ("decimal(39,2)", ""),
        ("array<" * 9 + "int" + ">" * 9, "use a .avsc file"),
    ],
)
def test_an_unknown_type_names_the_known_ones(declared: str, remedy: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        avro_type(declared)

    assert remedy in caught.value.remedy


def test_types_are_not_shared_between_fields() -> None:
    assert avro_type("timestamp") is not avro_type("timestamp")


def test_a_nullable_field_defaults_to_null_and_a_description_becomes_doc() -> None:
    assert avro_field("note", "string?", "What the customer wrote") == {
        "name": "note",
        "type": ["null", "string"],
        "doc": "What the customer wrote",
        "default": None,
    }


@pytest.mark.parametrize(
    "declared",
    ["string", "decimal(18,2)?", "array<string>", "map<long?>", "timestamp", "date", "time"],
)
def test_in_words_writes_a_type_back_as_it_was_declared(declared: str) -> None:
    assert in_words(avro_type(declared)) == declared
