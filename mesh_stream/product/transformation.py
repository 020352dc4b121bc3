"""Finds the function that a product applies to each record, and what it takes."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import pydantic

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.product import Transformation


def load_transformation(code: AuthoredCode, path: Path, function: str | None) -> Transformation:
    """Loads a function from a file of the product.

    Args:
        code: The product's Python.
        path: The file.
        function: The function's name, or None: the only public one of the file.

    Raises:
        DeclarationError: The file does not load, or holds no function that can be applied.
    """
    if path.suffix == ".sql":
        fault = Fault(path, 0, "", "a SQL transformation", "a .py file: SQL is not run yet")
        raise DeclarationError([fault])
    module = code.module(path)
    found = _function(module, path, function, code.folder)
    line = found.__code__.co_firstlineno

    def fail(what: str, expected: str, remedy: str = "") -> typing.NoReturn:
        raise DeclarationError([Fault(path, line, found.__name__, what, expected, remedy)])

    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        fail("an async function", "a plain function: async transformations are not run yet")
    parameters = list(inspect.signature(found).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if not 1 <= len(positional) <= 2 or any(p not in positional[:2] for p in required):
        fail(
            f"the parameters ({', '.join(p.name for p in parameters)})",
            "one or two: the record, and if wanted the source context",
        )
    record_type = _record_type(found, positional[0].name, fail)
    relative = path.relative_to(code.folder)
    return Transformation(
        function=found,
        origin=f"{relative}:{found.__name__}",
        record_type=record_type,
        wants_context=len(positional) == 2,
    )


def _function(
    module: types.ModuleType, path: Path, name: str | None, folder: Path
) -> types.FunctionType:
    own = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and key[0] != "_"
    }
    listed = ", ".join(own) or "none"
    if name is not None:
        if name in own:
            return own[name]
        found = f"no function {name}"
        raise DeclarationError([Fault(path, 0, "", found, f"it among the file's own: {listed}")])
    for likely in (folder.absolute().name.replace("-", "_"), "transform"):
        if likely in own:
            return own[likely]
    if len(own) == 1:
        return next(iter(own.values()))
    found = f"{len(own)} public functions ({listed})"
    remedy = ""
    if own:
        remedy = f"say which: transformation: {path.relative_to(folder)}:{next(iter(own))}"
    raise DeclarationError([Fault(path, 0, "", found, "one public function", remedy)])


def _record_type(function: types.FunctionType, parameter: str, fail: Any) -> Any:
    if parameter not in function.__annotations__:
        return dict
    # Of this parameter alone: the others' types may be imported for type checkers only.
    only = types.SimpleNamespace(__annotations__={parameter: function.__annotations__[parameter]})
    try:
        names = inspect.unwrap(function).__globals__
        annotation = typing.get_type_hints(only, globalns=names)[parameter]
    except Exception as cause:  # noqa: BLE001  an annotation may evaluate anything
        fail(f"an annotation that cannot be resolved ({cause})", "one that names what exists")
    if annotation is dict or annotation is Any:
        return dict
    if typing.get_origin(annotation) is dict and typing.get_args(annotation)[:1] == (str,):
        return dict
    if isinstance(annotation, type) and (
        issubclass(annotation, msgspec.Struct | pydantic.BaseModel)
        or dataclasses.is_dataclass(annotation)
        or typing.is_typeddict(annotation)
    ):
        return annotation
    return fail(
        f"a record annotated {getattr(annotation, '__name__', annotation)}",
        "a msgspec Struct, a dataclass, a TypedDict, a pydantic model, or dict",
    )
