"""Source code that writes one Avro field, for the schemas that most facts have: flat and nullable.

Encoding is the largest single cost of a Python worker. fastavro walks the schema for every
record; a function generated for one schema does not. It writes the same bytes (a property test
holds the two against each other); every schema it does not cover goes to fastavro.

Source of the encoding: Apache Avro 1.12 specification, "Binary Encoding" and "Logical Types".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from math import isinf
from typing import Any
from uuid import UUID

from mesh_stream.pipeline.avro_values import EPOCH

LOCAL_EPOCH = EPOCH.replace(tzinfo=None)
EPOCH_DAY = date(1970, 1, 1).toordinal()

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1
LONG_MIN, LONG_MAX = -(1 << 63), (1 << 63) - 1


def varint(number: int) -> bytes:
    """A signed number in Avro's zig-zag variable-length form."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


class _Varints(dict[int, bytes]):
    """Small numbers by look-up, the rest by computing; never grows."""

    def __missing__(self, number: int) -> bytes:
        return varint(number)


_VARINTS = _Varints({number: varint(number) for number in range(-64, 8192)})

# A timestamp in milliseconds takes six bytes: two look-ups of fourteen bits with the continuation
# bits set, and the rest. The loop above costs five times as much.
_CHUNKS = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << 14)]
_ENDS = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 14)]
_CHUNKED_MIN, _CHUNKED_MAX = 1 << 27, (1 << 41) - 1


class _WrongTypeError(TypeError):
    """Raised by generated code where Python would accept what the schema does not."""


def _refuse() -> Any:
    raise _WrongTypeError


def millis(moment: datetime) -> int:
    """Whole milliseconds since the epoch, rounded down; TypeError without a time zone."""
    delta = moment - EPOCH
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def _micros(moment: datetime) -> int:
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _local_micros(moment: datetime) -> int:
    """A local timestamp has no zone: one that has is another moment for every reader."""
    delta = moment - LOCAL_EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _local_millis(moment: datetime) -> int:
    return _local_micros(moment) // 1000


def _day(day: date) -> int:
    if isinstance(day, datetime):
        raise _WrongTypeError
    return day.toordinal() - EPOCH_DAY


def _time_micros(moment: time) -> int:
    if moment.tzinfo is not None:
        raise _WrongTypeError
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1_000_000 + moment.microsecond


def _time_millis(moment: time) -> int:
    return _time_micros(moment) // 1000


def unscaled_by(schema: Mapping[str, Any]) -> tuple[Decimal, Any, int]:
    """What `unscaled` needs of a decimal's schema."""
    precision, scale = schema["precision"], schema.get("scale", 0)
    # Wide enough for any product of a value that fits; what does not fit raises, unrounded. The
    # exponent is bounded too: `1e999999` is eight bytes of JSON, its integer takes minutes.
    context = Context(
        prec=precision + scale + 2, Emax=precision, traps=[Inexact, InvalidOperation, Overflow]
    )
    return Decimal(10) ** scale, context.multiply, 10**precision


def unscaled(value: Decimal, shift: Decimal, multiply: Any, limit: int) -> int:
    """The decimal as a whole number of its smallest unit; exact, or an error."""
    scaled = multiply(value, shift)
    whole = int(scaled)
    if whole != scaled or not -limit < whole < limit:
        raise ValueError
    return whole


def decimal_bytes(unscaled: int) -> bytes:
    """Two's complement, big-endian, in as many bytes as fastavro writes: for -128, two."""
    return unscaled.to_bytes((unscaled.bit_length() + 8) >> 3, "big", signed=True)


_DOUBLE = struct.Struct("<d").pack
_FLOAT = struct.Struct("<f").pack


