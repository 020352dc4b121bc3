"""Holds a document against a pydantic model; every disagreement becomes a fault with its line."""

from __future__ import annotations

import copy
import difflib
import json
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.sla import UnreadableError
from mesh_stream.product.yaml_source import Document, dotted, shown

T = TypeVar("T")
Model = TypeVar("Model", bound="Declared")


class Declared(BaseModel):
    """A mapping of a declaration: frozen, and no key beyond its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ShortForm:
    """Tells the JSON Schema that a mapping may also be written in this shorter form."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [self.schema, handler(core_schema)]}


@dataclass(slots=True)
class Faults:
    """Collects faults, so that one does not hide the next."""

    found: list[Fault] = field(default_factory=list)

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Returns what the step returns, or None where it failed; its faults are kept."""
        try:
            return step()
        except DeclarationError as cause:
            self.found += cause.faults
            return None

    def raise_any(self) -> None:
        """Raises `DeclarationError` with everything found, if anything was."""
        if self.found:
            raise DeclarationError(self.found)


def validated(document: Document, model: type[Model]) -> Model:
    """Returns the document as `model`.

    Raises:
        DeclarationError: With a fault for every place where they disagree.
    """
    if not isinstance(document.data, dict):
        fault = document.fault((), shown(document.data), f"a mapping with {_keys([model])}")
        raise DeclarationError([fault])
    try:
        # As JSON: there, strict knows that a list may fill a tuple and a text an enum, yet turns
        # no text into a number behind the author's back.
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as cause:
        faults = [_fault(document, model, error) for error in _errors(cause)]
        raise DeclarationError(faults) from cause


@dataclass(frozen=True, slots=True)
class Salvaged(Generic[Model]):
    """What can be read of a faulty document, so that its sound parts are checked as well.

    Attributes:
        model: The document with stand-ins for its faulty parts; None where too little is left.
        faults: What is wrong with it.
        broken: The places of stand-ins: what is found below one is no fault of the author's.
    """

    model: Model | None
    faults: tuple[Fault, ...] = ()
    broken: frozenset[tuple[str | int, ...]] = frozenset()

    def concerns(self, fault: Fault) -> bool:
        """Whether a later fault of the document is about a stand-in."""
        places = [dotted(place) for place in self.broken]
        return any(fault.field == p or fault.field.startswith((f"{p}.", f"{p}[")) for p in places)


def salvaged(document: Document, model: type[Model]) -> Salvaged[Model]:
    """Holds a document against `model`; where they disagree, puts stand-ins in its place.

    An unknown key is left out. Any other faulty part is left out from its key in the second level
    on or, where that is obligatory, replaced by the example that the model gives for it.
    """
    try:
        return Salvaged(validated(document, model))
    except DeclarationError as cause:
        faults = cause.faults
        if not isinstance(cause.__cause__, ValidationError):
            return Salvaged(None, faults)
        errors = _errors(cause.__cause__)
    data = copy.deepcopy(document.data)
    broken: set[tuple[str | int, ...]] = set()
    for error in errors:
        place = tuple(error["loc"])
        if error["type"] == "extra_forbidden":
            where = _where(document.data, place, keep_last=False)
            holder = data
            for step in where[:-1]:
                holder = holder[step]
            holder.pop(where[-1], None)
        elif len(place) > 1:
            broken.add(place[:2])
    for outer, key in broken:
        declared = next(f[key] for m in _models_at(model, (outer,)) if key in (f := _fields(m)))
        data[outer].pop(key, None)
        if declared.is_required():
            assert declared.examples, f"{key} is obligatory and has no example"
            data[outer][key] = declared.examples[0]
    try:
        sound = model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError:
        return Salvaged(None, faults)
    return Salvaged(sound, faults, frozenset(broken))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a remedy that names the closest known word, or an empty text."""
    closest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {closest[0]}?" if closest else ""


def one_of(words: Iterable[object]) -> str:
    """Writes a closed set for a message: `one of a, b, c`."""
    return f"one of {', '.join(str(word) for word in words)}"


