"""Reading Avro that somebody else wrote, so that no message can crash or swallow a worker.

fastavro trusts its input: a recursive schema plus a few kilobytes overflow the C stack, an array
of nulls plus seven bytes ask for 2^40 items, and bytes left over are ignored. All three are ruled
out here: a writer's schema is linted once, on first sight of its id, and every value must be
consumed to its last byte. After that, memory is bounded by the message's size.

Framing: Confluent wire format (0x00, four bytes big-endian schema id, Avro binary), or the header
form, `__value_schema_id` = 0x01 and a 16-byte GUID, with the bare Avro binary as the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol
from uuid import UUID

import fastavro
from fastavro.schema import SchemaParseException

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.record import Message
from mesh_stream.product.compatibility import breaks
from mesh_stream.product.product import Contract

ID_HEADER = "__value_schema_id"
MAX_DEPTH = 32
MAX_FIELDS = 2_000

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
        self._reader = fastavro.parse_schema(dict(reader.schema)) if reader else None
        self._known: dict[SchemaId, _Known] = {}

    def read(self, value: bytes, message: Message) -> Any:
        """Decode one value.

        Raises:
            PayloadError: It is not framed, its schema is unknown, refused or incompatible with the
                reader's, or its bytes are not what the schema says.
            PlatformError: The registry could not be asked; nothing is said about the record.
        """
        stream = BytesIO(value)
        schema_id: SchemaId
        if value[0] == 0 and len(value) >= 5:
            schema_id = int.from_bytes(value[1:5], "big")
            stream.seek(5)
        else:
            schema_id = _header_id(message)
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
        return datum

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
        if complaint := lint(schema):
            return _Known(None, f"schema {schema_id} is refused: {complaint}", "unsafe_schema")
        try:
            parsed = fastavro.parse_schema(schema)
        except (SchemaParseException, KeyError, TypeError, ValueError) as error:
            return _Known(
                None, f"schema {schema_id} is no Avro ({type(error).__name__})", "unsafe_schema"
            )
        if self._contract is not None and (gap := _unresolvable(schema, self._contract.schema)):
            return _Known(
                None,
                f"schema {schema_id} cannot be read as the input's contract: {gap}",
                "schema_incompatible",
            )
        return _Known(parsed)


def _header_id(message: Message) -> UUID:
    ids = [value for name, value in message.headers() or () if name == ID_HEADER]
    if len(set(ids)) == 1 and ids[0] is not None and len(ids[0]) == 17 and ids[0][0] == 1:
        return UUID(bytes=ids[0][1:])
    if ids:
        raise PayloadError(
            f"found a `{ID_HEADER}` header that is not one 0x01 and 16 bytes", rule="framing"
        )
    raise PayloadError(
        "found no schema id; expected 0x00 and four bytes before the record, "
        f"or a `{ID_HEADER}` header",
        rule="framing",
    )


def lint(schema: Any) -> str:
    """Say why a writer's schema is unsafe to decode with; empty where it is safe.

    Unsafe are: a named type inside itself (its depth is the message's to choose), an array whose
    items can be zero bytes long (their number is the message's to choose), and a schema deeper than
    `MAX_DEPTH` or with more than `MAX_FIELDS` fields.
    """
    try:
        _measure(schema, _Walk({}, [], 0), "", 0)
    except _UnsafeError as unsafe:
        return str(unsafe)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"it is no Avro schema ({type(error).__name__})"
    return ""


class _UnsafeError(Exception):
    pass


@dataclass(slots=True)
class _Walk:
    sizes: dict[str, int]
    open_names: list[str]
    fields: int


_ZERO_SIZE = {"null": 0}
_PRIMITIVES = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip


def _measure(schema: Any, walk: _Walk, namespace: str, depth: int) -> int:
    """The fewest bytes a value of the schema takes (Avro specification, binary encoding)."""
    if depth > MAX_DEPTH:
        raise _UnsafeError(f"it is nested deeper than {MAX_DEPTH}")
    if isinstance(schema, list):
        # A union writes its branch's index first, so that it is never empty.
        return 1 + min([_measure(branch, walk, namespace, depth + 1) for branch in schema] or [0])
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return _PRIMITIVES[schema]
        return _named(schema, walk, namespace)
    kind = schema["type"]
    if isinstance(kind, (dict, list)):
        return _measure(kind, walk, namespace, depth + 1)
    match kind:
        case "array":
            if _measure(schema["items"], walk, namespace, depth + 1) == 0:
                raise _UnsafeError("it has an array of items that take no bytes")
            return 1
        case "map":
            _measure(schema["values"], walk, namespace, depth + 1)
            return 1
        case "record" | "error":
            return _record(schema, walk, namespace, depth)
        case "enum" | "fixed":
            size = schema["size"] if kind == "fixed" else 1
            walk.sizes[_full_name(schema, namespace)] = size
            return int(size)
        case _:
            return _measure(kind, walk, namespace, depth + 1)


def _record(schema: Mapping[str, Any], walk: _Walk, namespace: str, depth: int) -> int:
    name = _full_name(schema, namespace)
    inner = name.rpartition(".")[0]
    walk.open_names.append(name)
    size = 0
    for field in schema["fields"]:
        walk.fields += 1
        if walk.fields > MAX_FIELDS:
            raise _UnsafeError(f"it has more than {MAX_FIELDS} fields")
        size += _measure(field["type"], walk, inner, depth + 1)
    walk.open_names.pop()
    walk.sizes[name] = size
    return size


def _named(name: str, walk: _Walk, namespace: str) -> int:
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    for candidate in (full, name):
        if candidate in walk.open_names:
            raise _UnsafeError(f"the type {candidate} contains itself")
        if candidate in walk.sizes:
            return walk.sizes[candidate]
    raise _UnsafeError(f"the type {name} is not defined")


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name: str = schema["name"]
    if "." in name:
        return name
    space = schema.get("namespace", namespace)
    return f"{space}.{name}" if space else name


Compatible = Callable[[Any, Any], list[str]]


def _unresolvable(writer: Any, reader: Any) -> str:
    """Why data of the writer's schema cannot be resolved to the reader's; empty where it can."""
    return "; ".join(f"{gap.field}: {gap.change}" for gap in breaks(reader, [writer], "BACKWARD"))
