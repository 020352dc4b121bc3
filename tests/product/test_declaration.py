from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mesh_stream.product.declaration import ProductDeclaration, ProductDocument, json_schema
from mesh_stream.product.product import Action, Dimension, Format
from mesh_stream.product.validation import validated
from mesh_stream.product.yaml_source import parse_yaml
from tests.product.seed import DECLARATION, declaration, faults_of, the_fault_of

PATH = Path("data_product.yaml")

EVERYTHING = declaration(
    more="""
domain: orders
version: 2.1.0
status: deprecated
tags: [sales, completed]
support:
  - {channel: "#orders-data", url: https://chat.company.com/orders-data}
inputs:
  - raw.orders
  - {topic: raw.payments, format: avro, event_time: paid_at, schema: schema/inputs/payment.avsc}
  - {product: customers, transformation: src/transformations/customer.py}
output:
  key: order_id
  event_time: completed_at
  partitions: 6
  retention: 90_days
  settings: {min.insync.replicas: 2, unclean.leader.election.enable: false}
transformation: src/transformations/completed.py:complete
quality:
  - src/checks/money.py
  - {rule: not_null, column: order_id, name: has_order, action: fail, dimension: completeness}
  - {rule: "null", column: note}
  - {rule: between, column: total_amount, min: 0, max: 99.5, strict_min: true}
  - {rule: in_set, column: currency, values: [EUR, USD, 1, true]}
  - {rule: not_in_set, column: currency, values: [XXX]}
  - {rule: match_regex, column: order_id, regex: "ord_[a-z0-9]+"}
  - {rule: not_match_regex, column: order_id, regex: test}
  - {rule: length_between, column: order_id, min: 5, max: 64, action: observe}
  - {rule: of_type, column: order_id, type: string}
limits: {record_bytes: 500000, input_bytes: 1000, fanout: 10}
"""
)


def read(text: str) -> ProductDeclaration:
    return validated(parse_yaml(PATH, text), ProductDocument).data_product


def test_the_seed_is_read_as_written() -> None:
    product = read(DECLARATION)

    assert product.name == "orders-completed"
    assert product.owner == "orders-team"
    assert product.description == "Completed order facts for analytics"
    assert product.sla.freshness == 900
    assert product.sla.availability == Decimal("0.999")
    assert product.fields is not None
    assert [(field.name, field.type) for field in product.fields] == [
        ("order_id", "string"),
        ("customer_id", "string"),
        ("total_amount", "decimal"),
        ("completed_at", "timestamp"),
    ]
    assert product.documentation == "https://data.company.com/products/orders-completed"
    assert (product.version, product.status) == ("1.0.0", "active")


def test_everything_that_may_be_said_is_read() -> None:
    product = read(EVERYTHING)

    assert (product.domain, product.version, product.status) == ("orders", "2.1.0", "deprecated")
    assert product.inputs is not None
    raw, avro, other = product.inputs
    assert (raw.topic, raw.format) == ("raw.orders", None)
    assert (avro.format, avro.schema_file) == (Format.AVRO, "schema/inputs/payment.avsc")
    assert (other.product, other.topic) == ("customers", None)
    assert product.output.settings == {
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }
    assert product.output.retention == 7_776_000
    file, named, *_ = product.quality
    assert getattr(file, "file", None) == "src/checks/money.py"
    assert (getattr(named, "action", None), getattr(named, "dimension", None)) == (
        Action.FAIL,
        Dimension.COMPLETENESS,
    )
    assert len(product.quality) == 10


def test_a_declaration_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(DECLARATION).name = "other"


@pytest.mark.parametrize(
    "name", ["ab", "orders-completed", "a1", "a" + "b" * 48], ids=lambda name: name[:8]
)
def test_a_product_id(name: str) -> None:
    assert read(declaration(name)).name == name


