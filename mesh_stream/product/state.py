"""Puts a product's state together: what is declared of it, the fold, the inputs, the contract."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect as kinds

from mesh_stream.errors import DeclarationError, Fault
from mesh_stream.product.authored_function import (
    UnresolvedError,
    annotation_of,
    parameters_of,
    type_name,
)
from mesh_stream.product.draft import Draft
from mesh_stream.product.folding import FACT, MERGE, RECORDS, Folding, is_as_it_comes, without_none
from mesh_stream.product.product import (
    Contract,
    Function,
    Hopping,
    Input,
    Session,
    State,
    Transformation,
    Untimely,
)
from mesh_stream.product.state_declaration import (
    WHERE,
    StateDeclaration,
    WindowDeclaration,
    contradictions,
)
from mesh_stream.product.transformation import is_record
from mesh_stream.product.validation import Faults, did_you_mean, one_of
from mesh_stream.product.yaml_source import Document

_IDLE = 60_000
_SAYS_NOTHING = (
    None, type(None), Any, object, list, tuple, set, frozenset,
    Iterable, Iterator, Generator, Sequence,
)  # fmt: skip
_KEY_TYPES: dict[type, type] = {kinds.StrType: str, kinds.IntType: int, kinds.UUIDType: UUID}


def state_of(
    draft: Draft, said: StateDeclaration, folding: Folding, inputs: Sequence[Input]
) -> State:
    """Returns a product's state, its conventions filled in.

    Raises:
        DeclarationError: Its parts do not fit each other, the inputs or the contract.
    """
    assert draft.document is not None
    document = draft.document
    faults = Faults(list(contradictions(document, said)))
    key_type = faults.attempt(partial(_key_type, document, said.key, folding.event_type))
    window = None if said.window is None else _window(said.window)
    if isinstance(window, Session) and folding.merge is None:
        expected = f"{MERGE} beside fold: an event may join two sessions"
        fault = document.fault((*WHERE, "window"), "sessions and no function merge", expected)
        faults.found.append(fault)
    faults.found += _disagreements(draft.folder, folding)
    for applied in {id(port.transformation): port.transformation for port in inputs}.values():
        if applied is not None:
            faults.attempt(partial(_check_transformation, draft.folder, applied, folding))
    if draft.contract is not None:
        faults.found += _missing_fields(draft.folder, folding, draft.contract)
    faults.raise_any()
    assert key_type is not None
    return State(
        fold=folding.fold,
        fact=folding.fact,
        merge=folding.merge,
        event_type=folding.event_type,
        state_type=folding.state_type,
        key=said.key,
        key_type=key_type,
        window=window,
        grace=said.grace or 0,
        emit=said.emit,
        late=said.late or Untimely.DEAD_LETTER,
        ahead=said.ahead,
        early=said.early,
        idle=said.idle or _IDLE,
        ttl=said.ttl,
        repartitions=not (said.key is not None and [port.key for port in inputs] == [said.key]),
    )


def _window(said: WindowDeclaration) -> Hopping | Session:
    if said.session is not None:
        return Session(said.session)
    if said.hopping is not None:
        return Hopping(said.hopping.size, said.hopping.advance)
    assert said.tumbling is not None
    return Hopping(said.tumbling, said.tumbling)


def _key_type(document: Document, key: str | None, event_type: Any) -> type:
    if key is None:
        return str
    node = kinds.type_info(event_type)
    assert isinstance(node, kinds.StructType | kinds.DataclassType | kinds.TypedDictType)
    fields = {part.encode_name: part for part in node.fields}
    fault = partial(document.fault, (*WHERE, "key"))
    if key not in fields:
        expected = f"a field of {event_type.__name__}: {one_of(fields)}"
        raise DeclarationError([fault(repr(key), expected, did_you_mean(key, fields))])
    kind = _KEY_TYPES.get(type(fields[key].type))
    if kind is None or (isinstance(node, kinds.TypedDictType) and not fields[key].required):
        hints = typing.get_type_hints(event_type, include_extras=True)
        found = f"{key}, which is {type_name(_hint_of(event_type, key, hints))}"
        expected = "a field of type str, int or UUID, and never null or left out"
        raise DeclarationError([fault(found, expected, "equal keys must be equal bytes")])
    return kind


def _hint_of(event_type: Any, key: str, hints: dict[str, Any]) -> Any:
    if issubclass(event_type, msgspec.Struct):
        names = {part.encode_name: part.name for part in msgspec.structs.fields(event_type)}
        return hints[names[key]]
    return hints[key]


def _disagreements(folder: Path, folding: Folding) -> Iterator[Fault]:
    """Yields where `fact` or `merge` annotates another state than the fold's."""
    kept = folding.state_type
    for function, names in ((folding.fact, (2,)), (folding.merge, (0, 1, -1))):
        if function is None:
            continue
        for position in names:
            name = (*parameters_of(function.call).positional, "return")[position]
            said = _known_annotation(function.call, name)
            if said is not None and without_none(said)[0] != kept:
                found = f"{name}: {type_name(said)}" if name != "return" else type_name(said)
                yield _fault_of(folder, function, found, f"{type_name(kept)}, as fold's state")


