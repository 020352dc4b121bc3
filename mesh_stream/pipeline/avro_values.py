"""A field's declared default, as the value that a record would hold.

A default stands in the schema as JSON, in which a decimal's bytes are text and a timestamp is a
number; a record that lacks the field gets what these mean.

Source: Apache Avro 1.12 specification, "Complex Types: Records" and "Logical Types".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def named_types(schema: Any) -> dict[str, Any]:
    """Every named type that a schema defines, by each name that it may be called by."""
    if isinstance(schema, list):
        return {name: kind for branch in schema for name, kind in named_types(branch).items()}
    if not isinstance(schema, dict):
        return {}
    names = {}
    if "name" in schema and not isinstance(schema["type"], dict | list):
        name, space = schema["name"], schema.get("namespace")
        names = dict.fromkeys((name, name.rpartition(".")[2], f"{space}.{name}"), schema)
    inside = [schema.get(key) for key in ("type", "items", "values")]
    inside += [field["type"] for field in schema.get("fields", ())]
    for part in inside:
        names |= named_types(part)
    return names


def default_value(schema: Any, default: Any, names: Mapping[str, Any]) -> Any:
    """Read the default of a type.

    Args:
        schema: The field's Avro type, linted: the default is known to fit.
        default: What the schema says, as JSON data.
        names: The named types of the whole schema.
    """
    if isinstance(schema, list):
        # The specification: the default of a union is one of its first branch.
        return default_value(schema[0], default, names)
    if isinstance(schema, str):
        if schema in names:
            return default_value(names[schema], default, names)
        return default.encode("latin-1") if schema == "bytes" else default
    logical = schema.get("logicalType")
    match schema["type"]:
        case "array":
            return [default_value(schema["items"], item, names) for item in default]
        case "map":
            values = schema["values"]
            return {key: default_value(values, item, names) for key, item in default.items()}
        case "record":
            return {
                name: default_value(field["type"], default.get(name, field.get("default")), names)
                for field in schema["fields"]
                if (name := field["name"])
            }
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
            return default_value(nested, default, names)


def _decimal(raw: bytes, schema: Mapping[str, Any]) -> Decimal:
    return exact_decimal(int.from_bytes(raw, "big", signed=True), schema.get("scale", 0))


_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)


def exact_decimal(unscaled: int, scale: int) -> Decimal:
    """A decimal of so many smallest units; never rounded, whatever the thread's context says."""
    return Decimal(unscaled).scaleb(-scale, _EXACT)


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
