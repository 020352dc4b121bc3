"""How generated code reads a field of a record: by key from a mapping, by attribute from the rest.

A transformation may return a dict, a msgspec Struct, a dataclass or a pydantic model. Rules and the
encoder are compiled once per type, so that no record pays for asking which it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_stream.errors import CodeError


def is_record(kind: type) -> bool:
    """Whether instances of a type are records: they have fields with names."""
    return (
        issubclass(kind, Mapping | msgspec.Struct)
        or hasattr(kind, "model_fields")
        or dataclasses.is_dataclass(kind)
    )


class Shape:
    """How the fields of one record type are read.

    Args:
        record_type: The type of a record that a transformation returned.

    Raises:
        CodeError: The type is no record.
    """

    def __init__(self, record_type: type) -> None:
        if not is_record(record_type):
            raise CodeError(
                f"the transformation returned a {record_type.__name__}; expected a dict, a msgspec "
                f"Struct, a dataclass, a pydantic model, an iterable of them, or None",
                rule="transformation",
            )
        self.record_type = record_type
        self.is_mapping = issubclass(record_type, Mapping)
        # Contract name -> attribute; the two differ where an alias is declared: `class` cannot be
        # an attribute's name.
        self._attributes = {} if self.is_mapping else attributes(record_type)

    def value(self, field: str, default: str = "") -> str:
        """Source that reads the field of `r`.

        Args:
            field: The contract's field.
            default: Source of what stands for it where the record lacks it; without one, reading
                it raises KeyError or AttributeError.
        """
        if self.is_mapping:
            return f"r.get({field!r}, {default})" if default else f"r[{field!r}]"
        if field in self._attributes:
            return f"r.{self._attributes[field]}"
        # Not a declared field: a property, or nothing.
        return f"getattr(r, {field!r}, {default})" if default else f"getattr(r, {field!r})"

    def read(self, record: Any, field: str) -> Any:
        """Read the field of a record now; raises KeyError or AttributeError without it."""
        if self.is_mapping:
            return record[field]
        return getattr(record, self.attribute(field))

    def attribute(self, field: str) -> str:
        """The attribute of a record that is no mapping that has the field."""
        return self._attributes.get(field, field)


def attributes(record_type: type) -> dict[str, str]:
    """The fields of a record type that is no mapping: name on the wire -> attribute."""
    if issubclass(record_type, msgspec.Struct):
        return {field.encode_name: field.name for field in msgspec.structs.fields(record_type)}
    if hasattr(record_type, "model_fields"):
        return {
            field.serialization_alias or field.alias or name: name
            for name, field in record_type.model_fields.items()
        }
    assert dataclasses.is_dataclass(record_type)
    return {field.name: field.name for field in dataclasses.fields(record_type)}
