"""Checks an Avro schema by the specification, where fastavro and the registries look away.

Checked beyond what parsers refuse: defaults that do not fit the first branch of their union, a
logical type on the wrong base type or beside the type instead of inside it (both are ignored in
silence by every reader, so that a timestamp becomes a plain number), duplicate fields, names that
other languages cannot have. Recursive types and arrays of items that take no bytes are refused,
since a few bytes of them exhaust the memory of whoever reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mesh_stream.product.validation import did_you_mean, one_of

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
COMPLEX = ("record", "enum", "fixed", "array", "map")
MAX_FIELDS = 1_000
MAX_DEPTH = 16

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LOGICAL: dict[str, tuple[str, ...]] = {
    "decimal": ("bytes", "fixed"),
    "uuid": ("string",),
    "date": ("int",),
    "time-millis": ("int",),
    "time-micros": ("long",),
    "timestamp-millis": ("long",),
    "timestamp-micros": ("long",),
    "local-timestamp-millis": ("long",),
    "local-timestamp-micros": ("long",),
}
_INSIDE_THE_TYPE = ("logicalType", "precision", "scale", "items", "values", "symbols", "size")
_RANGES = {"int": 31, "long": 63}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a schema, and in which field."""

    place: str
    found: str
    expected: str
    remedy: str = ""


def lint(schema: Any) -> list[Problem]:
    """Returns what is wrong with a record schema, as plain JSON data; nothing if it is sound."""
    walk = _Lint()
    if not isinstance(schema, dict) or schema.get("type") != "record":
        walk.problem("", "another type at the top", "a record: each fact has fields")
    else:
        walk.schema(schema, "", "", 0)
    return walk.problems


