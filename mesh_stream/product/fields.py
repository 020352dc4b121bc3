"""Reads the types of a field list, such as `decimal(18,2)?` or `array<string>`, as Avro."""

from __future__ import annotations

import copy
import re
from typing import Any

from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import did_you_mean, one_of

PRIMITIVES: dict[str, Any] = {
    "string": "string",
    "int": "int",
    "long": "long",
    "float": "float",
    "double": "double",
    "boolean": "boolean",
    "bytes": "bytes",
    "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-millis": {"type": "long", "logicalType": "timestamp-millis"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "date": {"type": "int", "logicalType": "date"},
    "time": {"type": "int", "logicalType": "time-millis"},
    "uuid": {"type": "string", "logicalType": "uuid"},
}
WORDS = (*PRIMITIVES, "decimal", "decimal(p,s)", "array<...>", "map<...>")
# What other systems call these; named in the remedy, not accepted: one word per thing.
_ELSEWHERE = {
    "str": "string",
    "text": "string",
    "varchar": "string",
    "integer": "int or long",
    "bigint": "long",
    "number": "decimal, double or long",
    "numeric": "decimal",
    "money": "decimal",
    "bool": "boolean",
    "datetime": "timestamp",
    "list": "array<...>",
    "array": "array<...>",
    "map": "map<...>",
    "object": "map<...>, or a record in a .avsc file",
}
_MAX_NESTING = 4
# What SQL engines and the JVM's usual readers hold; beyond it, consumers would not read the facts.
MAX_PRECISION = 38
_DECIMAL = re.compile(r"decimal\( *(?P<precision>[0-9]{1,3}) *(?:, *(?P<scale>[0-9]{1,3}) *)?\)")
_NESTED = re.compile(r"(?P<outer>array|map)<(?P<inner>.+)>")


def avro_field(name: str, declared: str, description: str | None) -> dict[str, Any]:
    """Returns the Avro field of one entry of a field list.

    A nullable field gets the default null, so that it can be added to a contract later.

    Raises:
        UnreadableError: The type is none of the known ones.
    """
    avro = avro_type(declared)
    field: dict[str, Any] = {"name": name, "type": avro}
    if description is not None:
        field["doc"] = description
    if isinstance(avro, list):
        field["default"] = None
    return field


def avro_type(declared: str, nesting: int = 0) -> Any:
    """Returns the Avro type of a declared one; a `decimal` keeps its digits open.

    Raises:
        UnreadableError: The type is none of the known ones.
    """
    text = declared.strip()
    if nesting > _MAX_NESTING:
        raise UnreadableError(f"at most {_MAX_NESTING} levels of array and map", "use a .avsc file")
    if text.endswith("?"):
        inner = avro_type(text[:-1], nesting)
        if isinstance(inner, list):
            raise UnreadableError("one ? at most")
        return ["null", inner]
    if match := _NESTED.fullmatch(text):
        inner = avro_type(match["inner"], nesting + 1)
        if match["outer"] == "array":
            return {"type": "array", "items": inner}
        return {"type": "map", "values": inner}
    if text == "decimal":
        return {"type": "bytes", "logicalType": "decimal"}
    if match := _DECIMAL.fullmatch(text):
        precision, scale = int(match["precision"]), int(match["scale"] or 0)
        if not 0 < precision <= MAX_PRECISION or scale > precision:
            raise UnreadableError(f"decimal(p,s) with 1 <= p <= {MAX_PRECISION} and 0 <= s <= p")
        return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    if text in PRIMITIVES:
        return copy.copy(PRIMITIVES[text])
    known = _ELSEWHERE.get(text.lower())
    raise UnreadableError(
        one_of(WORDS) + ", each with a ? where it may be null",
        f"write {known}" if known else did_you_mean(text, WORDS),
    )
