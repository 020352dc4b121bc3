from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic
import pytest
from msgspec import UNSET, UnsetType

from mesh_stream.product.kept_type import unkept

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Frozen(msgspec.Struct, frozen=True):
    a: int
    lines: tuple[Line, ...] = ()


class Line(NamedTuple):
    sku: str
    units: Decimal


class Tree(msgspec.Struct):
    inside: list[Tree]


class Box(msgspec.Struct, Generic[T], frozen=True):
    value: T


@dataclasses.dataclass
class Data:
    a: int


class Typed(TypedDict):
    a: int


class Model(pydantic.BaseModel):
    a: int


class Maybe(msgspec.Struct):
    a: int | UnsetType = UNSET


class Otherwise(msgspec.Struct):
    a: int | UnsetType = 7


class Needed(msgspec.Struct):
    a: int | UnsetType


class Placed(msgspec.Struct, array_like=True):
    a: int | UnsetType = UNSET


@dataclasses.dataclass
class OtherwiseData:
    a: int | UnsetType = 7


class Doubling(msgspec.Struct):
    a: int

    def __post_init__(self) -> None:
        self.a *= 2


@pytest.mark.parametrize(
    "kept",
    [int, str, float, bool, bytes, Decimal, UUID, datetime, date, time, timedelta, Colour,
     Literal["a", 1], Frozen, Tree, Box[int], Box[Box[str]], Data, Typed, Line,
     dict[str, int], dict[tuple[int, str], Decimal], list[Frozen], set[str], frozenset[Line],
     tuple[int, str], int | str | None, Sequence[int], Mapping[str, int], Maybe],
    ids=str,
)  # fmt: skip
def test_what_says_what_it_is_made_of_is_kept(kept: Any) -> None:
    assert unkept(kept) == []


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        (Any, "something of no stated type"),
        (list, "something of no stated type in []"),
        (dict[str, Any], "something of no stated type in []"),
        (dict, "something of no stated type in [keys]"),
        (Box, "something of no stated type in value"),
        (tuple[int, list[Any]], "something of no stated type in [1][]"),
        (object, "object, which msgspec does not keep"),
        (complex, "complex, which msgspec does not keep"),
        (memoryview, "MemoryView, which msgspec does not keep"),
        (msgspec.Raw, "Raw, which msgspec does not keep"),
        (msgspec.msgpack.Ext, "Ext, which msgspec does not keep"),
        (Model, "the pydantic model Model"),
        (Box[Model], "the pydantic model Model in value"),
        (Otherwise, "an UNSET that would not be read as such from a"),
        (Needed, "an UNSET that would not be read as such from a"),
        (Placed, "an UNSET that would not be read as such from a"),
        (OtherwiseData, "an UNSET that would not be read as such from a"),
        (list[Doubling],
         "a __post_init__, which would run again at each reading of a Doubling in []"),
        (Annotated[int, msgspec.Meta(ge=0)],
         "a constraint: checked when read, but not when written"),
        (dict[str, Annotated[str, msgspec.Meta(max_length=3)]],
         "a constraint in []: checked when read, but not when written"),
        (Annotated[datetime, msgspec.Meta(tz=True)],
         "a constraint: checked when read, but not when written"),
    ],
)  # fmt: skip
def test_what_leaves_something_open_is_not(kept: Any, reason: str) -> None:
    assert unkept(kept)[0] == reason


def test_what_msgspec_cannot_read_is_told_in_its_words() -> None:
    (reason,) = unkept(str | Decimal)

    assert reason.startswith("msgspec cannot read it: Type unions may not contain more than one")


def test_events_may_be_checked_when_they_are_read_but_have_only_the_keys_of_json() -> None:
    assert unkept(Annotated[int, msgspec.Meta(ge=0)], event=True) == []
    assert unkept(Doubling, event=True) == []
    assert unkept(dict[int, str], event=True) == []
    for key in (tuple[int, str], int | str, bool, Line):
        assert unkept(Box[dict[key, int]], event=True) == [  # type: ignore[valid-type]  # computed
            "keys in value that JSON cannot hold"
        ]
