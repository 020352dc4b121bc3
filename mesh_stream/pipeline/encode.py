"""The last stage: a judged record into a fact, framed as the registry's clients expect.

The value is 0x00, the pinned schema id in four bytes big-endian, and Avro binary (Confluent wire
format). What does not fit the contract exactly is refused, never bent: no decimal is rounded, no
timestamp is given a zone it does not have, no null stands where none may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

import fastavro
from fastavro.validation import ValidationError, validate

from mesh_stream.errors import ContractError
from mesh_stream.pipeline.avro_writer import EPOCH, SCOPE, Writer
from mesh_stream.pipeline.record import Fact, Message
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import Contract, Output

Encode = Callable[[Any, Message], Fact]


def compile_encode(
    contract: Contract, *, output: Output, schema_id: int, record_bytes: int, shape: Shape
) -> Encode:
    """Make the stage for records of one type.

    Args:
        contract: The facts' schema.
        output: Which fields are the key and the event time.
        schema_id: The registry's id of the contract, looked up at start.
        record_bytes: Largest value, in bytes, its frame included.
        shape: How the record type's fields are read.

    Returns:
        `(record, message) -> Fact`; raises `ContractError` naming the field that does not fit.
    """
    frame = b"\x00" + schema_id.to_bytes(4, "big")
    writer = Writer()
    flat = all(
        writer.add_field(field["name"], field["type"], value)
        if (value := _source_of(field, shape))
        else False
        for field in contract.schema["fields"]
    )
    explain = _explainer(contract, shape)
    names: dict[str, Any] = {
        **SCOPE,
        "_frame": frame,
        "_fact": Fact,
        "_new": tuple.__new__,
        "_explain": explain,
        "_refused": ContractError,
        "_too_large": _too_large,
    }
    if flat:
        lines = writer.lines
        value = f"_join((_frame, {', '.join(writer.parts)}))"
        names.update(writer.names)
    else:
        lines = []
        value = "_frame + _write(r)"
        names["_write"] = _fastavro_writer(contract, shape)
    source = "\n".join(
        [
            "def encode(r, m):",
            " try:",
            *lines,
            f"  value = {value}",
            f"  key = {_key(output, writer if flat else None, shape, names)}",
            f"  moment = {_event_time(output, writer if flat else None, shape, names)}",
            " except _refused:",
            "  raise",
            " except MemoryError:",
            "  raise",
            " except Exception as error:",
            "  raise _explain(r, error) from error",
            f" if len(value) > {record_bytes}: _too_large(value, {record_bytes})",
            " return _new(_fact, (value, key, moment))",
        ]
    )
    # Built from field names (Avro identifiers) and constants passed by reference.
    exec(compile(source, "<encode>", "exec"), names)  # noqa: S102
    encode: Encode = names["encode"]
    return encode


def _source_of(field: Mapping[str, Any], shape: Shape) -> str:
    """Source of a field's value, its default included; empty where the default is not plain."""
    name = field["name"]
    if "default" not in field:
        return shape.value(name)
    default = field["default"]
    plain = default is None or (isinstance(field["type"], str) and field["type"] != "bytes")
    return shape.value(name, default=repr(default)) if plain else ""


def _declared(contract: Contract, name: str) -> Mapping[str, Any]:
    return next(field for field in contract.schema["fields"] if field["name"] == name)


def _key(output: Output, writer: Writer | None, shape: Shape, names: dict[str, Any]) -> str:
    if output.key is None:
        return "m.key()"
    if writer is not None and output.key in writer.strings:
        return writer.strings[output.key]
    names["_key_bytes"] = _key_bytes
    return f"_key_bytes({shape.value(output.key)})"


def _key_bytes(value: Any) -> bytes:
    if value is None:
        raise ContractError("the key field is null; expected a value", rule="key")
    return str(value).encode()


def _event_time(output: Output, writer: Writer | None, shape: Shape, names: dict[str, Any]) -> str:
    if output.event_time is None:
        names["_arrival"] = _arrival
        return "_arrival(m)"
    if writer is not None and output.event_time in writer.millis:
        return writer.millis[output.event_time]
    names["_moment"] = _moment
    return f"_moment({shape.value(output.event_time)})"