def _known_annotation(function: Any, name: str) -> Any:
    """Returns an annotation that says something, or None."""
    try:
        annotation = annotation_of(function, name)
    except UnresolvedError:
        return None
    return None if annotation in (inspect.Parameter.empty, Any, object) else annotation


def _fault_of(
    folder: Path, function: Function | Transformation, found: str, expected: str, remedy: str = ""
) -> Fault:
    call = function.call if isinstance(function, Function) else function.function
    path = folder / function.origin.rpartition(":")[0]
    line = call.__code__.co_firstlineno
    return Fault(path, line, call.__name__, found, expected, remedy)


def _check_transformation(folder: Path, applied: Transformation, folding: Folding) -> None:
    """Checks that a transformation makes the fold's events, as far as it is annotated."""
    if is_as_it_comes(applied):
        return
    made = _known_annotation(applied.function, "return")
    for kind in _made_of(made):
        if kind != folding.event_type:
            name = folding.event_type.__name__
            raise DeclarationError(
                [
                    _fault_of(
                        folder,
                        applied,
                        f"a transformation that returns {type_name(kind)}",
                        f"{name}, the event that {folding.fold.origin} takes",
                        "or, for what is no transformation, a name that begins with an underscore",
                    )
                ]
            )


def _made_of(annotation: Any) -> Iterator[Any]:
    """Yields the records that a result may be or hold, where its annotation says so."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            yield from _made_of(part)
    elif origin is typing.Annotated:
        yield from _made_of(parts[0])
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        if issubclass(origin, Mapping):
            yield annotation
        elif parts:
            yield from _made_of(parts[0])
    elif annotation in _SAYS_NOTHING or isinstance(annotation, typing.TypeVar):
        return
    elif getattr(annotation, "__module__", "").partition(".")[0] != "mesh_stream":
        # What is ours is what `filtered` returns, which makes none.
        yield annotation


def _missing_fields(folder: Path, folding: Folding, contract: Contract) -> Iterator[Fault]:
    """Yields what facts would lack: those of `fact` as far as it is annotated, else the states."""
    needed = {
        part["name"]
        for part in contract.schema["fields"]
        if "default" not in part and not _is_nullable(part["type"])
    }
    if folding.fact is None:
        made, function, what = folding.state_type, folding.fold, "a state"
        remedy = f"add {FACT}, which makes a fact of a state"
    else:
        made = _known_annotation(folding.fact.call, "return")
        function, what, remedy = folding.fact, "a fact", ""
    for kind in _alternatives(made):
        if folding.fact is None and not is_record(kind):
            found = f"{what} that is {type_name(kind)}, and no function fact"
            yield _fault_of(
                folder, function, found, f"{RECORDS} with the contract's fields", remedy
            )
        elif is_record(kind):
            lacking = sorted(name for name in needed if not _has(kind, name))
            if lacking:
                found = f"{what} {type_name(kind)} without {', '.join(lacking)}"
                yield _fault_of(folder, function, found, "the contract's fields", remedy)


def _alternatives(annotation: Any) -> Sequence[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _has(kind: Any, name: str) -> bool:
    node = kinds.type_info(kind)
    assert isinstance(node, kinds.StructType | kinds.DataclassType | kinds.TypedDictType)
    # What is no field may be a property.
    return hasattr(kind, name) or any(part.encode_name == name for part in node.fields)


def _is_nullable(schema: Any) -> bool:
    return isinstance(schema, list) and "null" in schema
