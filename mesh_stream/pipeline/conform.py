"""Holding a record against the contract, part by part.

Two need this: contracts with nested types, whose records are made plain data before fastavro writes
them; and every record that did not encode, to learn which part of it does not fit. Both judge each
plain value by the very code that the generated writer runs (`avro_writer`), so that a nested field
is as strict as a flat one: nothing is rounded, guessed or silently left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from mesh_stream.errors import CodeError
from mesh_stream.pipeline.avro_numbers import unscaled
from mesh_stream.pipeline.avro_values import default_value, exact_decimal, named_types
from mesh_stream.pipeline.avro_writer import (
    SCOPE,
    Writer,
    kind_of,
    to_decimal,
)
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.schema import in_words

Conform = Callable[[Any], Any]
"""A value -> the same as plain data that fastavro writes; raises `MisfitError`."""

_NO_DEFAULT = object()


class MisfitError(Exception):
    """A part of a record is not what the schema says.

    Attributes:
        place: Where, such as `items[2].price`; field names and positions only, never a value.
        found: What stands there, without the value.
        expected: What may stand there.
    """

    def __init__(self, found: str, expected: str, place: str = "") -> None:
        super().__init__(f"{place}: found {found}; expected {expected}")
        self.found = found
        self.expected = expected
        self.place = place

    def inside(self, outer: str) -> MisfitError:
        """The same, seen from the part around it."""
        joint = "." if self.place and not self.place.startswith("[") else ""
        return MisfitError(self.found, self.expected, f"{outer}{joint}{self.place}")


def conform_to(schema: Any) -> Conform:
    """Compile an Avro schema, linted, into a function that holds values against it."""
    return _compile(schema, named_types(schema))


def _compile(schema: Any, names: Mapping[str, Any]) -> Conform:
    if isinstance(schema, list):
        return _union(schema, names)
    kind = schema if isinstance(schema, str) else schema["type"]
    match kind:
        case dict() | list():
            return _compile(kind, names)
        case "record":
            return _record(schema, names)
        case "array":
            return _array(_compile(schema["items"], names), in_words(schema))
        case "map":
            return _map(_compile(schema["values"], names), in_words(schema))
        case "null":
            return _null
        case str() if kind in names:
            return _compile(names[kind], names)
        case _:
            return _leaf(schema)


def _leaf(schema: Any) -> Conform:
    writer = Writer()
    covered = writer.add_field("", schema, "r")
    assert covered, f"no writer for {in_words(schema)}"
    source = "\n".join(["def check(r):", *writer.lines, f"  return ({', '.join(writer.parts)},)"])
    scope = {**SCOPE, **writer.names}
    # Made of the writer's own lines; names and constants of the schema are passed by reference.
    exec(compile(source, "<check>", "exec"), scope)  # noqa: S102
    check = scope["check"]
    plain = _PLAIN.get(kind_of(schema), _as_it_is)
    expected = _expected(schema)

    def conform(value: Any) -> Any:
        try:
            check(value)
        except MemoryError:
            raise
        except Exception as error:
            raise MisfitError(_found(value, schema), expected) from error
        return plain(value, schema)

    return conform


def _null(value: Any) -> None:
    if value is not None:
        raise MisfitError(_found(value, None), "null")


def _record(schema: Mapping[str, Any], names: Mapping[str, Any]) -> Conform:
    fields = [
        (
            field["name"],
            _compile(field["type"], names),
            default_value(field["type"], field["default"], names)
            if "default" in field
            else _NO_DEFAULT,
            in_words(field["type"]),
        )
        for field in schema["fields"]
    ]
    shapes: dict[type, Shape] = {}
    expected = in_words(schema)

    def conform(record: Any) -> dict[str, Any]:
        kind = record.__class__
        if kind not in shapes:
            try:
                shapes[kind] = Shape(kind)
            except CodeError as error:
                raise MisfitError(_found(record, schema), expected) from error
        shape = shapes[kind]
        plain = {}
        for name, part, default, wanted in fields:
            try:
                value = shape.read(record, name)
            except (KeyError, AttributeError):
                if default is _NO_DEFAULT:
                    raise MisfitError("nothing", wanted, name) from None
                value = default
            except MemoryError:
                raise
            except Exception as error:
                found = f"a field that raises {type(error).__name__} when it is read"
                raise MisfitError(found, wanted, name) from error
            try:
                plain[name] = part(value)
            except MisfitError as misfit:
                raise misfit.inside(name) from misfit.__cause__
        return plain

    return conform


def _union(schema: Sequence[Any], names: Mapping[str, Any]) -> Conform:
    nullable = "null" in schema
    parts = [_compile(branch, names) for branch in schema if branch != "null"]

    def conform(value: Any) -> Any:
        if value is None and nullable:
            return None
        misfits = []
        for part in parts:
            try:
                return part(value)
            except MisfitError as misfit:
                misfits.append(misfit)
        if len(misfits) == 1:
            raise misfits[0]
        raise MisfitError(_found(value, schema), in_words(schema)) from misfits[0]

    return conform


def _array(part: Conform, expected: str) -> Conform:
    def conform(value: Any) -> list[Any]:
        if not isinstance(value, list | tuple | set | frozenset):
            raise MisfitError(_found(value, None), expected)
        plain = []
        for index, item in enumerate(value):
            try:
                plain.append(part(item))
            except MisfitError as misfit:
                raise misfit.inside(f"[{index}]") from misfit.__cause__
        return plain

    return conform


def _map(part: Conform, expected: str) -> Conform:
    def conform(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise MisfitError(_found(value, None), expected)
        plain = {}
        for key, item in value.items():
            # The key is the record's own and stays out of the place.
            if not isinstance(key, str) or not _is_unicode(key):
                raise MisfitError("a key that is no Unicode text", expected)
            try:
                plain[key] = part(item)
            except MisfitError as misfit:
                raise misfit.inside("[...]") from misfit.__cause__
        return plain

    return conform


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_it_is(value: Any, _schema: Any) -> Any:
    return value


def _decimal(value: Any, schema: Mapping[str, Any]) -> Decimal:
    """Written out to the schema's scale: fastavro counts digits and signs that do not matter."""
    return exact_decimal(unscaled(to_decimal(value), schema), schema.get("scale", 0))


