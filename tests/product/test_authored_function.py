from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pytest

from mesh_stream.errors import DeclarationError
from mesh_stream.product.authored_function import (
    UnresolvedError,
    annotation_of,
    is_plain,
    own_functions,
    parameters_of,
    refusal,
    type_name,
)

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Order: ...


def plain(a: Order, b: int = 0, *rest: int, c: str, d: Decimal | None = None, **more: str) -> None:
    """Takes all there is to take."""


def bare(a, /, b): ...  # type: ignore[no-untyped-def]  # this is what is looked at


async def coroutine() -> None: ...


async def stream() -> Any:
    yield 1


def generator() -> Iterator[int]:
    yield 1


def test_own_functions_are_public_and_not_imported() -> None:
    module = types.ModuleType("orders")
    code = "from os.path import join\ndef f(): ...\ndef _g(): ...\nclass C: ...\nh = f\nx = 1\n"
    exec(code, vars(module))

    assert own_functions(module) == {"f": vars(module)["f"], "h": vars(module)["f"]}


def test_only_a_plain_function_returns_at_once() -> None:
    assert is_plain(plain)  # type: ignore[arg-type]  # a function all the same
    for other in (coroutine, stream, generator):
        assert not is_plain(other)  # type: ignore[arg-type]  # the same


def test_parameters_are_told_by_position_and_by_need() -> None:
    takes = parameters_of(plain)

    assert takes.positional == ["a", "b"]
    assert takes.required == ["a", "c"]
    assert takes.shown == "the parameters (a, b, rest, c, d, more)"
    assert parameters_of(bare).positional == ["a", "b"]


def test_one_annotation_is_resolved_whatever_the_others_name() -> None:
    assert annotation_of(plain, "a") is Order
    assert annotation_of(plain, "return") is type(None)
    assert annotation_of(bare, "a") is inspect.Parameter.empty
    with pytest.raises(UnresolvedError, match="name 'Decimal' is not defined"):
        annotation_of(plain, "d")


def test_a_wrappers_annotations_are_resolved_where_they_were_written() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            return function(*args)

        return inner

    assert annotation_of(logged(plain), "a") is Order


def test_a_refusal_stands_at_the_functions_first_line() -> None:
    error = refusal(Path("t.py"), plain, "this", "that", "so")  # type: ignore[arg-type]  # the same

    assert isinstance(error, DeclarationError)
    line = plain.__code__.co_firstlineno
    assert str(error) == f"t.py:{line}: plain: found this; expected that; so"


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"), (None, "None"), (type(None), "None"), (Order, "Order"), (Any, "Any"),
        (Order | None, "Order | None"),
        (list[Order], "list[Order]"), (dict[str, Order | None], "dict[str, Order | None]"),
        (tuple[Order, ...], "tuple[Order, ...]"), (Iterator[Order], "Iterator[Order]"), (T, "T"),
        (typing.NotRequired[str], "NotRequired[str]"), (Annotated[int, "x"], "Annotated[int, 'x']"),
    ],
    ids=str,
)  # fmt: skip
def test_a_type_is_written_as_its_author_would(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name
