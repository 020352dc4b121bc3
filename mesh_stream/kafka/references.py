"""Schemas that refer to other subjects, made whole: what is referred to is written in place.

A registry's Avro schema may name types that live under other subjects. Everything that decodes
wants one self-contained schema, so each referred type is defined where it is first used. What a
registry serves is not trusted: sizes, depth and number are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_SCHEMA_BYTES = 262_144
MAX_DEPTH = 8
MAX_REFERENCES = 64

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Find = Callable[[str, int], Any | None]
"""The registry's answer for (subject, version); None if there is none."""


def inline(answer: Any, find: Find) -> Any:
    """Returns the schema of a registry's answer as self-contained JSON data.

    Args:
        answer: The registry's answer: `schema` as text, `schemaType`, `references`.
        find: Looks a reference up.

    Raises:
        ValueError: It is no Avro schema, or too large, too deep, or refers to what is not there.
    """
    found = _Found(find)
    schema = found.take(answer, depth=0)
    return _Inlining(found.types).whole(schema, namespace="", depth=0) if found.types else schema


@dataclass(slots=True)
class _Found:
    """The schemas that a schema refers to, by the name it refers to them by."""

    find: Find
    types: dict[str, Any] = field(default_factory=dict)

    def take(self, answer: Any, *, depth: int) -> Any:
        if not isinstance(answer, Mapping) or not isinstance(text := answer.get("schema"), str):
            raise ValueError("the registry's answer has no schema")
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO":
            raise ValueError(f"found {str(kind)[:40]}, expected AVRO")
        if len(text.encode()) > MAX_SCHEMA_BYTES:
            raise ValueError(f"it is larger than {MAX_SCHEMA_BYTES:,} bytes")
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError):
            # A lone name is a schema too, and some registries return it bare.
            if text not in PRIMITIVES:
                raise ValueError("it is no JSON") from None
            schema = text
        references = answer.get("references") or []
        if not isinstance(references, list):
            raise ValueError("its references are no list")
        if references and depth >= MAX_DEPTH:
            raise ValueError(f"its references are more than {MAX_DEPTH} deep")
        for reference in references:
            self._refer(reference, depth=depth)
        return schema

    def _refer(self, reference: Any, *, depth: int) -> None:
        if not isinstance(reference, Mapping):
            raise ValueError("a reference of it is no object")
        name, subject = reference.get("name"), reference.get("subject")
        version = reference.get("version")
        if not isinstance(name, str) or not isinstance(subject, str) or type(version) is not int:
            raise ValueError("a reference of it lacks name, subject or version")
        if name in self.types:
            return
        if len(self.types) >= MAX_REFERENCES:
            raise ValueError(f"it refers to more than {MAX_REFERENCES} schemas")
        # Entered before it is followed: a circle ends here.
        self.types[name] = None
        answer = self.find(subject, version)
        if answer is None:
            raise ValueError(f"it refers to {subject} version {version}, which is not there")
        self.types[name] = self.take(answer, depth=depth + 1)


@dataclass(slots=True)
class _Inlining:
    types: Mapping[str, Any]
    defined: set[str] = field(default_factory=set)

    def whole(self, schema: Any, *, namespace: str, depth: int) -> Any:
        """Copies a schema, defining each referred type where it is first used."""
        if depth > 64:
            raise ValueError("it is nested deeper than 64")
        if isinstance(schema, str):
            return self._name(schema, namespace, depth)
        if isinstance(schema, list):
            return [self.whole(branch, namespace=namespace, depth=depth + 1) for branch in schema]
        if not isinstance(schema, Mapping):
            raise ValueError("it is no Avro schema")
        copy = dict(schema)
        if isinstance(name := schema.get("name"), str):
            space, _, _ = name.rpartition(".")
            namespace = space or str(schema.get("namespace", namespace))
        for part in ("type", "items", "values"):
            if part in copy:
                copy[part] = self.whole(copy[part], namespace=namespace, depth=depth + 1)
        if isinstance(fields := copy.get("fields"), list):
            copy["fields"] = [self._field(one, namespace, depth) for one in fields]
        return copy

    def _field(self, one: Any, namespace: str, depth: int) -> Any:
        if not isinstance(one, Mapping) or "type" not in one:
            raise ValueError("a field of it has no type")
        return {**one, "type": self.whole(one["type"], namespace=namespace, depth=depth + 1)}

    def _name(self, name: str, namespace: str, depth: int) -> Any:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        key = full if full in self.types else name
        if key not in self.types or key in self.defined:
            return name
        self.defined.add(key)
        referred = self.types[key]
        if isinstance(referred, Mapping) and "." not in str(referred.get("name", ".")):
            # A definition inside another inherits its namespace; this one has its own, or none.
            referred = {**referred, "namespace": referred.get("namespace", "")}
        return self.whole(referred, namespace="", depth=depth + 1)