@dataclass(slots=True)
class _Lint:
    problems: list[Problem] = field(default_factory=list)
    named: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields_seen: int = 0
    _open: list[str] = field(default_factory=list)

    def problem(self, place: str, found: str, expected: str, remedy: str = "") -> None:
        self.problems.append(Problem(place, found, expected, remedy))

    def schema(self, schema: Any, place: str, namespace: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.problem(place, f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels")
        elif isinstance(schema, str):
            self._reference(schema, place, namespace)
        elif isinstance(schema, list):
            self._union(schema, place, namespace, depth)
        elif isinstance(schema, dict):
            self._mapping(schema, place, namespace, depth)
        else:
            self.problem(place, f"{schema!r} as a type", "a type's name, a union or a mapping")

    def _reference(self, name: str, place: str, namespace: str) -> None:
        if name in PRIMITIVES:
            return
        full = full_name(name, namespace)
        if full in self._open:
            found = f"the type {name} inside itself"
            self.problem(place, found, "a type of bounded depth", "use a list of ids instead")
        elif full not in self.named:
            known = [*PRIMITIVES, *self.named]
            expected = "a type of Avro, or one that was defined before"
            self.problem(place, f"the type {name!r}", expected, did_you_mean(name, known))

    def _union(self, union: list[Any], place: str, namespace: str, depth: int) -> None:
        if not union:
            self.problem(place, "an empty union", "at least one type")
        kinds: list[str] = []
        for branch in union:
            if isinstance(branch, list):
                self.problem(place, "a union inside a union", "one flat union")
                continue
            self.schema(branch, place, namespace, depth + 1)
            kinds.append(self._kind(branch, namespace))
        for kind in sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            self.problem(place, f"{kind} twice in one union", "each type once")

    def _kind(self, schema: Any, namespace: str) -> str:
        """What tells a union's branches apart: the base type, or the name of a named one."""
        if isinstance(schema, str):
            return schema if schema in PRIMITIVES else full_name(schema, namespace)
        if isinstance(schema, dict):
            if schema.get("type") in ("record", "enum", "fixed"):
                return full_name(str(schema.get("name")), str(schema.get("namespace", namespace)))
            return str(schema.get("type"))
        return repr(schema)

    def _mapping(self, schema: dict[str, Any], place: str, namespace: str, depth: int) -> None:
        kind = schema.get("type")
        if kind is None:
            self.problem(place, "a mapping without type", "a type", "add the key type")
            return
        if isinstance(kind, dict | list):
            expected = "a type's name here"
            self.problem(place, "a type inside a type", expected, "take out one level of type")
            return
        if kind in ("record", "enum", "fixed"):
            namespace = self._define(schema, place, namespace)
        if kind == "record":
            self._record(schema, place, namespace, depth)
        elif kind == "enum":
            self._enum(schema, place)
        elif kind == "fixed":
            size = schema.get("size")
            if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= 1_000_000:
                self.problem(place, f"a fixed of size {size!r}", "a size of 1 to 1,000,000 bytes")
        elif kind in ("array", "map"):
            self._container(schema, kind, place, namespace, depth)
        else:
            self._reference(str(kind), place, namespace)
        if "logicalType" in schema:
            self._logical(schema, kind, place)

    def _define(self, schema: dict[str, Any], place: str, namespace: str) -> str:
        """Enters a named type; returns the namespace that holds inside it."""
        name, space = schema.get("name"), schema.get("namespace", namespace)
        if not isinstance(name, str) or not isinstance(space, str):
            self.problem(place, "a type without a name", f"a name for each {schema['type']}")
            return namespace
        full = full_name(name, space)
        if not all(_NAME.fullmatch(part) for part in full.split(".")):
            expected = "letters, digits and underscores, no digit first, dots between parts"
            self.problem(place, f"the name {full!r}", expected)
        if full in self.named:
            self.problem(place, f"a second definition of {full}", "one", f'write "{full}" only')
        self.named.setdefault(full, schema)
        return full.rpartition(".")[0]

    def _record(self, schema: dict[str, Any], place: str, namespace: str, depth: int) -> None:
        fields = schema.get("fields")
        if not isinstance(fields, list) or not fields:
            self.problem(place, "a record without fields", "at least one field")
            return
        name = full_name(str(schema.get("name")), namespace)
        self._open.append(name)
        seen: set[str] = set()
        for entry in fields:
            self.fields_seen += 1
            if self.fields_seen == MAX_FIELDS + 1:
                self.problem(place, f"more than {MAX_FIELDS} fields", f"at most {MAX_FIELDS}")
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                self.problem(place, "a field without a name", "a mapping with name and type")
                continue
            self._field(entry, f"{place}.{entry['name']}".strip("."), seen, namespace, depth)
        self._open.pop()

    def _field(
        self, entry: dict[str, Any], place: str, seen: set[str], namespace: str, depth: int
    ) -> None:
        name = entry["name"]
        if not _NAME.fullmatch(name):
            expected = "letters, digits and underscores, no digit first"
            self.problem(place, f"the field name {name!r}", expected)
        if name in seen:
            self.problem(place, "the field twice", "each field once")
        seen.add(name)
        if "type" not in entry:
            self.problem(place, "a field without type", "a type")
            return
        before = len(self.problems)
        self.schema(entry["type"], place, namespace, depth + 1)
        for key in _INSIDE_THE_TYPE:
            if key in entry:
                remedy = f'write "type": {{"type": ..., "{key}": ...}}'
                expected = "it inside the type, where readers look for it"
                self.problem(place, f"{key} beside the type", expected, remedy)
        if "default" in entry and len(self.problems) == before:
            reason = self.misfit(entry["type"], entry["default"], namespace)
            if reason:
                self.problem(place, "a default that does not fit", reason)

    def _enum(self, schema: dict[str, Any], place: str) -> None:
        symbols = schema.get("symbols")
        if not isinstance(symbols, list) or not symbols:
            self.problem(place, "an enum without symbols", "at least one symbol")
            return
        for symbol in symbols:
            if not isinstance(symbol, str) or not _NAME.fullmatch(symbol):
                expected = "letters, digits and underscores, no digit first"
                self.problem(place, f"the symbol {symbol!r}", expected)
        if len({str(symbol) for symbol in symbols}) < len(symbols):
            self.problem(place, "a symbol twice", "each symbol once")
        if "default" in schema and schema["default"] not in symbols:
            self.problem(place, f"the default {schema['default']!r}", one_of(symbols))

    def _container(
        self, schema: dict[str, Any], kind: str, place: str, namespace: str, depth: int
    ) -> None:
        key = "items" if kind == "array" else "values"
        if key not in schema:
            self.problem(place, f"{kind} without {key}", f"{key}: the type of what it holds")
            return
        self.schema(schema[key], place, namespace, depth + 1)
        if kind == "array" and not self._takes_bytes(schema[key], namespace):
            expected = "items that take at least one byte"
            self.problem(place, "an array of items without content", expected, "send the count")

    def _takes_bytes(self, schema: Any, namespace: str) -> bool:
        if isinstance(schema, str) and schema not in PRIMITIVES:
            schema = self.named.get(full_name(schema, namespace))
        if isinstance(schema, dict) and schema.get("type") == "record":
            inner = full_name(str(schema.get("name")), str(schema.get("namespace", namespace)))
            fields = schema.get("fields")
            return not isinstance(fields, list) or any(
                self._takes_bytes(entry.get("type"), inner.rpartition(".")[0])
                for entry in fields
                if isinstance(entry, dict)
            )
        return schema not in ("null", {"type": "null"})

    def _logical(self, schema: dict[str, Any], kind: str, place: str) -> None:
        logical = schema["logicalType"]
        if not isinstance(logical, str) or logical not in LOGICAL:
            remedy = did_you_mean(str(logical), LOGICAL)
            self.problem(place, f"the logical type {logical!r}", one_of(LOGICAL), remedy)
            return
        if kind not in LOGICAL[logical]:
            expected = f"{logical} on {' or '.join(LOGICAL[logical])}"
            self.problem(place, f"{logical} on {kind}", expected, "readers would ignore it")
            return
        if logical == "decimal":
            self._decimal(schema, place)

    def _decimal(self, schema: dict[str, Any], place: str) -> None:
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        if not isinstance(precision, int) or isinstance(precision, bool) or precision < 1:
            self.problem(
                place, f"the precision {precision!r}", "a whole number of digits, 1 or more"
            )
            return
        if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= precision:
            self.problem(place, f"the scale {scale!r}", f"0 to {precision}, the precision")
        size = schema.get("size")
        if schema["type"] == "fixed" and isinstance(size, int) and 0 < size <= 1_000_000:
            held = len(str(2 ** (8 * min(size, 1_000) - 1) - 1)) - 1
            if precision > held:
                expected = f"at most {held}, which {size} bytes hold"
                self.problem(place, f"the precision {precision}", expected)

    def misfit(self, schema: Any, value: Any, namespace: str) -> str:
        """Returns what a default should be, or an empty text where it fits its type."""
        if isinstance(schema, list):
            reason = self.misfit(schema[0], value, namespace)
            return f"{reason} (the first type of the union)" if reason else ""
        if isinstance(schema, str) and schema not in PRIMITIVES:
            schema = self.named.get(full_name(schema, namespace), schema)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind == "array" and isinstance(value, list):
            return self._all_fit(((schema["items"], item) for item in value), namespace)
        if kind == "map" and isinstance(value, dict):
            return self._all_fit(((schema["values"], item) for item in value.values()), namespace)
        if kind == "record" and isinstance(value, dict):
            return self._record_misfit(schema, value, namespace)
        return "" if _is_plain_default(kind, schema, value) else f"a default of {kind}"

    def _record_misfit(self, schema: dict[str, Any], value: dict[str, Any], namespace: str) -> str:
        full = full_name(str(schema["name"]), str(schema.get("namespace", namespace)))
        space = full.rpartition(".")[0]
        pairs = []
        for entry in schema["fields"]:
            if entry["name"] in value:
                pairs.append((entry["type"], value[entry["name"]]))
            elif "default" not in entry:
                return f"a value for {entry['name']} in the record's default"
        return self._all_fit(pairs, space)

    def _all_fit(self, pairs: Iterable[tuple[Any, Any]], namespace: str) -> str:
        return next((r for s, v in pairs if (r := self.misfit(s, v, namespace))), "")


def _is_plain_default(kind: str, schema: Any, value: Any) -> bool:
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            bits = _RANGES[kind]
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and -(1 << bits) <= value < 1 << bits
        case "float" | "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "bytes":
            return isinstance(value, str) and all(ord(character) < 256 for character in value)
        case "fixed":
            return _is_plain_default("bytes", schema, value) and len(value) == schema["size"]
        case "enum":
            return value in schema["symbols"]
        case _:
            return False


def full_name(name: str, namespace: str) -> str:
    """Returns a type's full name: a name with a dot stands for itself."""
    return name if "." in name or not namespace else f"{namespace}.{name}"
