"""Finds a product's fold, with the functions beside it, and reads what they declare.

A state outlives the process that made it, so `fold` must say what it takes: the event's type is
what events are read as, the state's type is what states are written and read as.
"""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mesh_stream.errors import DeclarationError
from mesh_stream.product.authored_code import AuthoredCode
from mesh_stream.product.authored_function import (
    UnresolvedError,
    annotation_of,
    is_plain,
    own_functions,
    parameters_of,
    refusal,
    type_name,
)
from mesh_stream.product.folder import file_inside, named_file, transformation_files
from mesh_stream.product.kept_type import unkept
from mesh_stream.product.product import Function, Transformation
from mesh_stream.product.state_declaration import WHERE, StateDeclaration
from mesh_stream.product.transformation import FOLDING, is_record
from mesh_stream.product.validation import Faults
from mesh_stream.product.yaml_source import Document

FOLD = "def fold(state: S | None, event: E) -> S | None"
FACT = "def fact(key, window, state)"
MERGE = "def merge(a: S, b: S) -> S"
_WRITTEN = {"fold": FOLD, "fact": FACT, "merge": MERGE}
RECORDS = "a msgspec.Struct, a dataclass or a TypedDict"
_KEPT = "a msgspec.Struct, dataclass, TypedDict, NamedTuple or scalar whose every part has its type"


@dataclass(frozen=True, slots=True)
class Folding:
    """A fold's functions, and what they declare.

    Attributes:
        fold: See `State`, as for the others.
        fact: The same.
        merge: The same.
        event_type: The same.
        state_type: The same.
    """

    fold: Function
    fact: Function | None
    merge: Function | None
    event_type: Any
    state_type: Any

    def holds(self, function: object) -> bool:
        """Whether a function is one of these."""
        held = (self.fold, self.fact, self.merge)
        return any(one is not None and one.call is function for one in held)


def is_apart(folding: Folding | None, function: types.FunctionType) -> bool:
    """Whether a function of a product with a state is no transformation."""
    return function.__name__ in FOLDING or (folding is not None and folding.holds(function))


def as_it_comes(folding: Folding | None) -> Transformation:
    """Returns what is applied to records that are the fold's events already.

    Args:
        folding: The fold; None where it is faulty: then nothing is known of the records.
    """
    return Transformation(
        function=_same,
        origin="src/transformations" if folding is None else folding.fold.origin,
        record_type=dict if folding is None else folding.event_type,
        wants_context=False,
    )


def is_as_it_comes(applied: Transformation | None) -> bool:
    """Whether it leaves records as they come."""
    return applied is not None and applied.function is _same


def _same(event: Any) -> Any:
    return event


def load_folding(document: Document, said: StateDeclaration, code: AuthoredCode) -> Folding:
    """Finds a product's fold and reads what it declares.

    Raises:
        DeclarationError: A function is missing, in doubt, or does not take or say what it must.
    """
    found = _functions(document, said, code)
    if said.window is None or said.window.session is None:
        found.pop("merge", None)
    path, fold = found["fold"]
    faults = Faults()
    for name, (at, function) in found.items():
        faults.attempt(partial(_check_call, at, function, _WRITTEN[name]))
    faults.raise_any()
    event_type = faults.attempt(partial(_event_type, path, fold))
    state_type = faults.attempt(partial(_state_type, path, fold))
    faults.raise_any()
    return Folding(
        fold=_function(code, *found["fold"]),
        fact=_function(code, *found["fact"]) if "fact" in found else None,
        merge=_function(code, *found["merge"]) if "merge" in found else None,
        event_type=event_type,
        state_type=state_type,
    )


Found = tuple[Path, types.FunctionType]


