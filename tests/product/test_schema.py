from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema

from mesh_stream.product.declaration import ProductDocument
from mesh_stream.product.governance import Defaults
from mesh_stream.product.product import Contract
from mesh_stream.product.schema import (
    Source,
    avro_json,
    check_agreement,
    contract_of,
    from_field_list,
    from_file,
    reader_contract,
)
from mesh_stream.product.validation import validated
from mesh_stream.product.yaml_source import parse_yaml
from tests.product.seed import DECLARATION, REGISTRY_ENTRY, faults_of, the_fault_of

PATH = Path("data_product.yaml")
DEFAULTS = Defaults()
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}


def listed(*fields: str, name: str = "orders-completed") -> Source:
    """A field list as a source."""
    head, _, tail = DECLARATION.partition("  schema:\n")
    rest = tail[tail.index("  documentation") :]
    text = f"{head}  schema:\n" + "".join(f"    - {field}\n" for field in fields) + rest
    document = parse_yaml(PATH, text)
    declared = validated(document, ProductDocument).data_product.fields
    assert declared is not None
    return from_field_list(document, declared, name, "web-shop")


def avsc(tmp_path: Path, *fields: Any, **more: Any) -> Source:
    schema = {"type": "record", "name": "Fact", "fields": list(fields), **more}
    path = tmp_path / "schema" / "fact.avsc"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(schema, indent=1))
    return from_file(path, name="orders-completed", domain="orders")


def entry(tmp_path: Path, text: str = REGISTRY_ENTRY) -> Source:
    path = tmp_path / "entry.yaml"
    path.write_text(text)
    return from_file(path, name="orders-completed", domain="orders")


def contract(*sources: Source) -> Contract:
    check_agreement(sources, DEFAULTS)
    return contract_of(sources, DEFAULTS)


def test_a_field_list_becomes_a_record_called_after_the_product() -> None:
    made = contract(listed("order_id: string", "note: string?"))

    assert made.name == "web_shop.OrdersCompleted"
    assert made.schema == {
        "type": "record",
        "name": "OrdersCompleted",
        "namespace": "web_shop",
        "fields": [
            {"name": "order_id", "type": "string"},
            {"name": "note", "type": ["null", "string"], "default": None},
        ],
    }
    assert made.fields == {"order_id": "string", "note": ["null", "string"]}
    assert made.compatibility == "BACKWARD"


def test_the_seeds_registry_entry_is_read_as_written(tmp_path: Path) -> None:
    made = contract(entry(tmp_path))

    assert made.name == "OrderCompleted"
    assert list(made.fields) == ["order_id", "customer_id", "total_amount", "completed_at"]
    assert made.compatibility == "BACKWARD"


def test_the_seeds_field_list_and_registry_entry_agree(tmp_path: Path) -> None:
    both = listed(
        "order_id: string",
        "customer_id: string",
        "total_amount: decimal",
        "completed_at: timestamp",
    )

    assert contract(both, entry(tmp_path)).name == "OrderCompleted"


def test_a_decimal_without_digits_gets_the_governed_ones_and_a_note(tmp_path: Path) -> None:
    made = contract(entry(tmp_path))

    assert made.fields["total_amount"] == DECIMAL
    (note,) = made.notes
    assert note.startswith("total_amount is declared as a decimal without precision")
    assert "decimal(18,2)" in note


def test_other_digits_may_be_governed(tmp_path: Path) -> None:
    defaults = Defaults.model_validate({"decimal": {"precision": 30, "scale": 6}})

    made = contract_of([entry(tmp_path)], defaults)

    assert made.fields["total_amount"] == {**DECIMAL, "precision": 30, "scale": 6}


def test_a_decimal_with_digits_keeps_them_without_a_note(tmp_path: Path) -> None:
    made = contract(avsc(tmp_path, {"name": "a", "type": {**DECIMAL, "precision": 4}}))

    assert made.fields["a"]["precision"] == 4
    assert made.notes == ()


def test_decimals_are_completed_wherever_they_stand(tmp_path: Path) -> None:
    bare = {"type": "bytes", "logicalType": "decimal"}
    inner = {"type": "record", "name": "Line", "fields": [{"name": "price", "type": bare}]}
    made = contract(
        avsc(
            tmp_path,
            {"name": "a", "type": ["null", bare]},
            {"name": "b", "type": {"type": "array", "items": inner}},
            {"name": "c", "type": {"type": "map", "values": bare}},
        )
    )

    assert made.canonical.count('"precision":18') == 3
    assert {note.split(" ")[0] for note in made.notes} == {"a", "b.price", "c"}


def test_what_is_registered_is_what_was_declared_in_compact_json(tmp_path: Path) -> None:
    made = contract(entry(tmp_path))

    assert json.loads(made.canonical) == made.schema
    assert ": " not in made.canonical
    parse_schema(json.loads(made.canonical))


def test_a_description_becomes_doc() -> None:
    made = contract(listed("{name: order_id, type: string, description: The shop's number}"))

    assert made.schema["fields"][0]["doc"] == "The shop's number"


