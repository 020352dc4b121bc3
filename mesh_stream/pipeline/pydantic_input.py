"""Reading records into pydantic models: exact decimals, and reasons without the record's values.

This module is imported by products whose record type is a pydantic model, and by no other worker.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pydantic

from mesh_stream.errors import PayloadError

Read = Callable[[Any], Any]

# Decimals, and what may hold one.
_EXACT = (Decimal, Any, object, dict, list)


def compile_json(model: type[pydantic.BaseModel], parse: Callable[[bytes], Any]) -> Read:
    """Make a reader of JSON bytes.

    Args:
        model: The record type.
        parse: Reads JSON into plain data, numbers with a fraction as decimals.
    """
    if any(member in _EXACT for member in _members(model)):
        # pydantic's own parser makes a binary double of every number before it makes a decimal.
        shape = compile_plain(model)
        return lambda value: shape(parse(value))
    read = model.model_validate_json
    known = _field_names(model)

    def read_json(value: bytes) -> Any:
        try:
            return read(value)
        except pydantic.ValidationError as error:
            raise _payload_error(error, known) from error

    return read_json


def compile_plain(model: type[pydantic.BaseModel]) -> Read:
    """Make a reader of plain data: what JSON or Avro was read into.

    Not strict, whatever the model's configuration says: that would refuse the text of a date.
    """
    known = _field_names(model)

    def read_plain(datum: Any) -> Any:
        try:
            return model.model_validate(datum, strict=False)
        except pydantic.ValidationError as error:
            raise _payload_error(error, known) from error

    return read_plain


def _payload_error(error: pydantic.ValidationError, known: set[str]) -> PayloadError:
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    kind, place = faults[0]["type"], faults[0]["loc"]
    # A place may lead through a mapping, whose keys are the record's own.
    way = ".".join(str(part) if isinstance(part, int) or part in known else "*" for part in place)
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    if kind == "json_invalid":
        return PayloadError("found no JSON", rule="malformed")
    return PayloadError(f"{kind} at `{way or '.'}`{more}"[:300], rule="type")


def _field_names(model: type[pydantic.BaseModel]) -> set[str]:
    """Every name that the model and those inside it give their fields."""
    names: set[str] = set()
    for member in _members(model):
        if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            for name, info in member.model_fields.items():
                names |= {name, *(alias for alias in _aliases(info) if isinstance(alias, str))}
        elif dataclasses.is_dataclass(member) or typing.is_typeddict(member):
            names |= set(typing.get_type_hints(member))
    return names


def _aliases(info: Any) -> Iterator[Any]:
    for alias in (info.alias, info.validation_alias):
        if isinstance(alias, pydantic.AliasChoices):
            for choice in alias.choices:
                yield from choice.path if isinstance(choice, pydantic.AliasPath) else (choice,)
        elif isinstance(alias, pydantic.AliasPath):
            yield from alias.path
        else:
            yield alias


def _members(annotation: Any) -> Iterator[Any]:
    """A type and every type inside it, through models, unions and containers; each once."""
    seen: set[Any] = set()
    waiting = [annotation]
    while waiting:
        member = waiting.pop()
        yield member
        waiting += typing.get_args(member)
        if isinstance(member, type) and member not in seen:
            seen.add(member)
            waiting += _annotations(member)


def _annotations(member: type) -> list[Any]:
    if issubclass(member, pydantic.BaseModel):
        return [info.annotation for info in member.model_fields.values()]
    if dataclasses.is_dataclass(member) or typing.is_typeddict(member):
        return list(typing.get_type_hints(member).values())
    return []
