"""The record type of a product that publishes its input as it comes: the contract's own fields.

So that such an input is read as strictly as any other: a timestamp from its text, a decimal from
its digits. Fields that the input has beside the contract's are not read.
"""

from __future__ import annotations

import copy
import json
import keyword
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache, partial
from typing import Any
from uuid import UUID

import msgspec

from mesh_stream.pipeline.avro_values import default_value, named_types
from mesh_stream.product.product import Contract

_PYTHON_TYPES: Mapping[str, Any] = {
    "null": None,
    "string": str,
    "enum": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "fixed": bytes,
    "decimal": Decimal,
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
    "local-timestamp-millis": datetime,
    "local-timestamp-micros": datetime,
    "date": date,
    "time-millis": time,
    "time-micros": time,
    "uuid": UUID,
}


def contract_type(contract: Contract) -> Any:
    """The type of a record that is published as it comes; the same one for the same schema."""
    return _contract_type(contract.canonical)


@cache
def _contract_type(text: str) -> Any:
    schema = json.loads(text)
    return _type_of(schema, named_types(schema))


def _type_of(schema: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return _union(schema, names)
    if isinstance(schema, str):
        return _type_of(names[schema], names) if schema in names else _PYTHON_TYPES[schema]
    logical = schema.get("logicalType")
    kind = schema["type"]
    match kind:
        case _ if logical in _PYTHON_TYPES:
            return _PYTHON_TYPES[logical]
        case "array":
            return list[_type_of(schema["items"], names)]  # type: ignore[misc]  # a computed type
        case "map":
            return dict[str, _type_of(schema["values"], names)]  # type: ignore[misc]  # the same
        case "record":
            return _record(schema, names)
        case str() if kind in _PYTHON_TYPES:
            return _PYTHON_TYPES[kind]
        case _:
            return _type_of(kind, names)


def _union(schema: list[Any], names: Mapping[str, Any]) -> Any:
    union: Any = None
    for position, branch in enumerate(schema):
        kind = _type_of(branch, names)
        union = kind if position == 0 else union | kind
    try:
        msgspec.json.Decoder(union)
    except TypeError:
        # JSON cannot tell some types apart, such as text and a moment: the encoder decides.
        return Any
    return union


def _record(schema: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
    fields: list[Any] = []
    rename: dict[str, str] = {}
    taken = {field["name"] for field in schema["fields"]}
    for field in schema["fields"]:
        name, kind = field["name"], _type_of(field["type"], names)
        attribute = name
        while keyword.iskeyword(attribute) or attribute.startswith("__"):
            attribute = f"f_{attribute}"
        while attribute != name and attribute in taken:
            attribute = f"{attribute}_"
        rename[attribute] = name
        if "default" in field:
            value = default_value(field["type"], field["default"], names)
            if isinstance(value, list | dict):
                # Each record gets one of its own.
                value = msgspec.field(default_factory=partial(copy.deepcopy, value))
            fields.append((attribute, kind, value))
        elif isinstance(field["type"], list) and "null" in field["type"]:
            fields.append((attribute, kind, None))
        else:
            fields.append((attribute, kind))
    return msgspec.defstruct(
        schema["name"].rpartition(".")[2],
        fields,
        frozen=True,
        gc=False,
        kw_only=True,
        rename=rename,
    )
