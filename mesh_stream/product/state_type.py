"""What a state's type is made of, and how it may change.

A state is written as msgpack by msgspec, and read by its type. The description of a type is plain
data and stands beside the bytes that were written by it; `misreadings` compares two.

Rules of evolution. Safe: a field more, with a default; a field less (what it held is forgotten);
another order of fields, another name of a class; T to `T | None`; an enum's member more; a tagged
member of a union more; a list to a tuple. Everything else is refused, also what msgspec would read:
an int as a float (rounded beyond 2**53), a decimal as text, text as a decimal.
"""

from __future__ import annotations

import hashlib
import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as kinds

VERSION = 1
"""Of the form of descriptions."""

Description = Mapping[str, Any]

Record = kinds.StructType | kinds.DataclassType | kinds.TypedDictType | kinds.NamedTupleType
_Array = kinds.ListType | kinds.VarTupleType | kinds.SetType | kinds.FrozenSetType
_SCALARS: Mapping[type, str] = {
    kinds.NoneType: "None",
    kinds.BoolType: "bool",
    kinds.IntType: "int",
    kinds.FloatType: "float",
    kinds.StrType: "str",
    kinds.BytesType: "bytes",
    kinds.ByteArrayType: "bytes",
    kinds.DecimalType: "Decimal",
    kinds.UUIDType: "UUID",
    kinds.DateTimeType: "datetime",
    kinds.DateType: "date",
    kinds.TimeType: "time",
    kinds.TimeDeltaType: "timedelta",
}


def is_immutable(kept: Any) -> bool:
    """Whether values of a type cannot be changed: frozen records, tuples, frozensets, scalars."""
    return all(_is_frozen(node) for _place, node in parts_of(kinds.type_info(kept)))


def describe(kept: Any) -> dict[str, Any]:
    """Returns the structure of a type as plain JSON data.

    Classes are numbered as they are met, since their names mean nothing to the bytes, and may
    contain themselves.
    """
    describing = _Describing()
    root = describing.type(kinds.type_info(kept))
    return {"version": VERSION, "type": root, "records": describing.records}


def fingerprint(description: Description) -> str:
    """Returns a short name of a description: 16 hexadecimal digits."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def misreadings(old: Description, new: Description) -> list[str]:
    """Returns why bytes written as `old` could not be read, or would be misread, as `new`.

    Safe from step to step is not safe from the first to the last (a field may go, and come back as
    something else): compare with the description of every type that bytes may still be of.

    Args:
        old: What `describe` said of the type that was written.
        new: What it says of the type that is to read.
    """
    for described in (old, new):
        if described.get("version") != VERSION:
            return [f"a type was described in form {described.get('version')}, not {VERSION}"]
    comparing = _Comparing(old["records"], new["records"])
    found = comparing.types("the state", old["type"], new["type"])
    return list(dict.fromkeys(found))


def parts_of(root: kinds.Type) -> Iterator[tuple[str, kinds.Type]]:
    """Yields every part of a type once, with its place in it: `lines[].sku`."""
    seen: set[int] = set()
    waiting: list[tuple[str, kinds.Type]] = [("", root)]
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield place.removeprefix("."), node
        match node:
            case kinds.UnionType():
                inside = [(place, part) for part in node.types]
            case kinds.TupleType():
                inside = [(f"{place}[{n}]", part) for n, part in enumerate(node.item_types)]
            case kinds.DictType():
                inside = [(f"{place}[keys]", node.key_type), (f"{place}[]", node.value_type)]
            case _ if isinstance(node, _Array):
                inside = [(f"{place}[]", node.item_type)]
            case _ if isinstance(node, Record):
                inside = [(f"{place}.{part.encode_name}", part.type) for part in node.fields]
            case _:
                inside = []
        waiting += reversed(inside)


def class_of(node: Record) -> Any:
    """Returns the class of a record's type; what is generic stands there with its arguments."""
    return typing.get_origin(node.cls) or node.cls


