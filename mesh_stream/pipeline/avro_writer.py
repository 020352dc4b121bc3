"""Source code that writes one Avro field, for the schemas that most facts have: flat and nullable.

Encoding is the largest single cost of a Python worker. fastavro walks the schema for every
record; a function generated for one schema does not. It writes the same bytes (a property test
holds the two against each other); every schema it does not cover goes to fastavro.

Each field is a few pieces of bytes, most of them looked up; those of all fields are joined at once.

Source of the encoding: Apache Avro 1.12 specification, "Binary Encoding" and "Logical Types".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from math import isinf
from typing import Any
from uuid import UUID

from mesh_stream.pipeline.avro_numbers import (
    BYTES,
    HIGH_BITS,
    HIGH_BYTES,
    INT_MAX,
    INT_MIN,
    INTS,
    LONG_MAX,
    LONG_MIN,
    LONGS,
    LOW_BITS,
    decimal_bytes,
    unscaling,
    varint,
)
from mesh_stream.pipeline.avro_values import EPOCH

LOCAL_EPOCH = EPOCH.replace(tzinfo=None)
EPOCH_DAY = date(1970, 1, 1).toordinal()


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


_DOUBLE = struct.Struct("<d").pack
_FLOAT = struct.Struct("<f").pack


@dataclass(slots=True)
class Writer:
    """Collects the source that writes a record's fields.

    Attributes:
        lines: Statements, indented once.
        parts: Expressions of the bytes, in order.
        names: What the source refers to.
        strings: Field -> local that holds its text in UTF-8, where the field is a string.
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
                self.strings[name] = parts[-1]
            elif logical == "timestamp-millis":
                self.millis[name] = x
            elif logical == "timestamp-micros":
                self.millis[name] = f"{x} // 1000"
        return parts

    def _nullable(self, name: str, schema: list[Any], value: str, indent: str) -> list[str] | None:
        if len(schema) != 2 or schema.count("null") != 1:
            return None
        null = schema.index("null")
        x, branch = self.local(), self.local()
        at = len(self.lines)
        parts = self._write(name, schema[1 - null], x, indent + "  ")
        if parts is None:
            return None
        outs = [branch, *(self.local() for _ in parts)]
        filled = "; ".join(f"{out} = {part}" for out, part in zip(outs[1:], parts, strict=True))
        self.lines[at:at] = [
            f"{indent}{x} = {value}",
            f"{indent}if {x} is None:",
            f"{indent}  {branch} = {varint(null)!r}",
            f"{indent}  {' = '.join(outs[1:])} = b''",
            f"{indent}else:",
            f"{indent}  {branch} = {varint(1 - null)!r}",
        ]
        self.lines.append(f"{indent}  {filled}")
        return outs


def joined(parts: Iterable[str]) -> str:
    """Source of the bytes that expressions make together."""
    return f"_join(({', '.join(parts)},))"


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


def _whole(numbers: str) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        # A float or a bool would find the whole number that it equals.
        w.lines.append(f"{indent}if {x}.__class__ is not int: _refuse()")
        return [f"{numbers}[{x}]"]

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
    # Not the text's own method: a subclass may have another.
    w.lines.append(f"{indent}{x} = _utf8({x})")
    return [f"_longs[len({x})]", x]