_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "union_tag_not_found": "the path of a file, or a mapping with the key rule",
}


def _errors(cause: ValidationError) -> list[Mapping[str, Any]]:
    """Returns pydantic's errors, but that a list is too short once its faulty entries are gone."""
    return [
        error
        for error in cause.errors(include_url=False)
        if error["type"] != "too_short" or not error["input"]
    ]


def _fault(document: Document, model: type[BaseModel], error: Mapping[str, Any]) -> Fault:
    """Says one of pydantic's errors in our words: found, expected, remedy."""
    kind, place, value = error["type"], tuple(error["loc"]), error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    where = _where(document.data, place, keep_last=kind == "missing")
    models = _models_at(model, place[:-1])
    found, expected, remedy = shown(value), str(error["msg"]).lower(), ""
    reason = context.get("error")
    if isinstance(reason, UnreadableError):
        found, expected, remedy = reason.found or found, reason.expected, reason.remedy
    elif kind == "extra_forbidden":
        known = [key for member in models for key in _fields(member)]
        found, expected = f"the unknown key {shown(place[-1])}", one_of(known)
        remedy = did_you_mean(str(place[-1]), known)
    elif kind == "missing":
        found = "nothing"
        expected, remedy = _described(models, str(place[-1]))
    elif kind in ("enum", "literal_error", "union_tag_invalid"):
        known = _words(context.get("expected") or context["expected_tags"])
        word = context.get("tag", value)
        found, expected, remedy = shown(word), one_of(known), did_you_mean(str(word), known)
        where = (*where, "rule") if kind == "union_tag_invalid" else where
    elif kind in _KINDS:
        expected = _KINDS[kind]
        if kind == "string_type" and isinstance(value, int | float):
            remedy = "put it in quotes"
        elif kind == "model_type" and models:
            expected = f"a mapping with {_keys(_models_at(model, place))}"
    return document.fault(where, found, expected.removeprefix("input should be "), remedy)


def _words(listed: str) -> list[str]:
    return [word.strip("'\" ") for word in listed.replace(" or ", ",").split(",")]


def _keys(models: Iterable[type[BaseModel]]) -> str:
    keys = [key for model in models for key in _fields(model)]
    return f"the key{'s' if len(keys) > 1 else ''} {', '.join(keys)}"


def _described(models: Iterable[type[BaseModel]], name: str) -> tuple[str, str]:
    """What a missing field is for, and an example of it."""
    declared = next(fields[name] for model in models if name in (fields := _fields(model)))
    text = (declared.description or "a value").rstrip(".")
    example = ""
    if declared.examples and isinstance(declared.examples[0], str | int):
        example = f"add {name}: {declared.examples[0]}, for instance"
    return f"{name}: {text[:1].lower()}{text[1:]}", example


def _where(data: Any, place: tuple[str | int, ...], *, keep_last: bool) -> tuple[str | int, ...]:
    """Leaves out of pydantic's place what the document lacks: tags of unions, long forms."""
    where: list[str | int] = []
    for position, step in enumerate(place):
        if _holds(data, step):
            data = data[step]
            where.append(step)
        elif keep_last and position == len(place) - 1:
            where.append(step)
    return tuple(where)


def _holds(data: Any, step: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(step, int) and step < len(data)
    return isinstance(data, dict) and step in data


def _models_at(model: type[BaseModel], place: tuple[str | int, ...]) -> list[type[BaseModel]]:
    """Follows a place through the models to those that may stand there."""
    models = [model]
    for step in place:
        if isinstance(step, int):
            continue
        inner = [fields[step] for member in models if step in (fields := _fields(member))]
        if inner:
            models = list(_models_in(inner[0].annotation))
        else:
            models = [member for member in models if step in _tags(member)]
    return models


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    rule = model.model_fields.get("rule")
    return typing.get_args(rule.annotation) if rule else tuple(model.model_fields)


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the models that an annotation mentions, inside unions, lists and metadata."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