def _is_frozen(node: kinds.Type) -> bool:
    match node:
        case kinds.StructType():
            return bool(class_of(node).__struct_config__.frozen)
        case kinds.DataclassType():
            made = getattr(class_of(node), "__dataclass_params__", None)
            return made is not None and bool(made.frozen)
        case kinds.NamedTupleType() | kinds.TupleType() | kinds.VarTupleType():
            return True
        case kinds.FrozenSetType() | kinds.UnionType() | kinds.EnumType() | kinds.LiteralType():
            return True
        case _:
            return type(node) in _SCALARS and not isinstance(node, kinds.ByteArrayType)


@dataclass(slots=True)
class _Describing:
    """One description in the making."""

    records: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def type(self, node: kinds.Type) -> dict[str, Any]:
        match node:
            case kinds.UnionType():
                return _union([self.type(part) for part in node.types])
            case kinds.LiteralType():
                return _union([_value_set([value]) for value in node.values])
            case kinds.EnumType():
                return _value_set([member.value for member in node.cls])
            case kinds.TupleType():
                return {"kind": "tuple", "items": [self.type(part) for part in node.item_types]}
            case kinds.DictType():
                key, value = self.type(node.key_type), self.type(node.value_type)
                return {"kind": "dict", "keys": key, "items": value}
            case kinds.ListType() | kinds.VarTupleType():
                return {"kind": "list", "items": self.type(node.item_type)}
            case kinds.SetType() | kinds.FrozenSetType():
                return {"kind": "set", "items": self.type(node.item_type)}
            case _ if isinstance(node, Record):
                return {"kind": "record", "number": self.record(node)}
            case _:
                return {"kind": _SCALARS[type(node)]}

    def record(self, node: Record) -> int:
        if id(node) in self.numbers:
            return self.numbers[id(node)]
        number = self.numbers[id(node)] = len(self.records)
        described: dict[str, Any] = {"form": "map"}
        self.records.append(described)
        parts = list(node.fields)
        omits = False
        if isinstance(node, kinds.StructType):
            config = class_of(node).__struct_config__
            omits = config.omit_defaults and not config.array_like
            described["form"] = "array" if config.array_like else "map"
            if node.tag is not None:
                described["tag"] = [node.tag_field, node.tag]
            if node.forbid_unknown_fields:
                described["closed"] = True
        elif isinstance(node, kinds.NamedTupleType):
            described |= {"form": "array", "closed": True}
        if described["form"] == "map":
            # Their order means nothing to the bytes.
            parts.sort(key=lambda part: part.encode_name)
        described["fields"] = [self.field(part, omits=omits) for part in parts]
        return number

    def field(self, part: kinds.Field, *, omits: bool) -> dict[str, Any]:
        described = {"name": part.encode_name, "type": self.type(part.type)}
        if part.required:
            return {**described, "required": True}
        value = _default_of(part)
        if value is not None:
            described["default"] = value
        if part.default is NODEFAULT and part.default_factory is NODEFAULT:
            # A key that a TypedDict need not have, or a value that may be UNSET.
            described["written"] = "maybe"
        elif omits and value is not None:
            described["written"] = "unless default"
        return described


def _default_of(part: kinds.Field) -> str | None:
    """Writes a field's default so that it can be compared; None: what it is cannot be known."""
    value = part.default
    if part.default_factory in (list, dict, set, tuple, frozenset):
        value = part.default_factory()
    if value is NODEFAULT:
        return None
    try:
        return msgspec.msgpack.encode(value, order="deterministic").hex()
    except (TypeError, ValueError, OverflowError):
        return None


def _value_set(values: list[Any]) -> dict[str, Any]:
    if values == [None]:
        return {"kind": "None"}
    kind = "enum of str" if isinstance(values[0], str) else "enum of int"
    return {"kind": kind, "values": values}


