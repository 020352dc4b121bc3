"""When records arrived and happened: as the worker would say, and never in the future."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from mesh_stream.errors import RegistryError
from mesh_stream.freshness.moments import Moments, Schemas, event_reader, fact_reader, input_reader
from mesh_stream.pipeline.avro_input import SchemaId
from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Format, Input, Product
from mesh_stream.testing.memory import MemoryMessage, MemorySchemas
from tests.deadline import eventually

ROOT = Path(__file__).parent.parent.parent

SEEN = 1_800_000_000.0
ARRIVED = 1_799_999_990_000
HAPPENED = datetime(2027, 1, 15, 7, 58, tzinfo=UTC)
"""Two minutes before it is seen."""


ORDER = "raw.orders"
CONTRACT = 7


class AwayRegistry(MemorySchemas):
    """A registry that can be away, or keep whoever asks waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.answers = threading.Event()
        self.answers.set()
        self.asked = 0

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        self.asked += 1
        assert self.answers.wait(20)
        if self.is_away:
            raise RegistryError("it is away")
        return super().writer_schema(schema_id)


@pytest.fixture(scope="module")
def product() -> Product:
    return load_product(ROOT / "products/orders/orders-completed")


@pytest.fixture
def registry(product: Product) -> AwayRegistry:
    registry = AwayRegistry()
    registry.register(dict(product.contract.schema), schema_id=CONTRACT)
    return registry


def message(value: bytes | None, timestamp: int = ARRIVED, kind: int = 1) -> MemoryMessage:
    return MemoryMessage(ORDER, value, record_timestamp=(kind, timestamp))


def order(**fields: Any) -> bytes:
    return json.dumps({"order_id": "ord_1", "status": "completed", **fields}).encode()


def input_moments(product: Product, record: MemoryMessage) -> Moments:
    return input_reader(product.inputs[0], product, MemorySchemas())(record, SEEN)


def fact(product: Product, at: datetime) -> MemoryMessage:
    content = BytesIO()
    fields = {
        "order_id": "ord_1", "customer_id": "c", "total_amount": Decimal("1.50"),
        "completed_at": at, "units": 1,
    }  # fmt: skip
    schema = fastavro.parse_schema(dict(product.contract.schema))
    fastavro.schemaless_writer(content, schema, fields)
    return message(b"\x00" + CONTRACT.to_bytes(4, "big") + content.getvalue())


# Inputs


def test_an_input_record_happened_when_its_event_time_says(product: Product) -> None:
    found = input_moments(product, message(order(occurred_at=HAPPENED.isoformat())))
    assert found == Moments(ARRIVED / 1000, HAPPENED.timestamp())


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"{", b"[1]", order(), order(occurred_at="soon"), order(occurred_at=None),
        order(occurred_at=HAPPENED.isoformat())[:-1],
    ],
)  # fmt: skip
def test_what_does_not_say_when_it_happened_happened_when_it_arrived(
    product: Product, value: bytes | None
) -> None:
    assert input_moments(product, message(value)) == Moments(ARRIVED / 1000, ARRIVED / 1000)


def test_a_record_that_cannot_be_read_has_not_the_time_of_the_one_before(product: Product) -> None:
    read = input_reader(product.inputs[0], product, MemorySchemas())
    read(message(order(occurred_at=HAPPENED.isoformat())), SEEN)
    assert read(message(b"{"), SEEN).event_time == ARRIVED / 1000


def test_without_an_event_time_the_timestamp_counts(product: Product) -> None:
    port = replace(product.inputs[0], event_time=None)
    read = input_reader(port, product, MemorySchemas())
    found = read(message(order(occurred_at=HAPPENED.isoformat())), SEEN)
    assert found == Moments(ARRIVED / 1000, ARRIVED / 1000)


