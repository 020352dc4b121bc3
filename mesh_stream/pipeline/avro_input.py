"""Reading Avro that somebody else wrote, so that no message can crash or swallow a worker.

fastavro trusts its input: a recursive schema plus a few kilobytes overflow the C stack, an array
of nulls plus seven bytes ask for 2^40 items, a megabyte that calls itself a decimal keeps it busy
for minutes, and bytes left over are ignored. All of it is ruled out here: a writer's schema is
looked at once, on first sight of its id, every value must be consumed to its last byte, and
decimals are read by a reader of our own, which does not round either.

Framing: the header form, `__value_schema_id` = 0x01 and a 16-byte GUID with the bare Avro binary as
the value; or else the Confluent wire format (0x00, four bytes big-endian schema id, Avro binary).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any, Protocol
from uuid import UUID

import fastavro
from fastavro.read import LOGICAL_READERS

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.avro_safety import unsafe
from mesh_stream.pipeline.avro_values import default_value, exact_decimal, named_types
from mesh_stream.pipeline.headers import headers_of
from mesh_stream.pipeline.record import Headers, Message
from mesh_stream.product.compatibility import breaks
from mesh_stream.product.product import Contract

ID_HEADER = "__value_schema_id"

SchemaId = int | UUID


class WriterSchemas(Protocol):
    """Where writer schemas come from: the registry, or a test's own few."""

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        """The schema as JSON data; None where the registry has none of that id.

        Raises:
            PlatformError: The registry cannot be asked.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    """A writer's schema, linted and parsed; or why it is refused."""

    schema: Any
    refusal: str = ""
    rule: str = ""


class AvroReader:
    """Reads framed Avro values of one input.

    Args:
        writers: Finds the writer's schema of an id.
        reader: The schema that records are resolved to; None: the writer's own.
    """

    def __init__(self, writers: WriterSchemas, *, reader: Contract | None) -> None:
        self._writers = writers
        self._contract = reader
        self._reader = _parsed(dict(reader.schema)) if reader else None
        # fastavro hands every record the same list for a field that its writer did not know.
        self._shares = reader is not None and _has_changeable_default(reader.schema)
        self._known: dict[SchemaId, _Known] = {}

    def read(self, value: bytes, message: Message) -> Any:
        """Decode one value.

        Raises:
            PayloadError: It is not framed, its schema is unknown, refused or incompatible with the
                reader's, or its bytes are not what the schema says.
            PlatformError: The registry could not be asked; nothing is said about the record.
        """
        stream = BytesIO(value)
        headers = headers_of(message)
        # The header first: a bare Avro value may begin with a zero byte too.
        schema_id: SchemaId | None = _header_id(headers) if headers else None
        if schema_id is None:
            schema_id = _prefix_id(value)
            stream.seek(5)
        known = self._known.get(schema_id)
        if known is None:
            known = self._learn(schema_id)
        if known.refusal:
            raise PayloadError(known.refusal, rule=known.rule)
        try:
            datum = fastavro.schemaless_reader(stream, known.schema, self._reader)
        except MemoryError:
            raise
        except Exception as error:
            raise PayloadError(
                f"found bytes that schema {schema_id} does not describe ({type(error).__name__})",
                rule="malformed",
            ) from error
        if stream.tell() != len(value):
            raise PayloadError(
                f"found {len(value) - stream.tell()} bytes after the record of schema {schema_id}",
                rule="trailing_bytes",
            )
        return copy.deepcopy(datum) if self._shares else datum

    def _learn(self, schema_id: SchemaId) -> _Known:
        schema = self._writers.writer_schema(schema_id)
        if schema is None:
            # Not remembered here: the registry's own cache forgets a 404 after a while.
            return _Known(
                None,
                f"found schema id {schema_id}, which the registry does not have",
                "unknown_schema",
            )
        known = self._examine(schema_id, schema)
        self._known[schema_id] = known
        return known

    def _examine(self, schema_id: SchemaId, schema: Any) -> _Known:
        if complaint := unsafe(schema):
            return _Known(None, f"schema {schema_id} is refused: {complaint}", "unsafe_schema")
        try:
            parsed = _parsed(schema)
            gap = "" if self._contract is None else _unresolvable(schema, self._contract.schema)
        except Exception as error:  # noqa: BLE001 - what is no schema may fail anywhere
            return _Known(
                None, f"schema {schema_id} is no Avro ({type(error).__name__})", "unsafe_schema"
            )
        if gap:
            return _Known(
                None,
                f"schema {schema_id} cannot be read as the input's contract: {gap}",
                "schema_incompatible",
            )
        return _Known(parsed)


def _header_id(headers: Headers) -> UUID | None:
    ids = {value for name, value in headers if name == ID_HEADER}
    if not ids:
        return None
    only = ids.pop()
    if ids or only is None or len(only) != 17 or only[0] != 1:
        raise PayloadError(
            f"found a `{ID_HEADER}` header that is not one 0x01 and 16 bytes", rule="framing"
        )
    return UUID(bytes=only[1:])


def _prefix_id(value: bytes) -> int:
    if value[0] != 0 or len(value) < 5:
        raise PayloadError(
            "found no schema id; expected 0x00 and four bytes before the record, "
            f"or a `{ID_HEADER}` header",
            rule="framing",
        )
    return int.from_bytes(value[1:5], "big")


def _unresolvable(writer: Any, reader: Any) -> str:
    """Why data of the writer's schema cannot be resolved to the reader's; empty where it can."""
    return "; ".join(f"{gap.field}: {gap.change}" for gap in breaks(reader, [writer], "BACKWARD"))


EXACT = "mesh-exact-decimal"


def _parsed(schema: Any) -> Any:
    """The schema as fastavro reads with it: exact decimals, defaults as the values they mean."""
    parsed: Any = fastavro.parse_schema(schema, _force=True)
    names = named_types(schema)
    for part in _parts(parsed):
        for field in part.get("fields", ()):
            if "default" in field:
                field["default"] = default_value(field["type"], field["default"], names)
    for part in _parts(parsed):
        if part.get("logicalType") == "decimal":
            # Without digits it is no decimal, by the specification, but plain bytes.
            part["logicalType"] = EXACT if part.get("precision") else None
    return parsed


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every type of a parsed schema that is written as a mapping."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _parts(branch)
    elif isinstance(schema, dict):
        yield schema
        for key in ("type", "items", "values"):
            yield from _parts(schema.get(key))
        for field in schema.get("fields", ()):
            yield from _parts(field["type"])


def _read_decimal(data: bytes, writer_schema: Any = None, _reader_schema: Any = None) -> Decimal:
    """The decimal as it was written; ValueError where it has more digits than its type.

    Digits are counted before they are made: that takes time by the square of their number.
    """
    unscaled = int.from_bytes(data, "big", signed=True)
    limit = 10 ** writer_schema["precision"]
    if not -limit < unscaled < limit:
        raise ValueError
    return exact_decimal(unscaled, writer_schema.get("scale", 0))


# Under a name of its own: fastavro's reader of `decimal` stays as it is for everybody else.
LOGICAL_READERS[f"bytes-{EXACT}"] = LOGICAL_READERS[f"fixed-{EXACT}"] = _read_decimal


def _has_changeable_default(schema: Any) -> bool:
    fields = [field for part in _parts(schema) for field in part.get("fields", ())]
    return any(isinstance(field.get("default"), list | dict) for field in fields)