def _functions(document: Document, said: StateDeclaration, code: AuthoredCode) -> dict[str, Found]:
    """Finds `fold`, and `fact` and `merge` where there are any."""
    if said.fold is not None:
        return _named_functions(document, said.fold, code)
    faults = Faults()
    found: dict[str, list[Found]] = {name: [] for name in sorted(FOLDING)}
    for path in transformation_files(code.folder):
        if path.suffix != ".py":
            continue
        module = faults.attempt(partial(_module, code, path))
        own = {} if module is None else own_functions(module)
        for name, places in found.items():
            places += [(path, own[name])] if name in own else []
    faults.raise_any()
    for name, places in found.items():
        if len(places) > 1:
            files = [str(path.relative_to(code.folder)) for path, _ in places]
            # The other functions of a fold that is named are those of its own file.
            home = (found["fold"] or places)[0][0].relative_to(code.folder)
            remedy = f"say which: state: {{fold: {home}:fold}}"
            several = f"several functions {name} ({', '.join(files)})"
            faults.found.append(document.fault(WHERE, several, "one", remedy))
    if not found["fold"]:
        where = "src/transformations"
        remedy = "or name it: state: {fold: src/transformations/stock.py:count}"
        expected = f"{FOLD} in {where}"
        faults.found.append(document.fault(WHERE, f"no function fold in {where}", expected, remedy))
    faults.raise_any()
    return {name: places[0] for name, places in found.items() if places}


def _named_functions(document: Document, text: str, code: AuthoredCode) -> dict[str, Found]:
    file, _, name = text.partition(":")
    fault = partial(document.fault, (*WHERE, "fold"))
    path = named_file(code.folder, file, (".py",), fault)
    own = own_functions(code.module(path))
    name = name or "fold"
    if name not in own:
        expected = f"it among the file's own: {', '.join(own) or 'none'}"
        raise DeclarationError([fault(f"no function {name} in {file}", expected)])
    found = {other: (path, own[other]) for other in sorted(FOLDING) if other in own}
    return {**found, "fold": (path, own[name])}


def _module(code: AuthoredCode, path: Path) -> types.ModuleType:
    file_inside(code.folder, path)
    return code.module(path)


def _function(code: AuthoredCode, path: Path, function: types.FunctionType) -> Function:
    return Function(function, f"{path.relative_to(code.folder)}:{function.__name__}")


def _check_call(path: Path, function: types.FunctionType, written: str) -> None:
    """Holds a function against how it is called."""
    if not is_plain(function):
        expected = f"a plain function, {written}: it is called within a transaction"
        raise refusal(path, function, "an async function or a generator", expected)
    takes = parameters_of(function)
    count = written.partition("->")[0].count(",") + 1
    if len(takes.positional) != count or set(takes.required) != set(takes.positional):
        raise refusal(path, function, takes.shown, written)


def _annotation(path: Path, function: types.FunctionType, name: str) -> Any:
    """Returns what a fold's parameter or result is annotated with; it must be."""
    try:
        annotation = annotation_of(function, name)
    except UnresolvedError as cause:
        found = f"an annotation that cannot be resolved ({cause})"
        raise refusal(path, function, found, "one that names what exists") from cause
    if annotation is inspect.Parameter.empty:
        what = "a result" if name == "return" else f"the parameter {name}"
        raise refusal(path, function, f"{what} without annotation", FOLD)
    return annotation


def _event_type(path: Path, fold: types.FunctionType) -> Any:
    name = parameters_of(fold).positional[1]
    annotation = _annotation(path, fold, name)
    said = f"{name}: {type_name(annotation)}"
    if not is_record(annotation):
        raise refusal(path, fold, said, f"{RECORDS} that says what an event is")
    reasons = unkept(annotation, event=True)
    if reasons:
        raise refusal(path, fold, f"{said}, with {'; '.join(reasons)}", _KEPT)
    return annotation


def _state_type(path: Path, fold: types.FunctionType) -> Any:
    name = parameters_of(fold).positional[0]
    annotation = _annotation(path, fold, name)
    kept, may_be_none = without_none(annotation)
    said = f"{name}: {type_name(annotation)}"
    if kept is type(None) or kept is inspect.Parameter.empty:
        raise refusal(path, fold, said, FOLD)
    reasons = unkept(kept)
    if reasons:
        raise refusal(path, fold, f"{said}, with {'; '.join(reasons)}", _KEPT)
    if not may_be_none:
        expected = f"{type_name(kept)} | None: the first event of a key finds no state"
        raise refusal(path, fold, said, expected)
    result = _annotation(path, fold, "return")
    if without_none(result)[0] != kept:
        expected = f"-> {type_name(kept)} | None, as it takes"
        raise refusal(path, fold, f"a fold that returns {type_name(result)}", expected)
    return kept


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Takes None out of a union; says whether it was there."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    parts = typing.get_args(annotation)
    rest = tuple(part for part in parts if part is not type(None))
    return typing.Union[rest], len(rest) < len(parts)  # noqa: UP007  of parts known only now
