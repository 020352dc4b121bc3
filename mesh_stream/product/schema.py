"""Makes the contract of a product: the Avro record schema of its facts.

The schema stands as a field list in `data_product.yaml`, as plain Avro in `schema/*.avsc`, or as a
registry entry in `schema/*.yaml`. Where it stands more than once, all must say the same. A decimal
without digits is completed before anything else sees it: by the Avro specification it would be
plain bytes to every reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import fastavro
from pydantic import Field

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.avro_lint import lint
from mesh_stream.product.declaration import Compatibility, FieldDeclaration
from mesh_stream.product.fields import avro_field
from mesh_stream.product.governance import DecimalDefault, Defaults
from mesh_stream.product.product import Contract
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.validation import Declared, Faults, validated
from mesh_stream.product.yaml_source import Document, read_text, read_yaml

SUFFIXES = (".avsc", ".yaml", ".yml")


class EntryMetadata(Declared):
    """Whose schema it is."""

    name: str = Field(description="The data product's name.", examples=["orders-completed"])
    domain: str | None = Field(default=None, description="Its domain.", examples=["orders"])
    owner: str | None = Field(
        default=None, description="Who answers for it.", examples=["orders-team@company.com"]
    )


class EntrySpec(Declared):
    """What is registered."""

    type: Literal["avro"] = Field(description="The schema language.", examples=["avro"])
    compatibility: Compatibility | None = Field(
        default=None,
        description="How it may evolve; left out: as governance says.",
        examples=["BACKWARD"],
    )
    avro: str = Field(
        alias="schema",
        description="The Avro schema, as JSON text in a block scalar.",
        examples=['{"type": "record", "name": "OrderCompleted", "fields": [...]}'],
    )


class RegistryEntry(Declared):
    """A registry entry: `apiVersion: schema/v1, kind: Schema`."""

    apiVersion: Literal["schema/v1"] = Field(  # noqa: N815  the document's own spelling
        description="The entry's own version.", examples=["schema/v1"]
    )
    kind: Literal["Schema"] = Field(description="What it is.", examples=["Schema"])
    metadata: EntryMetadata = Field(
        description="Whose schema it is.", examples=[{"name": "orders-completed"}]
    )
    spec: EntrySpec = Field(description="What is registered.", examples=[{"type": "avro"}])


@dataclass(frozen=True, slots=True)
class Source:
    """A schema, and the place where it stands.

    Attributes:
        path: The file.
        line: Where the schema begins in it.
        lines: Field name -> its line.
        schema: The schema as plain data, not completed.
        compatibility: The level that stands beside it, if any.
    """

    path: Path
    line: int
    lines: Mapping[str, int]
    schema: dict[str, Any]
    compatibility: str | None = None

    def fault(self, place: str, found: str, expected: str, remedy: str = "") -> Fault:
        """Returns a fault of one of the schema's fields, such as `items.sku`."""
        line = self.lines.get(place.rpartition(".")[2], self.line)
        return Fault(self.path, line, place or "schema", found, expected, remedy)


