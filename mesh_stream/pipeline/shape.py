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


class Shape:
    """How the fields of one record type are read.

    Args:
        record_type: The type of a record that a transformation returned.

    Raises:
        CodeError: The type is no record.
    """

    def __init__(self, record_type: type) -> None:
        self.record_type = record_type
        self.is_mapping = issubclass(record_type, Mapping)
        # Contract name -> attribute, where the two differ: `class` cannot be an attribute's name.
        self._attributes: dict[str, str] = {}
        if self.is_mapping:
            return
        if issubclass(record_type, msgspec.Struct):
            fields = msgspec.structs.fields(record_type)
            self._attributes = {field.encode_name: field.name for field in fields}
        elif hasattr(record_type, "model_fields"):
            for name, field in record_type.model_fields.items():
                self._attributes[field.serialization_alias or field.alias or name] = name
        elif not dataclasses.is_dataclass(record_type):
            raise CodeError(
                f"the transformation returned a {record_type.__name__}; expected a dict, a msgspec "
                f"Struct, a dataclass, a pydantic model, an iterable of them, or None",
                rule="transformation",
            )

    def value(self, field: str, default: str = "") -> str:
        """Source that reads the field of `r`.

        Args:
            field: The contract's field.
            default: Source of what stands for it where a mapping lacks it; without one, reading it
                raises KeyError or AttributeError.
        """
        if self.is_mapping:
            return f"r.get({field!r}, {default})" if default else f"r[{field!r}]"
        return f"r.{self._attributes.get(field, field)}"

    def read(self, record: Any, field: str) -> Any:
        """Read the field of a record now; raises KeyError or AttributeError without it."""
        if self.is_mapping:
            return record[field]
        return getattr(record, self._attributes.get(field, field))

    def plain(self, record: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The contract's fields as a dict of plain data, for an encoder that reads dicts only.

        A field that the record lacks is left out: its schema may have a default.
        """
        found = {}
        for field in fields:
            try:
                found[field] = _plain(self.read(record, field))
            except (KeyError, AttributeError):
                continue
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.fields(value)
        return {field.encode_name: _plain(getattr(value, field.name)) for field in fields}
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump(by_alias=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value
