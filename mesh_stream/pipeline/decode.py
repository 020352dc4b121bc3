"""The first stage: bytes of an input record into the type that the transformation reads.

JSON goes straight into the annotated type (msgspec); registry-framed Avro goes through the writer's
schema, resolved to the reader's where one is declared, into the same type. A number with a fraction
never passes through a binary double on its way to a decimal, nor to a field of no stated type.

Defined for the odd ones: a null value (tombstone) is filtered as `tombstone`, since it deletes a
key and states no fact; an empty value is rejected as `empty`; of a JSON key that stands twice the
last one counts; the key is never decoded, so a null or non-UTF-8 key passes untouched; headers are
not read, except the schema id of Avro's header form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import msgspec

from mesh_stream.errors import CodeError, PayloadError, PlatformError, RecordError
from mesh_stream.pipeline.avro_input import AvroReader, WriterSchemas
from mesh_stream.pipeline.identity import contract_type
from mesh_stream.pipeline.record import Filtered, Message
from mesh_stream.pipeline.transform import code_error
from mesh_stream.product.product import Contract, Format, Input

Decode = Callable[[Message], Any]
Read = Callable[[bytes, Message], Any]

TOMBSTONE = Filtered("tombstone")

# Values that msgspec passes through from Avro as they are, instead of asking for their JSON form.
_NATIVE = (bytes, bytearray, datetime, date, time, Decimal, UUID)


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
        `message -> record`, or `TOMBSTONE`; raises `PayloadError` for bytes that are no record,
        `CodeError` where the record type's own code raised.
    """
    record_type = _record_type(port, contract)
    origin = "the contract" if port.transformation is None else port.transformation.origin
    if port.format is Format.AVRO:
        read_avro = _avro(record_type, AvroReader(writers, reader=port.reader))

        def decode_avro(message: Message) -> Any:
            value = message.value()
            if not value or len(value) > input_bytes:
                return _no_record(value, input_bytes)
            try:
                return read_avro(value, message)
            except (RecordError, PlatformError, MemoryError):
                raise
            except Exception as error:
                raise _code_fault(error, origin) from error

        return decode_avro
    read_json = _json(record_type)

    def decode_json(message: Message) -> Any:
        value = message.value()
        if not value or len(value) > input_bytes:
            return _no_record(value, input_bytes)
        try:
            return read_json(value)
        except (RecordError, PlatformError, MemoryError):
            raise
        except Exception as error:
            raise _json_fault(error) or _code_fault(error, origin) from error

    return decode_json


def _record_type(port: Input, contract: Contract) -> Any:
    if port.transformation is None:
        return contract_type(contract)
    return port.transformation.record_type


def json_reader(port: Input, contract: Contract) -> Callable[[bytes], Any] | None:
    """What reads one value of an input as its decoding does; None where the input is no JSON.

    It raises anything for bytes that are no record, and does not look at their size.
    """
    return None if port.format is Format.AVRO else _json(_record_type(port, contract))


def _no_record(value: bytes | None, input_bytes: int) -> Filtered:
    """What is said of a value that is not even looked into."""
    if value is None:
        return TOMBSTONE
    if not value:
        raise PayloadError("found an empty value; expected a record", rule="empty")
    raise PayloadError(
        f"found a value of {len(value)} bytes; "
        f"expected at most {input_bytes} (`limits.input_bytes`)",
        rule="oversize",
    )


def _code_fault(error: Exception, origin: str) -> CodeError:
    # A validator or `__post_init__` of the record type, which is the product's code.
    return code_error(error, origin, "reading a record for")


def _json(record_type: Any) -> Callable[[bytes], Any]:
    if _is_pydantic(record_type):
        from mesh_stream.pipeline.pydantic_input import compile_json

        return compile_json(record_type, _json_parser(dict))
    return msgspec.json.Decoder(record_type, float_hook=Decimal).decode


def _json_parser(record_type: Any) -> Callable[[bytes], Any]:
    read = msgspec.json.Decoder(record_type, float_hook=Decimal).decode

    def parse(value: bytes) -> Any:
        try:
            return read(value)
        except Exception as error:
            fault = _json_fault(error)
            if fault is None:
                raise
            raise fault from error

    return parse


def _json_fault(error: Exception) -> PayloadError | None:
    """What msgspec raised, in our words; None where the record type's own code raised it."""
    match error:
        case msgspec.ValidationError():
            return PayloadError(_without_values(error), rule="type")
        case msgspec.DecodeError():
            return PayloadError(f"found no JSON: {error}", rule="malformed")
        case UnicodeDecodeError():
            return PayloadError("found no JSON: it is not UTF-8", rule="malformed")
        case RecursionError():
            return PayloadError("found JSON nested too deep", rule="malformed")
        case InvalidOperation():
            return PayloadError("found a number out of range", rule="type")
        case _:
            return None


def _avro(record_type: Any, reader: AvroReader) -> Read:
    if _is_dict(record_type):

        def read_dict(value: bytes, message: Message) -> Any:
            datum = reader.read(value, message)
            if datum.__class__ is not dict:
                raise PayloadError(
                    f"found a {type(datum).__name__} in Avro; expected a record", rule="type"
                )
            return datum

        return read_dict
    if _is_pydantic(record_type):
        from mesh_stream.pipeline.pydantic_input import compile_plain

        shape = compile_plain(record_type)
    else:

        def shape(datum: Any) -> Any:
            try:
                return msgspec.convert(datum, record_type, builtin_types=_NATIVE)
            except msgspec.ValidationError as error:
                raise PayloadError(_without_values(error), rule="type") from error

    return lambda value, message: shape(reader.read(value, message))


def _is_dict(record_type: Any) -> bool:
    return record_type is dict or getattr(record_type, "__origin__", None) is dict


def _is_pydantic(record_type: Any) -> bool:
    # By its protocol: importing pydantic here would cost every worker that does not use it.
    return isinstance(record_type, type) and hasattr(record_type, "model_validate_json")


# What msgspec says of a record, in the words that quote it. All others name types and places only.
_QUOTES = re.compile(r"(Invalid enum value|Invalid value|Object contains unknown field) ")
_PLACE = re.compile(r" - at `[^`]*`\Z")


def _without_values(error: msgspec.ValidationError) -> str:
    """What msgspec found, by type and place; a quotation of the record is cut out."""
    text = str(error)
    if error.__cause__ is not None:
        # Raised by the record type's own `__post_init__`: its words may hold anything.
        text = f"refused by the record type ({type(error.__cause__).__name__})"
    elif quotes := _QUOTES.match(text):
        place = _PLACE.search(text)
        is_ours = place is not None and quotes[1] != "Object contains unknown field"
        text = quotes[1] + (place[0] if place is not None and is_ours else "")
    return text[:300]