def _bytes(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    w.lines.append(f"{indent}if {x}.__class__ is not bytes: _refuse()")
    return [f"_longs[len({x})]", x]


def _fixed(w: Writer, x: str, indent: str, schema: Any) -> list[str]:
    size = schema["size"]
    w.lines.append(f"{indent}if {x}.__class__ is not bytes or len({x}) != {size}: _refuse()")
    return [x]


def _decimal(w: Writer, x: str, indent: str, schema: Any) -> list[str]:
    scale_up, scale, exact = (w.name(part) for part in unscaling(schema))
    n = w.local()
    w.lines += [
        f"{indent}if {x}.__class__ is not _decimal_type: {x} = _to_decimal({x})",
        f"{indent}{n} = int({exact}({scale_up}({x}, {scale})))",
    ]
    if schema["type"] == "fixed":
        return [f"{n}.to_bytes({schema['size']}, _big, signed=True)"]
    high, low = w.local(), w.local()
    w.lines += [
        # Two or three bytes, as most amounts of money have: up to 83,886.07, in cents.
        f"{indent}if 256 <= {n} <= 0x7FFFFF:",
        f"{indent}  {high} = _high_bytes[{n} >> 8]; {low} = _bytes[{n} & 255]",
        f"{indent}else:",
        f"{indent}  {high} = _decimal_bytes({n}); {low} = b''",
    ]
    return [high, low]


def to_decimal(value: Any) -> Decimal:
    """A whole number is an exact decimal; a float is not, however it looks."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    raise _WrongTypeError


def _timestamp(convert: str) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        low, high = w.local(), w.local()
        w.lines += [
            f"{indent}if {x}.__class__ is not int: {convert.format(x=x)}",
            f"{indent}elif not {LONG_MIN} <= {x} <= {LONG_MAX}: _refuse()",
            f"{indent}if {x} >= 8192:",
            f"{indent}  {low} = _low_bits[{x} & 8191]; {high} = _high_bits[{x} >> 13]",
            f"{indent}else:",
            f"{indent}  {low} = _longs[{x}]; {high} = b''",
        ]
        return [low, high]

    return write


# The common one without a call; it is `millis`.
_MILLIS = (
    "{x} = {x} - _epoch; "
    "{x} = {x}.days * 86_400_000 + {x}.seconds * 1_000 + {x}.microseconds // 1_000"
)


def _converted(convert: str, low: int, high: int) -> Any:
    def write(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
        w.lines.append(f"{indent}if {x}.__class__ is not int: {x} = {convert}({x})")
        w.lines.append(f"{indent}if not {low} <= {x} <= {high}: _refuse()")
        return [f"_longs[{x}]"]

    return write


def _uuid(w: Writer, x: str, indent: str, _schema: Any) -> list[str]:
    b = w.local()
    w.lines.append(f"{indent}{b} = _uuid_text({x})")
    return [f"_longs[len({b})]", b]


def _uuid_text(value: Any) -> bytes:
    return str(value if isinstance(value, UUID) else UUID(value)).encode()


def _enum(w: Writer, x: str, _indent: str, schema: Any) -> list[str]:
    symbols = w.name({symbol: varint(i) for i, symbol in enumerate(schema["symbols"])})
    return [f"{symbols}[{x}]"]


_WRITERS: Mapping[tuple[str, str | None], Any] = {
    ("boolean", None): _boolean,
    ("int", None): _whole("_ints"),
    ("long", None): _whole("_longs"),
    ("float", None): _number(_FLOAT),
    ("double", None): _number(_DOUBLE),
    ("string", None): _string,
    ("string", "uuid"): _uuid,
    ("bytes", None): _bytes,
    ("fixed", None): _fixed,
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
    ("long", "timestamp-millis"): _timestamp(_MILLIS),
    ("long", "timestamp-micros"): _timestamp("{x} = _micros({x})"),
    ("long", "local-timestamp-millis"): _timestamp("{x} = _local_millis({x})"),
    ("long", "local-timestamp-micros"): _timestamp("{x} = _local_micros({x})"),
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
    "_big": "big",
    "_bytes": BYTES,
    "_ints": INTS,
    "_longs": LONGS,
    "_low_bits": LOW_BITS,
    "_high_bits": HIGH_BITS,
    "_high_bytes": HIGH_BYTES,
    "_refuse": _refuse,
    "_utf8": str.encode,
    "_float": _as_float,
    "_decimal_type": Decimal,
    "_to_decimal": to_decimal,
    "_decimal_bytes": decimal_bytes,
    "_epoch": EPOCH,
    "_micros": _micros,
    "_local_millis": _local_millis,
    "_local_micros": _local_micros,
    "_day": _day,
    "_time_millis": _time_millis,
    "_time_micros": _time_micros,
    "_uuid_text": _uuid_text,
}
"""What generated source may call."""
