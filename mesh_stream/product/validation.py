"""Holds a document against a pydantic model; every disagreement becomes a fault with its line."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.sla import Unreadable
from mesh_stream.product.yaml_source import Document, shown


class Declared(BaseModel):
    """A mapping of a declaration: frozen, and no key beyond its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Declared)

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


def validated(document: Document, model: type[Model]) -> Model:
    """Returns the document as `model`.

    Raises:
        DeclarationError: With a fault for every place where they disagree.
    """
    if not isinstance(document.data, dict):
        fault = document.fault((), shown(document.data), "a mapping")
        raise DeclarationError([fault])
    try:
        # As JSON: there, strict knows that a list may fill a tuple and a text an enum, yet turns
        # no text into a number behind the author's back.
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as cause:
        faults = [_fault(document, model, error) for error in cause.errors(include_url=False)]
        raise DeclarationError(faults) from cause


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a remedy that names the closest known word, or an empty text."""
    closest = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {closest[0]}?" if closest else ""


def one_of(words: Iterable[object]) -> str:
    """Writes a closed set for a message: `one of a, b, c`."""
    return f"one of {', '.join(str(word) for word in words)}"


def _fault(document: Document, model: type[BaseModel], error: Mapping[str, Any]) -> Fault:
    kind, place = error["type"], tuple(error["loc"])
    context = error.get("ctx", {})
    where = _where(document.data, place, keep_last=kind in ("missing", "extra_forbidden"))
    if kind == "extra_forbidden":
        known = _keys_at(model, place[:-1])
        found, expected = f"the unknown key {shown(where[-1])}", one_of(known)
        return document.fault(where, found, expected, did_you_mean(str(where[-1]), known))
    if kind == "missing":
        field = _field_at(model, place)
        expected = field.description or "a value"
        example = f"such as {field.examples[0]}" if field.examples else ""
        return document.fault(where, "nothing", f"{place[-1]}: {expected}", example)
    found = shown(error["input"])
    reason = context.get("error")
    if isinstance(reason, Unreadable):
        return document.fault(where, reason.found or found, reason.expected, reason.remedy)
    if kind in ("enum", "literal_error"):
        known = [word.strip("'\" ") for word in context["expected"].replace(" or ", ",").split(",")]
        return document.fault(where, found, one_of(known), did_you_mean(str(error["input"]), known))
    if kind == "union_tag_invalid":
        known = [word.strip("'\" ") for word in context["expected_tags"].split(",")]
        remedy = did_you_mean(str(context["tag"]), known)
        return document.fault((*where, "rule"), shown(context["tag"]), one_of(known), remedy)
    if kind in _KINDS:
        quote = "put it in quotes" if kind == "string_type" and _is_scalar(error["input"]) else ""
        return document.fault(where, found, _KINDS[kind], quote)
    return document.fault(where, found, _lower(error["msg"]).removeprefix("input should be "))


def _is_scalar(value: object) -> bool:
    return isinstance(value, int | float | bool)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _where(
    data: Any, place: tuple[str | int, ...], *, keep_last: bool
) -> tuple[str | int, ...]:
    """Leaves out of pydantic's place what the document does not have: tags of unions, long forms."""
    where: list[str | int] = []
    for position, step in enumerate(place):
        held = isinstance(data, dict) and step in data
        if held or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            data = data[step]
            where.append(step)
        elif keep_last and position == len(place) - 1:
            where.append(step)
    return tuple(where)


def _model_at(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel]:
    """Follows a place through the models to the one that stands there."""
    for step in place:
        if isinstance(step, str) and (field := _fields(model).get(step)) is not None:
            inner = list(_models_in(field.annotation))
            model = inner[0] if len(inner) == 1 else model
            members = inner
        elif isinstance(step, str):
            model = next((m for m in members if _tag(m) == step), model)
    return model


def _tag(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("rule")
    arguments = typing.get_args(field.annotation) if field else ()
    return arguments[0] if arguments else None


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys_at(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    return list(_fields(_model_at(model, place)))


def _field_at(model: type[BaseModel], place: tuple[str | int, ...]) -> Any:
    return _fields(_model_at(model, place[:-1]))[str(place[-1])]


def _models_in(annotation: Any) -> Iterable[type[BaseModel]]:
    """Yields the models that an annotation mentions, inside unions, lists and metadata."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from _models_in(typing.get_args(annotation)[0])
    elif isinstance(annotation, types.UnionType) or typing.get_args(annotation):
        for argument in typing.get_args(annotation):
            yield from _models_in(argument)
