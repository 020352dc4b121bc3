from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh_stream.errors import Fault
from mesh_stream.product.loader import load_mesh, load_product
from mesh_stream.product.product import Format, Input
from tests.product.seed import FILES, declaration, faults_of, the_fault_of, write

TYPES = """\
import dataclasses, typing
import msgspec, pydantic
class Struct(msgspec.Struct, rename="camel"): paid_at: str
@dataclasses.dataclass
class Data: paid_at: str
class Typed(typing.TypedDict): paid_at: str
class Model(pydantic.BaseModel): paid_at: str = pydantic.Field(alias="when")
def struct(p: Struct): ...
def data(p: Data): ...
def typed(p: Typed): ...
def model(p: Model): ...
def plain(p: dict): ...
"""
PAYMENT = {"type": "record", "name": "Payment", "fields": [{"name": "paid_at", "type": "long"}]}


def inputs(root: Path, more: str = "", **files: str) -> tuple[Input, ...]:
    folder = write(
        root,
        "orders/orders-completed",
        {**FILES, "data_product.yaml": declaration(more=more), **files},
    )
    return load_product(folder).inputs


def fault(root: Path, more: str, **files: str) -> Fault:
    return the_fault_of(lambda: inputs(root, more, **files))


def test_the_input_left_out_is_the_raw_topic_of_the_domain_as_json(tmp_path: Path) -> None:
    (port,) = inputs(tmp_path)

    assert port == Input("raw.orders", Format.JSON, None, None, None, None)


def test_an_input_may_be_a_topics_name_alone(tmp_path: Path) -> None:
    one, two = inputs(tmp_path, "inputs: [raw.orders, raw.Legacy_Orders]")

    assert (one.topic, two.topic) == ("raw.orders", "raw.Legacy_Orders")
    assert two.format is Format.JSON


def test_each_input_may_have_a_transformation_of_its_own(tmp_path: Path) -> None:
    code = "def one(a): ...\ndef two(a): ...\n"
    more = """
transformation: src/transformations/t.py:one
inputs:
  - raw.orders
  - {topic: raw.payments, transformation: "src/transformations/t.py:two"}
"""
    one, two = inputs(tmp_path, more, **{"src/transformations/t.py": code})

    assert one.transformation is not None
    assert two.transformation is not None
    assert one.transformation.origin == "src/transformations/t.py:one"
    assert two.transformation.origin == "src/transformations/t.py:two"
    assert one.transformation.function.__globals__ is two.transformation.function.__globals__


def test_an_avro_input_may_name_the_schema_it_is_read_as(tmp_path: Path) -> None:
    files = {"schema/inputs/payment.avsc": json.dumps(PAYMENT)}
    more = "inputs: [{topic: raw.p, format: avro, schema: schema/inputs/payment.avsc}]"

    (port,) = inputs(tmp_path, more, **files)

    assert port.format is Format.AVRO
    assert port.reader is not None
    assert port.reader.fields == {"paid_at": "long"}
    (without,) = inputs(tmp_path, "inputs: [{topic: raw.p, format: avro}]", **files)
    assert without.reader is None


def test_a_products_facts_are_read_as_avro_with_its_contract(tmp_path: Path) -> None:
    write(tmp_path, "shop/customers", {"data_product.yaml": declaration("customers")})

    (port,) = inputs(tmp_path, "inputs: [{product: customers}]")

    assert (port.topic, port.format, port.product) == (
        "shop.customers.v1",
        Format.AVRO,
        "customers",
    )
    assert port.event_time == "completed_at"
    assert port.reader is not None
    assert port.reader.name == "shop.Customers"


@pytest.mark.parametrize(
    ("function", "name"),
    [("struct", "paidAt"), ("data", "paid_at"), ("typed", "paid_at"), ("model", "when")],
)
def test_an_event_time_is_a_field_of_the_input_as_it_is_written(
    tmp_path: Path, function: str, name: str
) -> None:
    said = f"transformation: 'src/transformations/t.py:{function}'"
    files = {"src/transformations/t.py": TYPES}

    (port,) = inputs(tmp_path, f"inputs: [{{topic: raw.p, event_time: {name}, {said}}}]", **files)

    assert port.event_time == name
    wrong = fault(tmp_path, f"inputs: [{{topic: raw.p, event_time: paid, {said}}}]", **files)
    assert wrong.field == "data_product.inputs[0].event_time"
    assert name in wrong.expected


def test_an_event_time_of_untyped_records_may_be_any(tmp_path: Path) -> None:
    said = "transformation: 'src/transformations/t.py:plain'"

    (port,) = inputs(
        tmp_path,
        f"inputs: [{{topic: raw.p, event_time: anything, {said}}}]",
        **{"src/transformations/t.py": TYPES},
    )

    assert port.event_time == "anything"