def from_field_list(
    document: Document, fields: Sequence[FieldDeclaration], name: str, domain: str
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
        except UnreadableError as cause:
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
    lines = {field: document.line((*where, index)) for field, index in seen.items()}
    return Source(document.path, document.line(where), lines, record)


def from_file(path: Path, *, name: str, domain: str) -> Source:
    """Reads plain Avro (`.avsc`) or a registry entry (`.yaml`).

    Raises:
        DeclarationError: The file is neither, or is another product's.
    """
    if path.suffix == ".avsc":
        text = read_text(path)
        return Source(path, 1, _lines(text, 1), avro_json(path, 1, "", text))
    document = read_yaml(path)
    entry = validated(document, RegistryEntry)
    found = {"name": entry.metadata.name, "domain": entry.metadata.domain or domain}
    faults = [
        document.fault(("metadata", key), repr(found[key]), repr(wanted), "or move the file")
        for key, wanted in (("name", name), ("domain", domain))
        if found[key] != wanted
    ]
    if faults:
        raise DeclarationError(faults)
    # A block scalar begins on the line after its key's.
    line = document.line(("spec", "schema")) + 1
    text = entry.spec.avro
    schema = avro_json(path, line, "spec.schema", text)
    return Source(path, line, _lines(text, line), schema, entry.spec.compatibility)


def check_agreement(sources: Sequence[Source], defaults: Defaults) -> None:
    """Checks that all statements of a contract say the same.

    Raises:
        DeclarationError: With every way in which one differs from the last.
    """
    main = sources[-1]
    faults: list[Fault] = []
    whole = [_completed(source.schema, defaults.decimal, "", []) for source in sources]
    if all(not lint(schema) for schema in whole):
        for source, schema in zip(sources[:-1], whole[:-1], strict=True):
            faults += _disagreements(source, schema, main, whole[-1])
    levels = list(dict.fromkeys(s.compatibility for s in sources if s.compatibility))
    if len(levels) > 1:
        found = f"the compatibilities {' and '.join(levels)}"
        faults.append(main.fault("", found, "one level for one contract"))
    if faults:
        raise DeclarationError(faults)


def contract_of(sources: Sequence[Source], defaults: Defaults) -> Contract:
    """Returns the contract as the last of its statements says it, which names the record.

    Args:
        sources: Where the schema stands, the field list first; at least one.
        defaults: The governed digits of a decimal, and level of compatibility.

    Raises:
        DeclarationError: One is no sound schema.
    """
    faults = Faults()
    notes: list[str] = []
    for source in sources:
        completed = faults.attempt(partial(_sound, source, defaults.decimal, notes))
    faults.raise_any()
    assert completed is not None
    levels = [source.compatibility for source in sources if source.compatibility]
    name, space = str(completed["name"]), completed.get("namespace")
    return Contract(
        schema=completed,
        canonical=json.dumps(completed, separators=(",", ":"), ensure_ascii=False),
        name=f"{space}.{name}" if space and "." not in name else name,
        fields={field["name"]: field["type"] for field in completed["fields"]},
        compatibility=levels[0] if levels else defaults.compatibility,
        notes=tuple(dict.fromkeys(notes)),
    )


def reader_contract(path: Path, defaults: Defaults) -> Contract:
    """Reads the schema (`.avsc`) that an input's records are read as.

    Raises:
        DeclarationError: It is no sound schema.
    """
    text = read_text(path)
    source = Source(path, 1, _lines(text, 1), avro_json(path, 1, "", text))
    return contract_of([source], defaults)


def avro_json(path: Path, line: int, field: str, text: str) -> dict[str, Any]:
    """Reads a schema's JSON text, strictly: no key twice, no NaN.

    Args:
        path: The file it stands in.
        line: The line on which it begins.
        field: The field that holds it, for messages.
        text: The JSON.

    Raises:
        DeclarationError: It is no JSON object.
    """

    def fault(at: int, found: str, expected: str) -> DeclarationError:
        return DeclarationError([Fault(path, line + at, field, found, expected)])

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise fault(0, f"the key {key!r} twice in one JSON object", "each key once")
        return dict(pairs)

    def no_constant(name: str) -> None:
        raise fault(0, f"{name}, which is not JSON", "a number")

    try:
        schema = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except json.JSONDecodeError as cause:
        found = f"broken JSON ({cause.msg}, column {cause.colno})"
        raise fault(cause.lineno - 1, found, "an Avro schema as JSON") from cause
    except (RecursionError, ValueError) as cause:
        raise fault(0, "JSON nested too deep or numbers too long", "a schema") from cause
    if not isinstance(schema, dict):
        raise fault(0, "JSON that is no object", "an Avro record schema")
    return schema


def _lines(text: str, first: int) -> dict[str, int]:
    lines: dict[str, int] = {}
    for match in re.finditer(r'"name"\s*:\s*"([^"]*)"', text):
        lines.setdefault(match[1], first + text.count("\n", 0, match.start()))
    return lines


def _sound(source: Source, decimals: DecimalDefault, notes: list[str]) -> dict[str, Any]:
    """Returns the schema, completed and checked."""
    completed: dict[str, Any] = _completed(source.schema, decimals, "", notes)
    problems = lint(completed)
    if problems:
        raise DeclarationError(
            source.fault(problem.place, problem.found, problem.expected, problem.remedy)
            for problem in problems
        )
    try:
        fastavro.parse_schema(completed, _force=True)
    except Exception as cause:
        # The check above is meant to be the stricter; where it is not, fastavro's word stands.
        found = f"{type(cause).__name__}: {cause}"
        raise DeclarationError([source.fault("", found, "a valid Avro schema")]) from cause
    return completed


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
            if isinstance(field, dict)
            else field
            for field in whole["fields"]
        ]
    return whole


