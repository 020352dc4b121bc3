"""Makes the contract of a product: the Avro record schema of its facts.

The schema stands as a field list in `data_product.yaml`, as plain Avro in `schema/*.avsc`, or as a
registry entry in `schema/*.yaml`. Where it stands more than once, all must say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fastavro
from pydantic import Field

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.declaration import FieldDeclaration
from mesh_stream.product.fields import DecimalDefault, avro_field
from mesh_stream.product.product import Contract
from mesh_stream.product.sla import Unreadable
from mesh_stream.product.validation import Declared, validated
from mesh_stream.product.yaml_source import Document, read_text, read_yaml

Compatibility = Literal[
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
]


class EntryMetadata(Declared):
    """Whose schema it is."""

    name: str = Field(description="The data product's name.", examples=["orders-completed"])
    domain: str = Field(description="Its domain.", examples=["orders"])
    owner: str = Field(description="Who answers for it.", examples=["orders-team@company.com"])


class EntrySpec(Declared):
    """What is registered."""

    type: Literal["avro"] = Field(description="The schema language.", examples=["avro"])
    compatibility: Compatibility | None = Field(
        None, description="How it may evolve.", examples=["BACKWARD"]
    )
    avro: str = Field(alias="schema", description="The Avro schema, as JSON text.")


class RegistryEntry(Declared):
    """A registry entry: `apiVersion: schema/v1, kind: Schema`."""

    apiVersion: Literal["schema/v1"] = Field(description="The entry's own version.")  # noqa: N815
    kind: Literal["Schema"] = Field(description="What it is.")
    metadata: EntryMetadata = Field(description="Whose schema it is.")
    spec: EntrySpec = Field(description="What is registered.")


@dataclass(frozen=True, slots=True)
class Source:
    """A schema, and the place where it stands."""

    path: Path
    line: int
    schema: dict[str, Any]
    compatibility: str | None = None


def from_field_list(
    document: Document, fields: Sequence[FieldDeclaration], *, name: str, domain: str
) -> Source:
    """Makes the schema of a field list; the record is called after the product.

    Raises:
        DeclarationError: A type is unknown, or a name stands twice.
    """
    where = ("data_product", "schema")
    faults: list[Fault] = []
    avro: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for index, declared in enumerate(fields):
        place = (*where, index)
        if declared.name in seen:
            first = document.line((*where, seen[declared.name]))
            found = f"the field {declared.name} again"
            faults.append(document.fault(place, found, f"each field once (first on line {first})"))
        seen.setdefault(declared.name, index)
        try:
            avro.append(avro_field(declared.name, declared.type, declared.description))
        except Unreadable as cause:
            found = f"the type {declared.type!r} of {declared.name}"
            faults.append(document.fault(place, found, cause.expected, cause.remedy))
    if faults:
        raise DeclarationError(faults)
    record = {
        "type": "record",
        "name": "".join(part.capitalize() for part in name.split("-")),
        "namespace": domain.replace("-", "_"),
        "fields": avro,
    }
    return Source(document.path, document.line(where), record)


def from_file(path: Path, *, name: str, domain: str) -> Source:
    """Reads plain Avro (`.avsc`) or a registry entry (`.yaml`).

    Raises:
        DeclarationError: The file is neither, or is another product's.
    """
    if path.suffix == ".avsc":
        return Source(path, 1, _avro_json(path, 1, "", read_text(path)))
    document = read_yaml(path)
    entry = validated(document, RegistryEntry)
    faults = [
        document.fault(("metadata", key), repr(found), repr(expected), "or move the file")
        for key, found, expected in (
            ("name", entry.metadata.name, name),
            ("domain", entry.metadata.domain, domain),
        )
        if found != expected
    ]
    if faults:
        raise DeclarationError(faults)
    # A block scalar begins on the line after its key's.
    line = document.line(("spec", "schema")) + 1
    schema = _avro_json(path, line, "spec.schema", entry.spec.avro)
    return Source(path, line, schema, entry.spec.compatibility)


def contract_of(
    sources: Sequence[Source], *, decimals: DecimalDefault, compatibility: str
) -> Contract:
    """Returns the contract that all sources agree on; the last one names the record.

    Args:
        sources: Where the schema stands, the field list first.
        decimals: The governed digits of a `decimal` without any.
        compatibility: The governed level, where no source says one.

    Raises:
        DeclarationError: They disagree, or the schema is no valid Avro.
    """
    main = sources[-1]
    notes: list[str] = []
    completed = _completed(main.schema, decimals, "", notes)
    faults: list[Fault] = []
    for other in sources[:-1]:
        faults += disagreements(other, _completed(other.schema, decimals, "", []), main, completed)
    try:
        parsed = fastavro.parse_schema(json.loads(json.dumps(completed)))
    except Exception as cause:  # noqa: BLE001  fastavro raises what it meets
        found = f"{type(cause).__name__}: {cause}"
        faults.append(Fault(main.path, main.line, "", found, "a valid Avro schema"))
    if faults:
        raise DeclarationError(faults)
    levels = [source.compatibility for source in sources if source.compatibility]
    return Contract(
        schema=completed,
        canonical=json.dumps(completed, separators=(",", ":"), ensure_ascii=False),
        name=parsed["name"],
        fields={field["name"]: field["type"] for field in completed["fields"]},
        compatibility=levels[0] if levels else compatibility,
        notes=tuple(notes),
    )


def disagreements(
    one: Source, schema: Mapping[str, Any], other: Source, expected: Mapping[str, Any]
) -> list[Fault]:
    """Returns how two statements of one contract differ: names, order and types of the fields."""
    mine = {field["name"]: field["type"] for field in schema["fields"]}
    theirs = {field["name"]: field["type"] for field in expected["fields"]}
    file = other.path.name
    remedy = f"make it agree with {file}, or leave one of the two out"

    def fault(found: str, wanted: str) -> Fault:
        return Fault(one.path, one.line, "schema", found, wanted, remedy)

    faults = [fault(f"the field {name}", f"no such field, as in {file}") for name in mine.keys() - theirs]
    faults += [fault(f"no field {name}", f"it, as in {file}") for name in theirs.keys() - mine]
    faults += [
        fault(f"{name} as {json.dumps(mine[name])}", f"{json.dumps(theirs[name])}, as in {file}")
        for name in mine.keys() & theirs
        if mine[name] != theirs[name]
    ]
    if not faults and list(mine) != list(theirs):
        faults.append(fault(f"the order {', '.join(mine)}", f"{', '.join(theirs)}, as in {file}"))
    return faults


def _completed(schema: Any, decimals: DecimalDefault, place: str, notes: list[str]) -> Any:
    """Gives every decimal without digits the governed ones, and notes that it did."""
    if isinstance(schema, list):
        return [_completed(part, decimals, place, notes) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = dict(schema)
    if whole.get("logicalType") == "decimal" and "precision" not in whole:
        whole["precision"] = decimals.precision
        whole.setdefault("scale", decimals.scale)
        notes.append(
            f"{place} is declared as a decimal without precision, which Avro reads as plain bytes; "
            f"completed to decimal({whole['precision']},{whole['scale']}) by the governed default"
        )
    for key in ("type", "items", "values"):
        if key in whole:
            whole[key] = _completed(whole[key], decimals, place, notes)
    if isinstance(whole.get("fields"), list):
        whole["fields"] = [
            _completed(field, decimals, f"{place}.{field.get('name')}".strip("."), notes)
            for field in whole["fields"]
        ]
    return whole


def _avro_json(path: Path, line: int, field: str, text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError as cause:
        at = getattr(cause, "lineno", 1)
        found = f"broken JSON ({cause})"
        fault = Fault(path, line + at - 1, field, found, "an Avro schema as JSON")
        raise DeclarationError([fault]) from cause
    if not isinstance(schema, dict) or schema.get("type") != "record":
        fault = Fault(path, line, field, "another Avro type", "a record")
        raise DeclarationError([fault])
    return schema
