"""Products, ports and records for tests of the path, made without a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mesh_stream.product.product import (
    Contract,
    Format,
    Input,
    Limits,
    Output,
    Product,
    Rule,
    Sla,
    Transformation,
)
from mesh_stream.testing import MemoryMessage

TOPIC = "raw.orders"
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}

LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
LOCAL_MILLIS = {"type": "long", "logicalType": "local-timestamp-millis"}
DATE = {"type": "int", "logicalType": "date"}
TIME = {"type": "int", "logicalType": "time-millis"}
TIME_MICROS = {"type": "long", "logicalType": "time-micros"}
UUID_TEXT = {"type": "string", "logicalType": "uuid"}
CURRENCY = {"type": "enum", "name": "Currency", "symbols": ["EUR", "USD"]}


def decimal(precision: int, scale: int = 0) -> dict[str, Any]:
    """The Avro type of a decimal."""
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def contract_of(*fields: Mapping[str, Any], name: str = "Fact") -> Contract:
    """A contract of Avro fields, such as `{"name": "id", "type": "string"}`."""
    schema = {"type": "record", "name": name, "fields": list(fields)}
    return Contract(
        schema=schema,
        canonical=json.dumps(schema, separators=(",", ":")),
        name=name,
        fields={field["name"]: field["type"] for field in fields},
        compatibility="BACKWARD",
    )


def contract(**types: Any) -> Contract:
    """A contract of fields by name: `contract(id="string")`."""
    return contract_of(*({"name": name, "type": kind} for name, kind in types.items()))


def transformation(
    function: Callable[..., Any], record_type: Any = dict, *, context: bool = False
) -> Transformation:
    """A function as the loader would hand it over."""
    file = Path(function.__code__.co_filename)
    origin = f"{file.parent.name}/{file.name}:{function.__name__}"
    return Transformation(function, origin, record_type, context)


def port(
    applied: Transformation | None = None,
    *,
    topic: str = TOPIC,
    form: Format = Format.JSON,
    reader: Contract | None = None,
) -> Input:
    """An input port."""
    return Input(topic, form, None, None, applied, reader)


def product(
    facts: Contract,
    *ports: Input,
    rules: Sequence[Rule] = (),
    key: str | None = None,
    event_time: str | None = None,
    limits: Limits | None = None,
) -> Product:
    """A product that publishes `facts` from its ports; without a port, JSON as it comes."""
    return Product(
        folder=Path("products/orders/orders-tested"),
        name="orders-tested",
        domain="orders",
        owner="orders-team",
        version="1.2.0",
        status="active",
        description="",
        documentation="",
        sla=Sla(60.0, 0.99),
        contract=facts,
        inputs=ports or (port(),),
        output=Output("orders.orders-tested.v1", key, event_time, 1, {}),
        rules=tuple(rules),
        limits=limits or Limits(),
    )


def message(
    value: bytes | None = b"{}",
    *,
    key: bytes | None = None,
    headers: Any = None,
    timestamp: tuple[int, int] = (1, 1_700_000_000_000),
    offset: int = 0,
) -> MemoryMessage:
    """An input record."""
    return MemoryMessage(TOPIC, value, key, headers, timestamp, offset)


LINE = {
    "type": "record",
    "name": "Line",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": decimal(9, 2)},
        {"name": "due", "type": ["null", MILLIS], "default": None},
    ],
}
NESTED = contract_of(
    {"name": "id", "type": "string"},
    {"name": "lines", "type": {"type": "array", "items": LINE}},
    {"name": "more", "type": {"type": "map", "values": ["null", "Line"]}},
    {"name": "tags", "type": {"type": "array", "items": ["string", "long"]}},
    {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 2}},
    {"name": "other", "type": ["null", "Hash"]},
)
