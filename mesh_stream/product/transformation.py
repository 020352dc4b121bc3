"""Finds the function that a product applies to each record, and what it takes."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pydantic

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.authored_function import (
    UnresolvedError,
    annotation_of,
    own_functions,
    parameters_of,
    refusal,
    type_name,
)
from mesh_stream.product.product import Transformation

FOLDING = frozenset({"fold", "fact", "merge"})
"""What the functions of a state are called; in a product with a state, no transformation is."""

Apart = Callable[[types.FunctionType], bool]
"""Whether a function of the product is something else than its transformation."""


def none_apart(_function: types.FunctionType) -> bool:
    """Sets no function apart: those of a product without a state."""
    return False


def load_transformation(
    code: AuthoredCode, path: Path, function: str | None, apart: Apart = none_apart
) -> Transformation:
    """Loads a function from a file of the product.

    Args:
        code: The product's Python.
        path: The file.
        function: The function's name, or None: the only public one of the file.
        apart: Which functions are none to choose from.

    Raises:
        DeclarationError: The file does not load, or holds no function that can be applied.
    """
    if path.suffix == ".sql":
        fault = Fault(path, 0, "", "a SQL transformation", "a .py file: SQL is not run yet")
        raise DeclarationError([fault])
    found = _function(code, path, function, apart)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        expected = "a plain function: async transformations are not run yet"
        raise refusal(path, found, "an async function", expected)
    takes = parameters_of(found)
    if not 1 <= len(takes.positional) <= 2 or set(takes.required) - set(takes.positional[:2]):
        expected = "one or two: the record, and if wanted the source context"
        raise refusal(path, found, takes.shown, expected)
    relative = path.relative_to(code.folder)
    return Transformation(
        function=found,
        origin=f"{relative}:{found.__name__}",
        record_type=_record_type(path, found, takes.positional[0]),
        wants_context=len(takes.positional) == 2,
    )


def has_transformation(code: AuthoredCode, path: Path, apart: Apart) -> bool:
    """Whether a file holds a function to choose from; a file of SQL is one.

    Raises:
        DeclarationError: The file does not load.
    """
    return path.suffix == ".sql" or bool(_choice(code, path, apart))


def _choice(code: AuthoredCode, path: Path, apart: Apart) -> dict[str, types.FunctionType]:
    own = own_functions(code.module(path))
    return {key: value for key, value in own.items() if not apart(value)}


def _function(code: AuthoredCode, path: Path, name: str | None, apart: Apart) -> types.FunctionType:
    own = _choice(code, path, apart)
    listed = ", ".join(own) or "none"
    if name is not None:
        if name in own:
            return own[name]
        is_state = name in own_functions(code.module(path))
        found = f"{name}, a function of the state" if is_state else f"no function {name}"
        raise DeclarationError([Fault(path, 0, "", found, f"one of the file's own: {listed}")])
    if "fold" in own and own.keys() <= FOLDING:
        expected = "a function that is applied to each record"
        remedy = "declare what is remembered: add state: to data_product.yaml"
        raise DeclarationError([Fault(path, 0, "", f"a fold ({listed})", expected, remedy)])
    for likely in (code.folder.absolute().name.replace("-", "_"), "transform"):
        if likely in own:
            return own[likely]
    if len(own) == 1:
        return next(iter(own.values()))
    found = f"{len(own)} public functions ({listed})"
    remedy = ""
    if own:
        remedy = f"say which: transformation: {path.relative_to(code.folder)}:{next(iter(own))}"
    raise DeclarationError([Fault(path, 0, "", found, "one public function", remedy)])


def _record_type(path: Path, function: types.FunctionType, parameter: str) -> Any:
    try:
        annotation = annotation_of(function, parameter)
    except UnresolvedError as cause:
        found = f"an annotation that cannot be resolved ({cause})"
        raise refusal(path, function, found, "one that names what exists") from cause
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = annotation.__origin__
    if annotation in (inspect.Parameter.empty, dict, Any):
        return dict
    if typing.get_origin(annotation) is dict and typing.get_args(annotation)[:1] == (str,):
        return dict
    if is_record(annotation) or (
        isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)
    ):
        return annotation
    raise refusal(
        path,
        function,
        f"a record annotated {type_name(annotation)}",
        "a msgspec Struct, a dataclass, a TypedDict, a pydantic model, or dict",
    )


def is_record(annotation: Any) -> bool:
    """Whether a type is one of records that msgspec reads and writes: it has fields with names."""
    return isinstance(annotation, type) and (
        issubclass(annotation, msgspec.Struct)
        or dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
    )