@dataclass(slots=True)
class Writer:
    """Collects the source that writes a record's fields.

    Attributes:
        lines: Statements, indented once.
        parts: Expressions of the bytes, in order.
        names: What the source refers to.
        strings: Field -> local that holds its UTF-8 bytes, where the field is a string.
        millis: Field -> local that holds its milliseconds, where it is a timestamp.
    """

    lines: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    millis: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def name(self, value: Any) -> str:
        """A name for a constant."""
        key = f"_c{len(self.names)}"
        self.names[key] = value
        return key

    def local(self) -> str:
        """A name for a local."""
        self.count += 1
        return f"t{self.count}"

    def add_field(self, name: str, schema: Any, value: str) -> bool:
        """Write one field; False where its type is not covered.

        Args:
            name: The field.
            schema: Its Avro type.
            value: Source of its value.
        """
        parts = self._write(name, schema, value, "  ")
        if parts is None:
            return False
        self.parts += parts
        return True

    def _write(self, name: str, schema: Any, value: str, indent: str) -> list[str] | None:
        while isinstance(schema, dict) and not isinstance(schema["type"], str):
            schema = schema["type"]
        if isinstance(schema, list):
            return self._nullable(name, schema, value, indent)
        kind, logical = kind_of(schema)
        x = self.local()
        self.lines.append(f"{indent}{x} = {value}")
        write = _WRITERS.get((kind, logical)) or (
            None if logical in _LOGICAL else _WRITERS.get((kind, None))
        )
        if write is None:
            return None
        parts: list[str] = write(self, x, indent, schema)
        if indent == "  ":
            if kind == "string":
                self.strings[name] = parts[1]
            elif logical == "timestamp-millis":
                self.millis[name] = x
            elif logical == "timestamp-micros":
                self.millis[name] = f"{x} // 1000"
        return parts

    def _nullable(self, name: str, schema: list[Any], value: str, indent: str) -> list[str] | None:
        if len(schema) != 2 or schema.count("null") != 1:
            return None
        null = schema.index("null")
        x, out = self.local(), self.local()
        self.lines.append(f"{indent}{x} = {value}")
        self.lines.append(f"{indent}if {x} is None:")
        self.lines.append(f"{indent}  {out} = {varint(null)!r}")
        self.lines.append(f"{indent}else:")
        parts = self._write(name, schema[1 - null], x, indent + "  ")
        if parts is None:
            return None
        self.lines.append(f"{indent}  {out} = _join(({varint(1 - null)!r}, {', '.join(parts)}))")
        return [out]


def kind_of(schema: Any) -> tuple[str, str | None]:
    """The base type and the logical type of a schema that is no union."""
    if isinstance(schema, str):
        return schema, None
    if isinstance(schema["type"], str):
        return schema["type"], schema.get("logicalType")
    return kind_of(schema["type"])