_PLAIN: Mapping[tuple[str, str | None], Callable[[Any, Any], Any]] = {
    ("float", None): lambda value, _: float(value),
    ("double", None): lambda value, _: float(value),
    ("enum", None): lambda value, _: str(value),
    ("string", "uuid"): lambda value, _: str(value if isinstance(value, UUID) else UUID(value)),
    ("bytes", "decimal"): _decimal,
    ("fixed", "decimal"): _decimal,
}


def _expected(schema: Any) -> str:
    if isinstance(schema, dict) and schema["type"] == "enum":
        return f"one of {', '.join(schema['symbols'])}"
    if isinstance(schema, dict) and schema["type"] == "fixed" and "logicalType" not in schema:
        return f"{schema['size']} bytes"
    return in_words(schema)


def _found(value: Any, schema: Any) -> str:
    """The value's type, and what about it can be said without saying the value."""
    kind, logical = kind_of(schema) if isinstance(schema, str | dict) else ("", None)
    match value:
        case None:
            return "null"
        case bool():
            return "a bool"
        case int():
            whole = kind in ("int", "long") or logical == "decimal"
            return "an int out of its range" if whole else "an int"
        case Decimal() if not value.is_finite():
            return "a decimal that is no number"
        case Decimal():
            digits, exponent = len(value.as_tuple().digits), value.as_tuple().exponent
            return f"a decimal of {digits} digits and exponent {exponent}"
        case datetime() if value.tzinfo is None and not (logical or "").startswith("local"):
            return "a datetime without a time zone"
        case str() if kind in ("string", "enum"):
            wrong = {"string": "that is no Unicode", "enum": "that is no symbol of it"}[kind]
            return "text that is no UUID" if logical == "uuid" else f"text {wrong}"
        case bytes() if kind == "fixed":
            return f"{len(value)} bytes"
        case _:
            return f"a {type(value).__name__}"
