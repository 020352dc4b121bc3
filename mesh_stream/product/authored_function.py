"""Looks at a function of a product's file: which are its own, what they take and declare."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh_stream.errors import DeclarationError, Fault


def own_functions(module: types.ModuleType) -> dict[str, types.FunctionType]:
    """Returns the public functions that a module does not import from elsewhere, by name."""
    return {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and key[0] != "_"
    }


def is_plain(function: types.FunctionType) -> bool:
    """Whether a call of it returns its result at once: it is neither async nor a generator."""
    return not (
        inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
        or inspect.isgeneratorfunction(function)
    )


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function may be called with.

    Attributes:
        positional: The names of what it takes by position, `*args` left aside.
        required: How many it cannot be called without, by position or by name.
        shown: All of them, for messages.
    """

    positional: Sequence[str]
    required: Sequence[str]
    shown: str


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Returns what a function takes."""
    every = list(inspect.signature(function).parameters.values())
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return Parameters(
        positional=[p.name for p in every if p.kind in by_place],
        required=[p.name for p in every if p.default is p.empty and p.kind not in several],
        shown=f"the parameters ({', '.join(p.name for p in every)})",
    )


class UnresolvedError(Exception):
    """An annotation names what does not exist when the function is loaded."""


def annotation_of(function: Callable[..., Any], name: str) -> Any:
    """Returns what a parameter, or `return`, is annotated with; `inspect.Parameter.empty` without.

    Of this one alone: what the others name may be imported for type checkers only.

    Raises:
        UnresolvedError: It cannot be evaluated; says why.
    """
    if name not in function.__annotations__:
        return inspect.Parameter.empty
    only = types.SimpleNamespace(__annotations__={name: function.__annotations__[name]})
    try:
        names = inspect.unwrap(function).__globals__
        return typing.get_type_hints(only, globalns=names, include_extras=True)[name]
    except Exception as cause:
        # An annotation may evaluate, and so raise, anything.
        raise UnresolvedError(str(cause)) from cause


def refusal(
    path: Path, function: types.FunctionType, found: str, expected: str, remedy: str = ""
) -> DeclarationError:
    """Returns the fault of a function, at its first line."""
    line = function.__code__.co_firstlineno
    return DeclarationError([Fault(path, line, function.__name__, found, expected, remedy)])


def type_name(annotation: Any) -> str:
    """Writes a type as its author did, without the names of modules."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return " | ".join(type_name(part) for part in typing.get_args(annotation))
    if isinstance(annotation, typing.TypeVar):
        return annotation.__name__
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(origin, type) and all(part is ... or not isinstance(part, str) for part in parts):
        inside = ", ".join("..." if part is ... else type_name(part) for part in parts)
        return f"{origin.__name__}[{inside}]"
    return str(annotation).removeprefix("typing.")