def _boolean(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    flags = w.name({True: b"\x01", False: b"\x00"})
    w.lines.append(f"{indent}if {x}.__class__ is not bool: _refuse()")
    return [f"{flags}[{x}]"]


def _whole(low: int, high: int) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        w.lines.append(
            f"{indent}if {x}.__class__ is not int or not {low} <= {x} <= {high}: _refuse()"
        )
        return [f"_varints[{x}]"]

    return write


def _number(pack: Any) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        w.lines.append(f"{indent}if {x}.__class__ is not float: {x} = _float({x})")
        return [f"{w.name(pack)}({x})"]

    return write


def _as_float(value: Any) -> float:
    """Whole numbers and decimals are numbers; a bool or a text is not."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _WrongTypeError
    number = float(value)
    if isinf(number) and not isinstance(value, float):
        raise _WrongTypeError
    return number


def _string(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    b = w.local()
    w.lines.append(f"{indent}{b} = {x}.encode()")
    return [f"_varints[len({b})]", b]


def _bytes(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    w.lines.append(f"{indent}if {x}.__class__ is not bytes: _refuse()")
    return [f"_varints[len({x})]", x]


def _fixed(w: Writer, x: str, indent: str, schema: Any) -> list[str]:
    size = schema["size"]
    w.lines.append(f"{indent}if {x}.__class__ is not bytes or len({x}) != {size}: _refuse()")
    return [x]


def _decimal(w: Writer, x: str, indent: str, schema: Any) -> list[str]:
    shift, multiply, limit = (w.name(part) for part in unscaled_by(schema))
    b = w.local()
    whole = f"_unscaled({x}, {shift}, {multiply}, {limit})"
    w.lines.append(f"{indent}if {x}.__class__ is not _decimal_type: {x} = _to_decimal({x})")
    if schema["type"] == "fixed":
        w.lines.append(f"{indent}{b} = {whole}.to_bytes({schema['size']}, 'big', signed=True)")
        return [b]
    w.lines.append(f"{indent}{b} = _decimal_bytes({whole})")
    return [f"_varints[len({b})]", b]


def to_decimal(value: Any) -> Decimal:
    """A whole number is an exact decimal; a float is not, however it looks."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise _WrongTypeError


def _timestamp(convert: str) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        a, b, c = w.local(), w.local(), w.local()
        w.lines += [
            f"{indent}if {x}.__class__ is not int: {x} = {convert}({x})",
            f"{indent}if {_CHUNKED_MIN} <= {x} <= {_CHUNKED_MAX}:",
            f"{indent}  {a} = _chunks[{x} << 1 & 16383]",
            f"{indent}  {b} = _chunks[{x} >> 13 & 16383]",
            f"{indent}  {c} = _ends[{x} >> 27]",
            f"{indent}else:",
            f"{indent}  if not {LONG_MIN} <= {x} <= {LONG_MAX}: _refuse()",
            f"{indent}  {a} = _varints[{x}]; {b} = {c} = b''",
        ]
        return [a, b, c]

    return write


def _converted(convert: str, low: int, high: int) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        w.lines.append(f"{indent}if {x}.__class__ is not int: {x} = {convert}({x})")
        w.lines.append(f"{indent}if not {low} <= {x} <= {high}: _refuse()")
        return [f"_varints[{x}]"]

    return write


def _uuid(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    b = w.local()
    w.lines.append(f"{indent}{b} = _uuid_text({x}).encode()")
    return [f"_varints[len({b})]", b]


def _uuid_text(value: Any) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


def _enum(w: Writer, x: str, _indent: str, schema: Any) -> list[str]:
    symbols = w.name({symbol: varint(i) for i, symbol in enumerate(schema["symbols"])})
    return [f"{symbols}[{x}]"]


_WRITERS: Mapping[tuple[str, str | None], Any] = {
    ("boolean", None): _boolean,
    ("int", None): _whole(INT_MIN, INT_MAX),
    ("long", None): _whole(LONG_MIN, LONG_MAX),
    ("float", None): _number(_FLOAT),
    ("double", None): _number(_DOUBLE),
    ("string", None): _string,
    ("string", "uuid"): _uuid,
    ("bytes", None): _bytes,
    ("fixed", None): _fixed,
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("long", "timestamp-millis"): _timestamp("_millis"),
    ("long", "timestamp-micros"): _timestamp("_micros"),
    ("long", "local-timestamp-millis"): _timestamp("_local_millis"),
    ("long", "local-timestamp-micros"): _timestamp("_local_micros"),
    ("int", "date"): _converted("_day", INT_MIN, INT_MAX),
    ("int", "time-millis"): _converted("_time_millis", 0, 86_399_999),
    ("long", "time-micros"): _converted("_time_micros", 0, 86_399_999_999),
    ("enum", None): _enum,
}

# Logical types that mean something; the specification has readers ignore any other.
_LOGICAL = {
    "decimal", "uuid", "date", "time-millis", "time-micros", "timestamp-millis",
    "timestamp-micros", "timestamp-nanos", "local-timestamp-millis", "local-timestamp-micros",
    "local-timestamp-nanos", "duration",
}  # fmt: skip

SCOPE: Mapping[str, Any] = {
    "_join": b"".join,
    "_varints": _VARINTS,
    "_chunks": _CHUNKS,
    "_ends": _ENDS,
    "_refuse": _refuse,
    "_float": _as_float,
    "_decimal_type": Decimal,
    "_to_decimal": to_decimal,
    "_unscaled": unscaled,
    "_decimal_bytes": decimal_bytes,
    "_millis": millis,
    "_micros": _micros,
    "_local_millis": _local_millis,
    "_local_micros": _local_micros,
    "_day": _day,
    "_time_millis": _time_millis,
    "_time_micros": _time_micros,
    "_uuid_text": _uuid_text,
}
"""What generated source may call."""
