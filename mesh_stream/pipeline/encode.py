"""The last stage: a judged record into a fact, framed as the registry's clients expect.

The value is 0x00, the pinned schema id in four bytes big-endian, and Avro binary (Confluent wire
format). What does not fit the contract exactly is refused, never bent: no decimal is rounded, no
timestamp is given a zone it does not have, no null stands where none may. Finer than its type is
only a moment: its microseconds are cut where the type counts milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import fastavro

from mesh_stream.errors import ContractError
from mesh_stream.pipeline.avro_values import default_value, named_types
from mesh_stream.pipeline.avro_writer import SCOPE, Writer, joined, millis
from mesh_stream.pipeline.conform import Conform, MisfitError, conform_to
from mesh_stream.pipeline.record import Fact, Message
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.product import Contract, Output

Encode = Callable[..., Fact]
"""(record, message) -> fact; of a fold, also when the input record arrived: a third argument."""


@dataclass(frozen=True, slots=True)
class FactSource:
    """Source code that makes the fact of a record `r` of one type.

    Attributes:
        lines: Statements that come first.
        fact: An expression, in which `value` is what `value` below says, and `arrived` known.
        value: An expression: the fact's value.
        given: What `r` was before the statements.
        names: What they refer to.
    """

    lines: Sequence[str]
    fact: str
    value: str
    given: str
    names: Mapping[str, Any]


def fact_source(
    contract: Contract, *, output: Output, schema_id: int, shape: Shape, of_fold: bool
) -> FactSource:
    """Write what encodes records of one type; as `compile_encode`. Raises whatever does not fit."""
    frame = b"\x00" + schema_id.to_bytes(4, "big")
    names: dict[str, Any] = {**SCOPE, "_fact": Fact, "_frame": frame}
    writer = Writer()
    named = named_types(contract.schema)
    flat = all(
        writer.add_field(field["name"], field["type"], _source_of(field, shape, names, named))
        for field in contract.schema["fields"]
    )
    if flat:
        names |= writer.names
        given, lines = "r", [line[2:] for line in writer.lines]
        value = joined(["_frame", *writer.parts])
    else:
        conform, write = conform_to(contract.schema), _fastavro_writer(contract)
        names |= {"_conform": conform, "_write": write}
        # From here on the record is plain data: a dict of the contract's fields.
        writer, shape = Writer(), Shape(dict)
        given, lines = "given", ["given = r", "r = _conform(r)"]
        value = "_frame + _write(r)"
    key = _key(output, writer, shape, names)
    event_time = _event_time(output, contract, writer, shape, names, of_fold=of_fold)
    return FactSource(lines, f"_fact(value, {key}, {event_time}, arrived)", value, given, names)


def compile_encode(
    contract: Contract,
    *,
    output: Output,
    schema_id: int,
    record_bytes: int,
    shape: Shape,
    of_fold: bool = False,
) -> Encode:
    """Make the stage for records of one type.

    Args:
        contract: The facts' schema.
        output: Which fields are the key and the event time.
        schema_id: The registry's id of the contract, looked up at start.
        record_bytes: Largest value, in bytes, its frame included.
        shape: How the record type's fields are read.
        of_fold: Whether what stands for the input record is an event or a window: its timestamp is
            then when it happened, and when it arrived is said beside it.

    Returns:
        `Encode`; raises `ContractError` naming the field that does not fit.
    """
    made = fact_source(contract, output=output, schema_id=schema_id, shape=shape, of_fold=of_fold)
    source = "\n".join(
        [
            "def encode(r, m, arrived):" if of_fold else "def encode(r, m):",
            " try:",
            *(f"  {line}" for line in made.lines),
            f"  value = {made.value}",
            *(() if of_fold else (f"  {line}" for line in ARRIVED)),
            f"  fact = {made.fact}",
            " except MemoryError:",
            "  raise",
            " except Exception as error:",
            f"  raise _explain({made.given}, error) from error",
            f" if len(value) > {record_bytes}: _too_large(value, {record_bytes})",
            " return fact",
        ]
    )
    explain = _explainer(conform_to(contract.schema))
    scope = {**made.names, "_explain": explain, "_too_large": _too_large}
    # Built from field names (Avro identifiers) and constants passed by reference.
    exec(compile(source, "<encode>", "exec"), scope)  # noqa: S102
    encode: Encode = scope["encode"]
    return encode


# Not by way of `arrival`, in the generated code: a call for every fact would cost as much again.
ARRIVED = ("kind, arrived = m.timestamp()", "if not kind: arrived = -1")
"""Source code that says when the record `m` arrived."""


def _source_of(
    field: Mapping[str, Any], shape: Shape, names: dict[str, Any], named: Mapping[str, Any]
) -> str:
    """Source of a field's value, its default included."""
    if "default" not in field:
        return shape.value(field["name"])
    default = f"_d{len(names)}"
    names[default] = default_value(field["type"], field["default"], named)
    return shape.value(field["name"], default=default)


def _key(output: Output, writer: Writer, shape: Shape, names: dict[str, Any]) -> str:
    if output.key is None:
        return "m.key()"
    if output.key in writer.strings:
        return writer.strings[output.key]
    names["_key_bytes"] = _key_bytes
    return f"_key_bytes({shape.value(output.key)}, {output.key!r})"


def _key_bytes(value: Any, field: str) -> bytes:
    if value is None:
        raise MisfitError("null", "a value: it is the record key", field)
    return value if isinstance(value, bytes) else str(value).encode()


def _event_time(
    output: Output,
    contract: Contract,
    writer: Writer,
    shape: Shape,
    names: dict[str, Any],
    *,
    of_fold: bool,
) -> str:
    if output.event_time is None:
        return "m.timestamp()[1]" if of_fold else "arrived"
    if output.event_time in writer.millis:
        return writer.millis[output.event_time]
    names["_moment"] = _moment
    units = 1000 if "micros" in str(contract.fields[output.event_time]) else 1
    return f"_moment({shape.value(output.event_time)}, {units})"


def arrival(message: Message) -> int:
    """A record's own timestamp, in milliseconds since the epoch; -1 where it carries none."""
    kind, timestamp = message.timestamp()
    return timestamp if kind else -1


def _moment(value: Any, units: int) -> int:
    """A fact's event time in milliseconds, of which a number has so many units; -1 for a null."""
    if value is None:
        return -1
    return millis(value) if isinstance(value, datetime) else int(value) // units


def _too_large(value: bytes, record_bytes: int) -> None:
    raise ContractError(
        f"the fact takes {len(value)} bytes; expected at most {record_bytes} "
        f"(`limits.record_bytes`)",
        rule="oversize",
    )


def _fastavro_writer(contract: Contract) -> Callable[[dict[str, Any]], bytes]:
    schema = fastavro.parse_schema(dict(contract.schema), _force=True)

    def write(plain: dict[str, Any]) -> bytes:
        stream = BytesIO()
        fastavro.schemaless_writer(stream, schema, plain)
        return stream.getvalue()

    return write


def _explainer(conform: Conform) -> Callable[[Any, Exception], ContractError]:
    """What is wrong with a record that did not encode: part by part, off the fast path."""

    def explain(record: Any, error: Exception) -> ContractError:
        try:
            conform(record)
        except MisfitError as misfit:
            error = misfit
        if isinstance(error, MisfitError):
            return ContractError(
                f"field {error.place}: found {error.found}; expected {error.expected}",
                rule="schema",
            )
        return ContractError(
            f"the record does not fit the schema ({type(error).__name__})", rule="schema"
        )

    return explain