def test_no_record_happens_after_it_arrived_nor_arrives_after_it_was_seen(product: Product) -> None:
    ahead = datetime(2030, 1, 1, tzinfo=UTC).isoformat()
    assert input_moments(product, message(order(occurred_at=ahead))).event_time == ARRIVED / 1000
    future = message(order(occurred_at=ahead), timestamp=ARRIVED + 3_600_000)
    assert input_moments(product, future) == Moments(SEEN, SEEN)
    assert input_moments(product, message(order(), timestamp=-1, kind=0)) == Moments(SEEN, SEEN)


def test_an_avro_input_is_read_by_its_writers_schema(
    product: Product, registry: AwayRegistry
) -> None:
    port = Input(ORDER, Format.AVRO, None, "completed_at", None, product.contract)
    read = input_reader(port, product, registry)
    assert read(fact(product, HAPPENED), SEEN) == Moments(ARRIVED / 1000, HAPPENED.timestamp())


# Facts


def test_a_fact_happened_when_it_says_and_was_published_by_its_timestamp(
    product: Product, registry: AwayRegistry
) -> None:
    read = fact_reader(product, registry)
    assert read(fact(product, HAPPENED), SEEN) == Moments(ARRIVED / 1000, HAPPENED.timestamp())
    ahead = fact(product, datetime(2030, 1, 1, tzinfo=UTC))
    assert read(ahead, SEEN) == Moments(ARRIVED / 1000, ARRIVED / 1000)


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00\x00\x09abc", b"no fact"])
def test_what_is_no_fact_counts_by_its_timestamp(
    product: Product, registry: AwayRegistry, value: bytes | None
) -> None:
    found = fact_reader(product, registry)(message(value), SEEN)
    assert found == Moments(ARRIVED / 1000, ARRIVED / 1000)


def test_a_fact_of_which_the_registry_says_nothing_is_not_sure(
    product: Product, registry: AwayRegistry
) -> None:
    registry.is_away = True
    read = fact_reader(product, registry)
    guess = read(fact(product, HAPPENED), SEEN)
    assert guess == Moments(ARRIVED / 1000, ARRIVED / 1000, is_sure=False)
    registry.is_away = False
    assert read(fact(product, HAPPENED), SEEN).event_time == HAPPENED.timestamp()


# On their way


def test_an_event_on_its_way_says_when_its_record_arrived() -> None:
    value = {"is": "event", "at": ARRIVED - 500, "arrived": ARRIVED - 200, "event": {"n": 1}}
    found = event_reader()(message(json.dumps(value).encode()), SEEN)
    assert found == Moments((ARRIVED - 200) / 1000, (ARRIVED - 500) / 1000)


@pytest.mark.parametrize("value", [b'{"is":"notice","highest":{}}', b"{", None, b'{"at":"x"}'])
def test_anything_else_on_that_topic_came_when_it_was_written(value: bytes | None) -> None:
    assert event_reader()(message(value), SEEN) == Moments(ARRIVED / 1000, ARRIVED / 1000)


# Schemas, without waiting


def test_a_registry_that_hangs_holds_up_one_question_only_and_only_for_a_moment(
    registry: AwayRegistry,
) -> None:
    registry.answers.clear()
    schemas = Schemas(registry, patience=0.05)
    try:
        for _ in range(50):
            with pytest.raises(RegistryError, match="no answer yet"):
                schemas.writer_schema(CONTRACT)
        assert registry.asked == 1
    finally:
        registry.answers.set()
    found = eventually(lambda: _known(schemas), within=10, what="the schema, once it is there")
    assert found["name"] == "OrderCompleted"
    assert registry.asked == 1


def test_a_registry_that_was_away_is_asked_again(registry: AwayRegistry) -> None:
    schemas = Schemas(registry)
    registry.is_away = True
    with pytest.raises(RegistryError, match="it is away"):
        schemas.writer_schema(CONTRACT)
    registry.is_away = False
    assert schemas.writer_schema(CONTRACT) is not None
    assert schemas.writer_schema(99) is None
    registry.register({"type": "string"}, schema_id=99)
    assert schemas.writer_schema(99) == {"type": "string"}


def _known(schemas: Schemas) -> Any:
    try:
        return schemas.writer_schema(CONTRACT)
    except RegistryError:
        return None