def _union(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Makes one type of several: unions inside taken apart, values of one kind put together."""
    merged: list[dict[str, Any]] = []
    for member in [member for part in parts for member in _members(part)]:
        same = next((other for other in merged if other["kind"] == member["kind"]), {})
        if "values" in same:
            same["values"] = [*same["values"], *member["values"]]
        else:
            merged.append(member)
    return merged[0] if len(merged) == 1 else {"kind": "union", "of": merged}


def _members(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(described["of"]) if described["kind"] == "union" else [dict(described)]


@dataclass(slots=True)
class _Comparing:
    """One comparison of a type that was written with one that is to read."""

    old: list[dict[str, Any]]
    new: list[dict[str, Any]]
    met: set[tuple[int, int]] = field(default_factory=set)

    def types(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        readers = _members(new)
        for written in _members(old):
            # At most one: msgspec takes no union in which bytes could be of two members.
            reader = next((r for r in readers if self.is_alike(written, r)), None)
            if reader is None:
                was, is_now = self.in_words(old), self.in_words(new)
                yield f"{place} was written as {was} and would be read as {is_now}"
                return
            yield from self.members(place, written, reader)

    def is_alike(self, old: dict[str, Any], new: dict[str, Any]) -> bool:
        if old["kind"] != new["kind"]:
            return False
        if old["kind"] != "record":
            return True
        was, is_now = self.old[old["number"]], self.new[new["number"]]
        return (was.get("tag"), was["form"]) == (is_now.get("tag"), is_now["form"])

    def members(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        match old["kind"]:
            case "list" | "set":
                yield from self.types(f"{place}[]", old["items"], new["items"])
            case "dict":
                yield from self.types(f"the keys of {place}", old["keys"], new["keys"])
                yield from self.types(f"{place}[]", old["items"], new["items"])
            case "tuple" if len(old["items"]) != len(new["items"]):
                was, is_now = (f"a tuple of {len(kind['items'])}" for kind in (old, new))
                yield f"{place} was written as {was} and would be read as {is_now}"
            case "tuple":
                for n, (written, reader) in enumerate(zip(old["items"], new["items"], strict=True)):
                    yield from self.types(f"{place}[{n}]", written, reader)
            case "enum of str" | "enum of int":
                for value in old["values"]:
                    if value not in new["values"]:
                        yield f"{place} may have been written as {value!r}, which is no value now"
            case "record":
                pair = (old["number"], new["number"])
                if pair not in self.met:
                    self.met.add(pair)
                    yield from self.records(place, self.old[pair[0]], self.new[pair[1]])

    def records(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        if old["form"] == "array":
            yield from self.arrays(place, old, new)
            return
        written = {part["name"]: part for part in old["fields"]}
        readers = {part["name"]: part for part in new["fields"]}
        for name, part in written.items():
            if name in readers:
                yield from self.types(_inside(place, name), part["type"], readers[name]["type"])
            elif new.get("closed"):
                yield f"{_inside(place, name)} was written, and unknown fields are forbidden"
        for name, part in readers.items():
            yield from _when_absent(_inside(place, name), written.get(name), part)

    def arrays(self, place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
        """Fields without names in the bytes: each is told by its position alone."""
        written, readers = old["fields"], new["fields"]
        for was, is_now in zip(written, readers, strict=False):
            if was["name"] != is_now["name"]:
                where = f"{_inside(place, was['name'])} was written"
                yield f"{where} at the position from which {is_now['name']} would be read"
                return
            yield from self.types(_inside(place, was["name"]), was["type"], is_now["type"])
        for part in written[len(readers) :] if new.get("closed") else ():
            yield f"{_inside(place, part['name'])} was written, and further fields are forbidden"
        for part in readers[len(written) :]:
            yield from _when_absent(_inside(place, part["name"]), None, part)

    def in_words(self, described: dict[str, Any]) -> str:
        words = [_MORE_WORDS.get(m["kind"], m["kind"]) for m in _members(described)]
        return " | ".join(sorted(words, key=lambda word: word == "None"))


_MORE_WORDS = {"record": "a record", "enum of str": "an enum", "enum of int": "an enum of numbers"}


def _inside(place: str, name: str) -> str:
    return name if place == "the state" else f"{place}.{name}"


def _when_absent(
    place: str, old: Mapping[str, Any] | None, new: Mapping[str, Any]
) -> Iterator[str]:
    """Yields why a field that bytes may lack would be missed, or read as what it was not."""
    if old is None:
        if new.get("required"):
            yield f"{place} is new and has no default"
    elif "written" in old and new.get("required"):
        yield f"{place} was not always written and has no default"
    elif old.get("written") == "unless default" and old.get("default") != new.get("default"):
        yield f"{place} was not written where it had its default, which has changed"
