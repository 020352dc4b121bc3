"""One record through the last stage, and what other programs make of it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro

from mesh_stream.pipeline.encode import compile_encode
from mesh_stream.pipeline.record import Fact
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import Contract, Output
from tests.pipeline.making import message


def encode(facts: Contract, record: Any, **options: Any) -> Fact:
    """One record through the stage, compiled for its type."""
    key, event_time = options.pop("key", None), options.pop("event_time", None)
    stage = compile_encode(
        facts,
        output=Output("orders.facts.v1", key, event_time, None, {}),
        schema_id=options.pop("schema_id", 1),
        record_bytes=options.pop("record_bytes", 1_000_000),
        shape=Shape(type(record)),
    )
    return stage(record, options.pop("message", message(key=b"input-key")))


def by_fastavro(facts: Contract, record: dict[str, Any]) -> bytes:
    """The reference encoding."""
    stream = BytesIO()
    fastavro.schemaless_writer(
        stream, fastavro.parse_schema(dict(facts.schema), _force=True), record
    )
    return stream.getvalue()


def read(facts: Contract, fact: Fact) -> dict[str, Any]:
    """What the stock reader makes of it, to the last byte."""
    stream = BytesIO(fact.value[5:])
    schema = fastavro.parse_schema(dict(facts.schema), _force=True)
    found: Any = fastavro.schemaless_reader(stream, schema, None)
    assert stream.tell() == len(fact.value) - 5
    return dict(found)
