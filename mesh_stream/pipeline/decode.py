"""The first stage: bytes of an input record into the type that the transformation reads.

JSON goes straight into the annotated type (msgspec); registry-framed Avro goes through the writer's
schema, resolved to the reader's where one is declared, into the same type.

Defined for the odd ones: a null value (tombstone) is filtered as `tombstone`, since it deletes a
key and states no fact; an empty value is rejected as `empty`; the key is never decoded, so a null
or non-UTF-8 key passes untouched; headers are not read, except the schema id of Avro's header form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.avro_input import AvroReader, WriterSchemas
from mesh_stream.pipeline.record import Filtered, Message
from mesh_stream.product.product import Contract, Format, Input

Decode = Callable[[Message], Any]

TOMBSTONE = Filtered("tombstone")

# Values that msgspec passes through from Avro as they are, instead of asking for their JSON form.
_NATIVE = (bytes, bytearray, datetime, date, time, Decimal, UUID)

_PYTHON_TYPES: Mapping[str, Any] = {
    "string": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "decimal": Decimal,
    "timestamp-millis": datetime,
    "timestamp-micros": datetime,
    "date": date,
    "time-millis": time,
    "time-micros": time,
    "uuid": UUID,
}


def compile_decode(
    port: Input, *, contract: Contract, input_bytes: int, writers: WriterSchemas
) -> Decode:
    """Make the stage for one input.

    Args:
        port: The input: its format, its reader schema, and its transformation's record type.
        contract: The facts' schema: the type of records that no transformation reads.
        input_bytes: Largest value that is decoded, in bytes.
        writers: Finds a writer's schema by its id; may raise a platform error, which passes.

    Returns:
        `message -> record`, or `TOMBSTONE`; raises `PayloadError` for bytes that are no record.
    """
    record_type = (
        contract_type(contract) if port.transformation is None else port.transformation.record_type
    )
    if port.format is Format.AVRO:
        read = _avro(record_type, AvroReader(writers, reader=port.reader))
    else:
        read = _json(record_type)

    def decode(message: Message) -> Any:
        value = message.value()
        if not value:
            if value is None:
                return TOMBSTONE
            raise PayloadError("found an empty value; expected a record", rule="empty")
        if len(value) > input_bytes:
            raise PayloadError(
                f"found a value of {len(value)} bytes; "
                f"expected at most {input_bytes} (`limits.input_bytes`)",
                rule="oversize",
            )
        return read(value, message)

    return decode


def _json(record_type: Any) -> Callable[[bytes, Message], Any]:
    if _is_pydantic(record_type):
        return _json_pydantic(record_type)
    # A float that passes through a binary double is no longer the decimal that was sent.
    hook = Decimal if _is_dict(record_type) else None
    read = msgspec.json.Decoder(record_type, float_hook=hook).decode

    def decode_json(value: bytes, _message: Message) -> Any:
        try:
            return read(value)
        except msgspec.ValidationError as error:
            raise PayloadError(_without_values(error), rule="type") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PayloadError(
                f"found no JSON: {_without_values(error)}", rule="malformed"
            ) from error
        except RecursionError as error:
            raise PayloadError("found JSON nested too deep", rule="malformed") from error

    return decode_json


def _json_pydantic(model: Any) -> Callable[[bytes, Message], Any]:
    import pydantic

    read = model.model_validate_json

    def decode_pydantic(value: bytes, _message: Message) -> Any:
        try:
            return read(value)
        except pydantic.ValidationError as error:
            raise PayloadError(_pydantic_reason(error), rule=_pydantic_rule(error)) from error

    return decode_pydantic


def _avro(record_type: Any, reader: AvroReader) -> Callable[[bytes, Message], Any]:
    if _is_dict(record_type):
        return reader.read
    if _is_pydantic(record_type):
        import pydantic

        def shape(datum: Any) -> Any:
            try:
                return record_type.model_validate(datum)
            except pydantic.ValidationError as error:
                raise PayloadError(_pydantic_reason(error), rule="type") from error
    else:

        def shape(datum: Any) -> Any:
            try:
                return msgspec.convert(datum, record_type, builtin_types=_NATIVE)
            except msgspec.ValidationError as error:
                raise PayloadError(_without_values(error), rule="type") from error

    return lambda value, message: shape(reader.read(value, message))


def contract_type(contract: Contract) -> Any:
    """The type of a record that is published as it comes: the contract's own fields, typed.

    Fields that the input has beside them are not read.
    """
    fields: list[Any] = []
    for name, schema in contract.fields.items():
        kind = _python_type(schema)
        if type(None) in getattr(kind, "__args__", ()):
            fields.append((name, kind, None))
        else:
            fields.append((name, kind))
    return msgspec.defstruct(
        "PublishedAsItComes", fields, frozen=True, gc=False, kw_only=True, namespace=None
    )


def _python_type(schema: Any) -> Any:
    if isinstance(schema, list):
        kinds = [type(None) if branch == "null" else _python_type(branch) for branch in schema]
        union: Any = kinds[0]
        for kind in kinds[1:]:
            union = union | kind
        return union
    if isinstance(schema, str):
        return _PYTHON_TYPES.get(schema, Any)
    logical = schema.get("logicalType")
    if logical in _PYTHON_TYPES:
        return _PYTHON_TYPES[logical]
    match schema["type"]:
        case "array":
            return list[_python_type(schema["items"])]  # type: ignore[misc]  # a computed type
        case "map":
            return dict[str, _python_type(schema["values"])]  # type: ignore[misc]  # the same
        case "enum":
            return str
        case "record":
            return dict[str, Any]
        case str() as primitive:
            return _PYTHON_TYPES.get(primitive, Any)
        case nested:
            return _python_type(nested)


def _is_dict(record_type: Any) -> bool:
    return record_type is dict or getattr(record_type, "__origin__", None) is dict


def _is_pydantic(record_type: Any) -> bool:
    # By its protocol: importing pydantic here would cost every worker that does not use it.
    return isinstance(record_type, type) and hasattr(record_type, "model_validate_json")


def _without_values(error: Exception) -> str:
    """What msgspec found, by type and place; where it quotes the input, the quotation is cut."""
    return re.sub(r"(value|field|tag) [`'\"].*?[`'\"](?= - |$)", r"\1", str(error))[:300]


def _pydantic_reason(error: Any) -> str:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    first = faults[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{first['type']} at `{place}`{more}"[:300]


def _pydantic_rule(error: Any) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return "malformed" if first["type"] == "json_invalid" else "type"
