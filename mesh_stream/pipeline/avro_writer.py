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
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


def _millis(moment: datetime) -> int:
    delta = moment - EPOCH
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000


def _micros(moment: datetime) -> int:
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _day(day: date) -> int:
    if isinstance(day, datetime):
        raise _WrongTypeError
    return day.toordinal() - EPOCH_DAY


def _time_micros(moment: time) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * 1_000_000 + moment.microsecond


def _time_millis(moment: time) -> int:
    return _time_micros(moment) // 1000


def _unscaled(value: Decimal, shift: Decimal, multiply: Any, limit: int) -> int:
    """The decimal as a whole number of its smallest unit; exact, or an error."""
    scaled = multiply(value, shift)
    unscaled = int(scaled)
    if unscaled != scaled or not -limit < unscaled < limit:
        raise ValueError
    return unscaled


def decimal_bytes(unscaled: int) -> bytes:
    """Two's complement, big-endian, in the fewest bytes that fastavro would write."""
    if unscaled < 0:
        return unscaled.to_bytes(((-unscaled - 1).bit_length() + 8) >> 3, "big", signed=True)
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
        if isinstance(schema, list):
            return self._nullable(name, schema, value, indent)
        kind, logical = _kind(schema)
        x = self.local()
        self.lines.append(f"{indent}{x} = {value}")
        write = _WRITERS.get((kind, logical)) or (
            None if logical in _LOGICAL else _WRITERS.get((kind, None))
        )
        if write is None:
            return None
        parts: list[str] = write(self, x, indent, schema)
        if indent == "  ":
            if kind == "string" and logical is None:
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


def _kind(schema: Any) -> tuple[str, str | None]:
    if isinstance(schema, str):
        return schema, None
    if isinstance(schema["type"], str):
        return schema["type"], schema.get("logicalType")
    return _kind(schema["type"])


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
    return float(value)


def _string(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    b = w.local()
    w.lines.append(f"{indent}{b} = {x}.encode()")
    return [f"_varints[len({b})]", b]


def _bytes(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    w.lines.append(f"{indent}if {x}.__class__ is not bytes: _refuse()")
    return [f"_varints[len({x})]", x]


def _decimal(w: Writer, x: str, indent: str, schema: Any) -> list[str]:
    precision, scale = schema["precision"], schema.get("scale", 0)
    # Wide enough for any product of a value that fits; what does not fit raises, unrounded.
    context = Context(prec=precision + scale + 2, traps=[Inexact, InvalidOperation])
    shift = w.name(Decimal(10) ** scale)
    limit = w.name(10**precision)
    multiply = w.name(context.multiply)
    b = w.local()
    w.lines += [
        f"{indent}if {x}.__class__ is not _decimal_type: {x} = _to_decimal({x})",
        f"{indent}{b} = _decimal_bytes(_unscaled({x}, {shift}, {multiply}, {limit}))",
    ]
    return [f"_varints[len({b})]", b]


def _to_decimal(value: Any) -> Decimal:
    """A whole number is an exact decimal; a float is not, however it looks."""
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
    ("bytes", "decimal"): _decimal,
    ("long", "timestamp-millis"): _timestamp("_millis"),
    ("long", "timestamp-micros"): _timestamp("_micros"),
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
    "_to_decimal": _to_decimal,
    "_unscaled": _unscaled,
    "_decimal_bytes": decimal_bytes,
    "_millis": _millis,
    "_micros": _micros,
    "_day": _day,
    "_time_millis": _time_millis,
    "_time_micros": _time_micros,
    "_uuid_text": _uuid_text,
}
"""What generated source may call."""