@pytest.mark.parametrize(
    "name",
    ["a", "Orders", "1a", "-a", "a_b", "a.b", "a/b", "..", "a" + "b" * 49, "'a\\n'", "é-a", "a b"],
)
def test_what_is_no_product_id(name: str) -> None:
    fault = the_fault_of(lambda: read(declaration(name)))

    assert (fault.line, fault.field) == (2, "data_product.name")
    assert "a lower-case id" in fault.expected


def test_an_id_holds_no_dot_so_none_can_be_a_prefix_of_another_plus_a_dot() -> None:
    schema = json_schema()["$defs"]["ProductDeclaration"]["properties"]["name"]

    assert not re.search(schema["pattern"], "orders.completed")


@pytest.mark.parametrize(
    ("more", "field", "found", "help_text"),
    [
        ("verison: 1.0.0", "verison", "the unknown key 'verison'", "did you mean version?"),
        ("input: raw.orders", "input", "the unknown key 'input'", "did you mean inputs?"),
        ("version: 1.1", "version", "1.1", "write version: 1.1.0"),
        ("version: 1", "version", "1", "write version: 1.0.0"),
        ("version: v1.0.0", "version", "'v1.0.0'", "1.0.0"),
        ("version: 01.0.0", "version", "'01.0.0'", "1.0.0"),
        ("status: activ", "status", "'activ'", "did you mean active?"),
        ("tags: sales", "tags", "'sales'", "a list"),
        ("tags: [1]", "tags[0]", "1", "put it in quotes"),
        ("domain: no-", "domain", None, None),
        ("transformation: 7", "transformation", "7", "put it in quotes"),
        ("transformation: ' '", "transformation", "' '", "not blank"),
        ("inputs: []", "inputs", "a list", "at least one entry"),
        ("inputs: raw.orders", "inputs", "'raw.orders'", "a list"),
        ("inputs: [{topic: a, product: ab}]", "inputs[0]", "both topic and product", "exactly one"),
        ("inputs: [{format: json}]", "inputs[0]", "neither topic nor product", "exactly one"),
        ("inputs: [__consumer_offsets]", "inputs[0]", "'__consumer_offsets'", "broker's own"),
        ("inputs: [raw orders]", "inputs[0]", "'raw orders'", "a topic name"),
        ("inputs: ['..']", "inputs[0]", "'..'", "a topic name"),
        ("inputs: [{topic: a, format: xml}]", "inputs[0].format", "'xml'", "json, avro"),
        ("output: {partitions: 0}", "output.partitions", "0", "greater than or equal to 1"),
        ("output: {partitions: '6'}", "output.partitions", "'6'", "a whole number"),
        ("output: {partitions: 1_000}", "output.partitions", "'1_000'", "a whole number"),
        ("output: {partitions: 6.0}", "output.partitions", "6.0", "a whole number"),
        ("output: {partitions: true}", "output.partitions", "true", "a whole number"),
        ("output: {retention: 90}", "output.retention", "90", "90_minutes"),
        ("output: {key: a-b}", "output.key", "'a-b'", "a field name"),
        ("output: {settings: {retention.msec: 1}}", "output.settings",
         "the topic setting 'retention.msec'", "did you mean retention.ms?"),
        ("output: {settings: {retention.ms: [1]}}", "output.settings", "a mapping", "retention.ms"),
        ("limits: {record_bytes: 1}", "limits.record_bytes", "1", "1000"),
        ("quality: [{rule: betwen, column: a}]", "quality[0].rule", "'betwen'", "mean between?"),
        ("quality: [{rule: unique, column: a}]", "quality[0].rule", "'unique'", "not_null"),
        ("quality: [{rule: between, column: a, mni: 1}]", "quality[0].mni", "the unknown key 'mni'",
         "did you mean min?"),
        ("quality: [{rule: between}]", "quality[0].column", "nothing", "column: order_id"),
        ("quality: [{rule: in_set, column: a, values: [[1]]}]", "quality[0].values[0]", "a list",
         "a text, number or boolean"),
        ("quality: [{rule: in_set, column: a, values: [~]}]", "quality[0].values[0]", "nothing",
         "a text, number or boolean"),
        ("quality: [{rule: not_null, column: a, action: drop}]", "quality[0].action", "'drop'",
         "observe, warn, dlq, fail"),
        ("quality: [{rule: not_null, column: a, dimension: complete}]", "quality[0].dimension",
         "'complete'", "did you mean completeness?"),
        ("quality: [{column: a}]", "quality[0]", "a mapping", "the key rule"),
        ("quality: [7]", "quality[0]", "7", "the path of a file"),
        ("support: [{url: x}]", "support[0].channel", "nothing", "channel: #orders-data"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_form_says_what_would_be(
    more: str, field: str, found: str | None, help_text: str | None
) -> None:
    if found is None:
        assert read(declaration(more=more)).domain == "no-"
        return
    assert help_text is not None
    fault = the_fault_of(lambda: read(declaration(more=more)))

    assert fault.line == len(DECLARATION.splitlines()) + 1
    assert fault.field == f"data_product.{field}"
    assert fault.found == found
    assert help_text in f"{fault.expected} {fault.remedy}"


def test_a_key_left_empty_is_left_out() -> None:
    assert read(declaration(more="domain:")).domain is None


@pytest.mark.parametrize("key", ["name", "owner", "description", "sla"])
def test_what_is_obligatory_says_what_it_is_for(key: str) -> None:
    lines = DECLARATION.splitlines(keepends=True)
    without = "".join(line for line in lines if not line.startswith(f"  {key}:"))
    without = (
        without.replace("    freshness: 15_minutes\n    availability: 99.9%\n", "")
        if (key == "sla")
        else without
    )

    fault = the_fault_of(lambda: read(without))

    assert (fault.line, fault.field, fault.found) == (1, f"data_product.{key}", "nothing")
    assert fault.expected.startswith(f"{key}: ")


def test_every_fault_of_a_document_is_found_at_once() -> None:
    text = declaration(more="version: 1\nstatus: x\nfoo: 1\noutput: {partitions: -1}").replace(
        "99.9%", "101%"
    )

    assert [fault.line for fault in faults_of(lambda: read(text))] == [7, 14, 15, 16, 17]


@pytest.mark.parametrize("text", ["[]", "3", "text", "data_product: 3", "data_product: [a]", "{}"])
def test_a_document_of_another_shape(text: str) -> None:
    assert faults_of(lambda: read(text))


# --- the JSON Schema -----------------------------------------------------------------------------


def check(text: str) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(parse_yaml(PATH, text).data)


@pytest.mark.parametrize("text", [DECLARATION, EVERYTHING], ids=["seed", "everything"])
def test_the_json_schema_accepts_what_loads(text: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())

    check(text)


@pytest.mark.parametrize(
    "more",
    ["verison: 1", "version: 1.1", "status: x", "inputs: []", "inputs: [3]", "quality: [{rule: x}]",
     "output: {partitions: 0}", "output: {retention: 90}", "inputs: [__offsets]",
     "quality: [{rule: between, column: a, mni: 1}]", "limits: {fanout: 0}"],
)  # fmt: skip
def test_the_json_schema_refuses_what_does_not_load(more: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(declaration(more=more))
    assert faults_of(lambda: read(declaration(more=more)))


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in {"": schema, **schema["$defs"]}.items():
        for key, value in part.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_every_field_of_the_json_schema_is_described() -> None:
    assert [name for name, value in properties(json_schema()) if not value.get("description")] == []


def test_every_field_but_the_document_has_an_example_that_loads() -> None:
    for name, value in properties(json_schema()):
        if name == ".data_product":
            continue
        assert value.get("examples"), name
        whole = {"$defs": json_schema()["$defs"], **value}
        for example in value["examples"]:
            jsonschema.Draft202012Validator(whole).validate(json.loads(json.dumps(example)))
