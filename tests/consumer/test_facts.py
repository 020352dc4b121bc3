from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from mesh_stream.consumer.facts import decode
from mesh_stream.errors import PayloadError, RegistryError
from mesh_stream.pipeline.avro_input import AvroReader, SchemaId
from mesh_stream.testing import MemoryMessage, MemorySchemas
from tests.pipeline.making import MILLIS, contract, decimal

TOPIC = "orders.orders-completed.v1"
SCHEMAS = MemorySchemas()
WRITTEN = contract(id="string", amount=decimal(18, 2), at=MILLIS)
SCHEMA_ID = SCHEMAS.register(dict(WRITTEN.schema))
FACT = b"\x0aord_1" + b"\x04\x04\xce" + b"\x80\xa0\xd5\xed\xee\x66"


def message(value: bytes | None) -> MemoryMessage:
    return MemoryMessage(
        TOPIC, value, b"ord_1", record_timestamp=(1, 7), record_offset=12, record_partition=3
    )


def framed(body: bytes, schema_id: int = int(SCHEMA_ID)) -> bytes:
    return b"\x00" + schema_id.to_bytes(4, "big") + body


def test_a_fact_is_decoded_by_its_own_writer_s_schema() -> None:
    fact = decode(message(framed(FACT)), AvroReader(SCHEMAS, reader=None))
    assert (fact.place, fact.key, fact.written) == (f"{TOPIC}[3]@12", b"ord_1", 7)
    assert fact.fields == {
        "id": "ord_1",
        "amount": Decimal("12.30"),
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_a_tombstone_is_a_fact_without_fields() -> None:
    assert decode(message(None), AvroReader(SCHEMAS, reader=None)).fields is None


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"", "empty"),
        (b'{"id":"ord_1"}', "framing"),
        (framed(FACT, 99), "unknown_schema"),
        (framed(FACT[:-1]), "malformed"),
        (framed(FACT + b"\x00"), "trailing_bytes"),
    ],
)
def test_what_no_worker_wrote_is_no_fact(value: bytes, rule: str) -> None:
    with pytest.raises(PayloadError) as raised:
        decode(message(value), AvroReader(SCHEMAS, reader=None))
    assert raised.value.rule == rule


def test_a_registry_that_is_down_says_nothing_about_the_fact() -> None:
    class Down:
        def writer_schema(self, schema_id: SchemaId) -> object:
            raise RegistryError(f"no answer about {schema_id}")

    with pytest.raises(RegistryError):
        decode(message(framed(FACT)), AvroReader(Down(), reader=None))
