"""Says, without a registry, whether a contract may follow the ones before it.

The rules are Avro's schema resolution, as the registry applies it, so that what passes here passes
there. Stricter in two points, where resolution lets values change in silence: a logical type and
its digits must stay (a decimal of another scale is read as another amount), and bytes do not become
a string (not every byte sequence is text).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh_stream.product.avro_lint import full_name
from mesh_stream.product.schema import in_words

Schema = Mapping[str, Any]

PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
}
"""What was written -> as what else it may be read."""


@dataclass(frozen=True, slots=True)
class Break:
    """One way in which a contract breaks another.

    Attributes:
        field: The field, dotted where it is nested; empty for the record.
        change: What changed.
        breaks: Who cannot read what, because of it.
        remedy: The way out.
    """

    field: str
    change: str
    breaks: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.change}: {self.breaks}; {self.remedy}"


_BACKWARD = "the new contract cannot read facts that were written with the old one"
_FORWARD = "consumers that still read with the old contract cannot read the new facts"
_MAJOR = "raise the major version, which makes a new topic"


def breaks(new: Schema, previous: Sequence[Schema], level: str) -> tuple[Break, ...]:
    """Returns how a contract breaks the ones before it; nothing if it may follow them.

    Args:
        new: The new record schema, as plain JSON data.
        previous: The ones before it, oldest first.
        level: The registry's level: NONE, BACKWARD, FORWARD, FULL, or one with _TRANSITIVE.
    """
    against = previous if level.endswith("_TRANSITIVE") else previous[-1:]
    direction = level.removesuffix("_TRANSITIVE")
    found: list[Break] = []
    for old in against:
        if direction in ("BACKWARD", "FULL"):
            found += _Resolution(reader=new, writer=old, backward=True).breaks()
        if direction in ("FORWARD", "FULL"):
            found += _Resolution(reader=old, writer=new, backward=False).breaks()
    return tuple(dict.fromkeys(found))


def can_read(reader: Schema, writer: Schema) -> bool:
    """Whether data written with one schema can be read with another."""
    return not any(_Resolution(reader=reader, writer=writer, backward=True).breaks())


class _Resolution:
    """One reading of one schema's data by another.

    `backward` says which of the two is the new one, and so how a difference is told.
    """

    def __init__(self, *, reader: Schema, writer: Schema, backward: bool) -> None:
        self.reader, self.writer = reader, writer
        self.backward = backward
        self.read_names = dict(_named(reader, ""))
        self.written_names = dict(_named(writer, ""))

    def breaks(self) -> Iterator[Break]:
        """Yields every way in which the reader cannot read the writer's data."""
        yield from self._compare(self.reader, self.writer, "")

    def _told(self, place: str, change: str, remedy: str = _MAJOR) -> Break:
        return Break(place, change, _BACKWARD if self.backward else _FORWARD, remedy)

    def _changed(self, reader: Any, writer: Any) -> str:
        old, new = (writer, reader) if self.backward else (reader, writer)
        return f"changed from {in_words(old)} to {in_words(new)}"

    def _compare(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        reader = _resolved(reader, self.read_names)
        writer = _resolved(writer, self.written_names)
        if isinstance(writer, list):
            yield from self._compare_written_union(reader, writer, place)
        elif isinstance(reader, list):
            if not any(self._fits(branch, writer) for branch in reader):
                yield self._told(place, self._changed(reader, writer))
        elif (kind := _kind(reader)) == _kind(writer):
            yield from self._compare_kind(kind, reader, writer, place)
        elif kind not in PROMOTIONS.get(_kind(writer), ()) or _logical(reader) != _logical(writer):
            yield self._told(place, self._changed(reader, writer))

    def _fits(self, reader: Any, writer: Any) -> bool:
        return not any(self._compare(reader, writer, ""))

    def _compare_written_union(self, reader: Any, writer: list[Any], place: str) -> Iterator[Break]:
        branches = reader if isinstance(reader, list) else [reader]
        lost = [w for w in writer if not any(self._fits(branch, w) for branch in branches)]
        if "null" in lost:
            change = "may no longer be null" if self.backward else "may now be null"
            yield self._told(place, change, f"keep it as it was, or {_MAJOR}")
        others = [branch for branch in lost if branch != "null"]
        if len(branches) == 1 and len(others) == 1:
            yield from self._compare(branches[0], others[0], place)
        elif others:
            yield self._told(place, self._changed(reader, writer))

    def _compare_kind(self, kind: str, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        if _logical(reader) != _logical(writer):
            yield self._told(place, self._changed(reader, writer))
        elif kind == "array":
            yield from self._compare(reader["items"], writer["items"], place)
        elif kind == "map":
            yield from self._compare(reader["values"], writer["values"], place)
        elif kind in ("record", "enum", "fixed"):
            if not _same_name(reader, writer):
                old, new = (writer, reader) if self.backward else (reader, writer)
                change = f"the {kind} {old['name']} is now called {new['name']}"
                yield self._told(place, change, "keep the name")
            elif kind == "record":
                yield from self._compare_fields(reader, writer, place)
            elif kind == "enum":
                yield from self._compare_symbols(reader, writer, place)
            elif reader["size"] != writer["size"]:
                yield self._told(place, self._changed(reader, writer))

    def _compare_fields(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            inside = f"{place}.{field['name']}".strip(".")
            names = (field["name"], *field.get("aliases", ()))
            other = next((written[name] for name in names if name in written), None)
            if other is not None:
                yield from self._compare(field["type"], other["type"], inside)
            elif "default" not in field:
                if self.backward:
                    change = "added without a default"
                    remedy = "give it a default, or make it nullable with the default null"
                else:
                    change = "removed, though the old contract has no default for it"
                    remedy = f"keep it, or {_MAJOR}"
                yield self._told(inside, change, remedy)

    def _compare_symbols(self, reader: Any, writer: Any, place: str) -> Iterator[Break]:
        lost = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
        if not lost or "default" in reader:
            return
        listed = ", ".join(lost)
        if self.backward:
            yield self._told(place, f"lost the symbols {listed}", "keep them, or set a default")
        else:
            change = f"got the symbols {listed}, and the old contract has no default"
            yield self._told(place, change)


def _named(schema: Any, namespace: str) -> Iterator[tuple[str, Any]]:
    """Yields each named type of a schema with its full name."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _named(branch, namespace)
    elif isinstance(schema, Mapping):
        if schema.get("type") in ("record", "enum", "fixed"):
            name = full_name(schema["name"], schema.get("namespace", namespace))
            namespace = name.rpartition(".")[0]
            yield name, schema
            # References inside a namespace are written without it.
            yield name.rpartition(".")[2], schema
        for key in ("type", "items", "values"):
            yield from _named(schema.get(key), namespace)
        for field in schema.get("fields", ()):
            yield from _named(field["type"], namespace)


def _resolved(schema: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(schema, str):
        return names.get(schema, schema)
    if isinstance(schema, Mapping) and isinstance(schema["type"], Mapping | list):
        return _resolved(schema["type"], names)
    return schema


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, Mapping) else schema)


def _logical(schema: Any) -> tuple[Any, ...]:
    if not isinstance(schema, Mapping) or "logicalType" not in schema:
        return ()
    return schema["logicalType"], schema.get("precision"), schema.get("scale", 0)


def _same_name(reader: Any, writer: Any) -> bool:
    """Names are compared without their namespace, as the registry does."""
    own, other = (str(schema["name"]).rpartition(".")[2] for schema in (reader, writer))
    aliases = {str(alias).rpartition(".")[2] for alias in reader.get("aliases", ())}
    return own == other or other in aliases
