"""A field's declared default, as the value that a record would hold.

A default stands in the schema as JSON, in which a decimal's bytes are text and a timestamp is a
number; a record that lacks the field gets what these mean.

Source: Apache Avro 1.12 specification, "Complex Types: Records" and "Logical Types".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def default_value(schema: Any, default: Any) -> Any:
    """Read the default of a type.

    Args:
        schema: The field's Avro type, linted: the default is known to fit.
        default: What the schema says, as JSON data.
    """
    if isinstance(schema, list):
        # The specification: the default of a union is one of its first branch.
        return default_value(schema[0], default)
    if isinstance(schema, str):
        return default.encode("latin-1") if schema == "bytes" else default
    logical = schema.get("logicalType")
    match schema["type"]:
        case "array":
            return [default_value(schema["items"], item) for item in default]
        case "map":
            return {key: default_value(schema["values"], item) for key, item in default.items()}
        case "record":
            return _record(schema, default)
        case "bytes" | "fixed":
            raw = default.encode("latin-1")
            return _decimal(raw, schema) if logical == "decimal" else raw
        case "string":
            return UUID(default) if logical == "uuid" else default
        case "int" | "long":
            return _LOGICAL[logical](default) if logical in _LOGICAL else default
        case "enum":
            return default
        case nested:
            return default_value(nested, default)


def _record(schema: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    return {
        field["name"]: default_value(
            field["type"], default.get(field["name"], field.get("default"))
        )
        for field in schema["fields"]
    }


def _decimal(raw: bytes, schema: Mapping[str, Any]) -> Decimal:
    return exact_decimal(int.from_bytes(raw, "big", signed=True), schema.get("scale", 0))


def exact_decimal(unscaled: int, scale: int) -> Decimal:
    """A decimal of so many smallest units; never rounded, whatever the context's precision."""
    digits = unscaled.bit_length() // 3 + 1
    return Decimal(unscaled).scaleb(-scale, Context(prec=digits))


def _time(micros: int) -> time:
    return (EPOCH + timedelta(microseconds=micros)).time()


_LOGICAL: Mapping[str, Any] = {
    "timestamp-millis": lambda n: EPOCH + timedelta(milliseconds=n),
    "timestamp-micros": lambda n: EPOCH + timedelta(microseconds=n),
    "local-timestamp-millis": lambda n: EPOCH.replace(tzinfo=None) + timedelta(milliseconds=n),
    "local-timestamp-micros": lambda n: EPOCH.replace(tzinfo=None) + timedelta(microseconds=n),
    "date": lambda n: date.fromordinal(EPOCH.toordinal() + n),
    "time-millis": lambda n: _time(n * 1000),
    "time-micros": _time,
}