@pytest.mark.parametrize(
    ("fields", "line", "found"),
    [
        (["a: string", "b: varchar"], 10, "the type 'varchar' of b"),
        (["a: string", "b: int", "a: int"], 11, "the field a again"),
    ],
)
def test_a_faulty_field_list_names_the_line(fields: list[str], line: int, found: str) -> None:
    fault = the_fault_of(lambda: listed(*fields))

    assert (fault.path, fault.line, fault.found) == (PATH, line, found)


@pytest.mark.parametrize(
    ("fields", "line", "place", "found", "expected"),
    [
        (["a: string"], 8, "schema", "no field b", "a field b"),
        (["a: string", "b: int", "c: int"], 11, "c", "the field c", "no such field"),
        (["a: string", "b: string"], 10, "b", "string", "int"),
        (["a: string?", "b: int"], 9, "a", "string?", "string"),
        (["b: int", "a: string"], 8, "schema", "the order b, a", "a, b"),
    ],
)
def test_two_statements_that_differ_say_exactly_how(
    tmp_path: Path, fields: list[str], line: int, place: str, found: str, expected: str
) -> None:
    other = avsc(tmp_path, {"name": "a", "type": {"type": "string"}}, {"name": "b", "type": "int"})

    fault = the_fault_of(lambda: contract(listed(*fields), other))

    assert (fault.line, fault.field, fault.found) == (line, place, found)
    assert fault.expected.startswith(expected)
    assert "schema/fact.avsc" in fault.expected + fault.remedy


def test_statements_differ_in_the_digits_of_a_decimal(tmp_path: Path) -> None:
    other = avsc(tmp_path, {"name": "a", "type": {**DECIMAL, "scale": 4}})

    fault = the_fault_of(lambda: contract(listed("a: decimal"), other))

    assert fault.found == "decimal(18,2)"
    assert fault.expected.startswith("decimal(18,4)")


def test_docs_defaults_and_aliases_are_no_disagreement(tmp_path: Path) -> None:
    other = avsc(tmp_path, {"name": "a", "type": "string", "default": "x", "doc": "d"})

    assert contract(listed("a: string"), other).schema["fields"][0]["default"] == "x"


def test_two_levels_of_compatibility_are_one_too_many(tmp_path: Path) -> None:
    one = entry(tmp_path)
    two = entry(tmp_path, REGISTRY_ENTRY.replace("BACKWARD", "FULL"))

    fault = the_fault_of(lambda: contract(one, two))

    assert fault.found == "the compatibilities BACKWARD and FULL"


@pytest.mark.parametrize(
    ("before", "after", "line", "found"),
    [
        ("orders-completed, d", "orders-gone, d", 3, "'orders-gone'"),
        ("domain: orders", "domain: sales", 3, "'sales'"),
        ("type: avro", "type: protobuf", 5, "'protobuf'"),
        ("BACKWARD", "BACKWARDS", 6, "'BACKWARDS'"),
        ("schema/v1", "schema/v2", 1, "'schema/v2'"),
        ("kind: Schema", "kind: Scheme", 2, "'Scheme'"),
        ("type: avro", "type: avro\n  foo: 1", 6, "the unknown key 'foo'"),
        ('"total_amount", "type"', '"total_amount", "typo"', 11, "a field without type"),
        ('"type": "string"}', '"type": "strng"}', 9, "the type 'strng'"),
        ('"long", "logicalType"', '"string", "logicalType"', 12, "timestamp-millis on string"),
        ('"name": "customer_id",', '"name": "customer_id" ', 10, "broken JSON"),
        ('"name": "customer_id"', '"name": "a", "name": "b"', 8, "the key 'name' twice"),
        ('"type": "record"', '"type": NaN', 8, "NaN"),
    ],
)
def test_a_faulty_registry_entry_names_the_line(
    tmp_path: Path, before: str, after: str, line: int, found: str
) -> None:
    assert before in REGISTRY_ENTRY

    faults = faults_of(lambda: contract(entry(tmp_path, REGISTRY_ENTRY.replace(before, after))))

    assert any((fault.line, found) == (line, fault.found[: len(found)]) for fault in faults), faults


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[]", "JSON that is no object"),
        ("", "broken JSON"),
        ("{", "broken JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": Infinity}', "Infinity"),
        ("[" * 100_000, "JSON nested too deep"),
        ('{"a": ' + "9" * 5000 + "}", "JSON nested too deep or numbers too long"),
    ],
    ids=lambda text: text[:12],
)
def test_json_is_read_strictly(text: str, found: str) -> None:
    assert found in the_fault_of(lambda: avro_json(PATH, 1, "", text)).found


def test_the_line_of_broken_json_counts_from_where_the_schema_begins() -> None:
    assert the_fault_of(lambda: avro_json(PATH, 8, "", '{\n"a": 1,\n}')).line == 10


def test_a_reader_schema_is_read_from_its_own_file(tmp_path: Path) -> None:
    avsc(tmp_path, {"name": "a", "type": {"type": "bytes", "logicalType": "decimal"}})

    made = reader_contract(tmp_path / "schema" / "fact.avsc", DEFAULTS)

    assert made.fields == {"a": DECIMAL}