def _disagreements(
    one: Source, schema: Mapping[str, Any], other: Source, expected: Mapping[str, Any]
) -> list[Fault]:
    """Returns how two statements of one contract differ: names, order and types of the fields."""
    mine = {field["name"]: field["type"] for field in schema["fields"]}
    theirs = {field["name"]: field["type"] for field in expected["fields"]}
    file = f"{other.path.parent.name}/{other.path.name}"
    remedy = f"make it agree with {file}, or leave one of the two out"
    faults = [
        one.fault(name, f"the field {name}", f"no such field, as in {file}", remedy)
        for name in mine
        if name not in theirs
    ]
    faults += [
        one.fault("", f"no field {name}", f"a field {name}, as in {file}", remedy)
        for name in theirs
        if name not in mine
    ]
    faults += [
        one.fault(name, in_words(mine[name]), f"{in_words(theirs[name])}, as in {file}", remedy)
        for name in mine
        if name in theirs and _bare(mine[name]) != _bare(theirs[name])
    ]
    if not faults and list(mine) != list(theirs):
        found = f"the order {', '.join(mine)}"
        faults.append(one.fault("", found, f"{', '.join(theirs)}, as in {file}", remedy))
    return faults


def _bare(schema: Any) -> Any:
    """The part of a type that says how values are read: `{"type": "string"}` is `"string"`."""
    if isinstance(schema, list):
        return [_bare(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    known = ("type", "logicalType", "precision", "items", "values", "symbols", "size", "name")
    bare = {key: _bare(schema[key]) for key in known if key in schema}
    if schema.get("logicalType") == "decimal":
        bare["scale"] = schema.get("scale", 0)
    if isinstance(schema.get("fields"), list):
        bare["fields"] = [_bare(field) for field in schema["fields"]]
    return bare["type"] if bare.keys() == {"type"} else bare


def in_words(schema: Any) -> str:
    """Writes an Avro type as a field list would: `decimal(18,2)?`, `array<string>`."""
    if isinstance(schema, list):
        kinds = [in_words(branch) for branch in schema if branch != "null"]
        return " or ".join(kinds) + ("?" if "null" in schema else "")
    if isinstance(schema, str):
        return schema
    match schema.get("logicalType"), schema.get("type"):
        case "decimal", _:
            return f"decimal({schema.get('precision')},{schema.get('scale', 0)})"
        case "timestamp-millis", _:
            return "timestamp"
        case "time-millis", _:
            return "time"
        case str() as logical, _:
            return logical
        case _, "array":
            return f"array<{in_words(schema.get('items'))}>"
        case _, "map":
            return f"map<{in_words(schema.get('values'))}>"
        case _, "record" | "enum" | "fixed" as kind:
            return f"{kind} {schema.get('name')}"
        case _, kind:
            return in_words(kind)