def _arrival(message: Message) -> int:
    kind, timestamp = message.timestamp()
    return timestamp if kind else -1


def _moment(value: Any) -> int:
    """A fact's event time in milliseconds; -1 for a null one."""
    if value is None:
        return -1
    if isinstance(value, datetime):
        return int((value - EPOCH).total_seconds() * 1000)
    return int(value)


def _too_large(value: bytes, record_bytes: int) -> None:
    raise ContractError(
        f"the fact takes {len(value)} bytes; expected at most {record_bytes} "
        f"(`limits.record_bytes`)",
        rule="oversize",
    )


def _fastavro_writer(contract: Contract, shape: Shape) -> Callable[[Any], bytes]:
    schema = fastavro.parse_schema(dict(contract.schema))

    def write(record: Any) -> bytes:
        plain = shape.plain(record, contract.fields)
        _no_naive_times(plain, "")
        validate(plain, schema, raise_errors=True)
        stream = BytesIO()
        fastavro.schemaless_writer(stream, schema, plain)
        return stream.getvalue()

    return write


def _no_naive_times(value: Any, place: str) -> None:
    """A datetime without a zone would be read in the machine's own; nobody said which."""
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ContractError(
            f"field {place}: found a datetime without a time zone; expected one with", rule="schema"
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _no_naive_times(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list):
        for item in value:
            _no_naive_times(item, place)


def _explainer(contract: Contract, shape: Shape) -> Callable[[Any, Exception], ContractError]:
    """What is wrong with a record that did not encode: field by field, off the fast path."""
    checks = []
    for name, schema in contract.fields.items():
        writer = Writer()
        if not writer.add_field(name, schema, "r"):
            continue
        body = "\n".join(["def check(r):", *writer.lines, f"  return ({', '.join(writer.parts)},)"])
        scope = {**SCOPE, **writer.names}
        exec(compile(body, "<check>", "exec"), scope)  # noqa: S102 - as above
        checks.append((name, schema, scope["check"]))

    def explain(record: Any, error: Exception) -> ContractError:
        for name, schema, check in checks:
            try:
                value = shape.read(record, name)
            except (KeyError, AttributeError):
                if "default" in _declared(contract, name):
                    continue
                return ContractError(
                    f"field {name}: found nothing; expected {describe(schema)}", rule="schema"
                )
            try:
                check(value)
            except Exception:  # noqa: BLE001 - whatever it raised, this is the field
                return ContractError(
                    f"field {name}: found {_found(value, schema)}; expected {describe(schema)}",
                    rule="schema",
                )
        if isinstance(error, ValidationError):
            places = ", ".join(sorted({str(fault.field) for fault in error.errors}))
            return ContractError(
                f"field {places}: found another type; expected what the schema says", rule="schema"
            )
        return ContractError(
            f"the record does not fit the schema ({type(error).__name__})", rule="schema"
        )

    return explain


def _found(value: Any, schema: Any) -> str:
    """The value's type, and what about it can be said without saying the value."""
    if value is None:
        return "null"
    kind = type(value).__name__
    if isinstance(value, datetime) and value.tzinfo is None:
        return "a datetime without a time zone"
    if kind == "Decimal" and value.is_finite():
        digits, exponent = len(value.as_tuple().digits), value.as_tuple().exponent
        return f"a decimal of {digits} digits and exponent {exponent}"
    if kind in ("int", "str") and isinstance(schema, str | dict):
        return f"{kind} outside what the type holds" if kind in describe(schema) else f"{kind}"
    return kind


def describe(schema: Any) -> str:
    """An Avro type in the words of a field list: `decimal(18,2)`, `string?`."""
    if isinstance(schema, list):
        kinds = [describe(branch) for branch in schema if branch != "null"]
        return " or ".join(kinds) + ("?" if "null" in schema else "")
    if isinstance(schema, str):
        return schema
    logical = schema.get("logicalType")
    if logical == "decimal":
        return f"decimal({schema['precision']},{schema.get('scale', 0)})"
    if logical:
        return str(logical)
    kind = schema["type"]
    if kind == "enum":
        return "one of " + ", ".join(schema["symbols"])
    return kind if isinstance(kind, str) else describe(kind)