def test_without_a_transformation_the_event_time_is_a_field_of_the_contract(
    tmp_path: Path,
) -> None:
    assert inputs(tmp_path, "inputs: [{topic: raw.p, event_time: completed_at}]")
    assert fault(tmp_path, "inputs: [{topic: raw.p, event_time: paid}]").found == "'paid'"


@pytest.mark.parametrize(
    ("said", "field", "found", "help_text"),
    [
        ("[raw.a, {topic: raw.a}]", "[1]", "raw.a again", "each input once"),
        ("[orders.orders-completed.v1]", "[0].topic", "the product's own output", "another"),
        ("[mesh.status]", "[0].topic", "'mesh.status'", "not the mesh's own"),
        ("[{product: nope}]", "[0].product", "'nope'", "there is no other"),
        ("[{product: orders-completed}]", "[0].product", "a circle", "do not read themselves"),
        ("[{topic: raw.a, schema: x.avsc}]", "[0].schema", "a schema for JSON", "format: avro"),
        ("[{topic: raw.a, format: avro, schema: x.avsc}]", "[0].schema", "'x.avsc'", "exists"),
        ("[{topic: raw.a, format: avro, schema: x.json}]", "[0].schema", "'x.json'", ".avsc"),
        ("[{topic: raw.a, transformation: x.py}]", "[0].transformation", "'x.py'", "exists"),
        ("[{topic: raw.a, transformation: x.txt}]", "[0].transformation", "'x.txt'", ".py"),
        ("[{topic: raw.a, transformation: ../x.py}]", "[0].transformation", "'../x.py'", "inside"),
        ("[{topic: raw.a, transformation: /x.py}]", "[0].transformation", "'/x.py'", "inside"),
    ],
)
def test_an_input_that_cannot_be_read(
    tmp_path: Path, said: str, field: str, found: str, help_text: str
) -> None:
    fault_found = fault(tmp_path, f"inputs: {said}")

    assert fault_found.field == f"data_product.inputs{field}"
    assert found in fault_found.found
    assert help_text in f"{fault_found.expected} {fault_found.remedy}"


@pytest.mark.parametrize(
    ("said", "field"), [("format: json", "format"), ("schema: x.avsc", "schema")]
)
def test_a_product_is_read_as_it_is_published(tmp_path: Path, said: str, field: str) -> None:
    write(tmp_path, "shop/customers", {"data_product.yaml": declaration("customers")})

    found = fault(tmp_path, f"inputs: [{{product: customers, {said}}}]")

    assert found.field == f"data_product.inputs[0].{field}"


def test_a_misspelt_product_suggests_the_right_one(tmp_path: Path) -> None:
    write(tmp_path, "shop/customers", {"data_product.yaml": declaration("customers")})

    found = fault(tmp_path, "inputs: [{product: custmers}]")

    assert found.expected == "a product of this mesh (customers)"
    assert found.remedy == "did you mean customers?"


def test_the_faults_of_a_product_are_those_of_its_readers(tmp_path: Path) -> None:
    bad = declaration("customers", more="foo: 1")
    write(tmp_path, "shop/customers", {"data_product.yaml": bad})

    found = fault(tmp_path, "inputs: [{product: customers}]")

    assert found.field == "data_product.foo"
    assert found.path.parent.name == "customers"


def test_a_circle_of_products_is_a_fault_of_each(tmp_path: Path) -> None:
    for name, reads in (("aa", "bb"), ("bb", "cc"), ("cc", "aa")):
        text = declaration(name, more=f"inputs: [{{product: {reads}}}]")
        write(tmp_path, f"orders/{name}", {"data_product.yaml": text})

    found = [fault.found for fault in faults_of(lambda: load_mesh(tmp_path))]

    assert found == [
        "a circle: aa reads bb reads cc reads aa",
        "a circle: bb reads cc reads aa reads bb",
        "a circle: cc reads aa reads bb reads cc",
    ]


def test_who_reads_a_circle_without_being_in_it_is_not_at_fault(tmp_path: Path) -> None:
    for name, reads in (("aa", "bb"), ("bb", "aa"), ("cc", "aa")):
        text = declaration(name, more=f"inputs: [{{product: {reads}}}]")
        write(tmp_path, f"orders/{name}", {"data_product.yaml": text})

    found = {fault.path.parent.name for fault in faults_of(lambda: load_mesh(tmp_path))}

    assert found == {"aa", "bb"}


def test_a_products_topic_may_not_be_read_as_if_it_were_raw(tmp_path: Path) -> None:
    write(tmp_path, "shop/customers", {"data_product.yaml": declaration("customers")})
    more = "inputs: [shop.customers.v1]"
    text = declaration(more=more)
    write(tmp_path, "orders/orders-completed", {**FILES, "data_product.yaml": text})

    found = the_fault_of(lambda: load_mesh(tmp_path))

    assert found.found == "the topic shop.customers.v1 of the product customers"
    assert found.remedy == "write product: customers"
