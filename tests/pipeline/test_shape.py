"""How the fields of a record are found, whatever kind of record it is."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from mesh_stream.errors import CodeError
from mesh_stream.pipeline.shape import Shape, is_record


class Struct(msgspec.Struct, rename="camel"):
    order_id: str = "o1"
    class_: str = msgspec.field(default="new", name="class")

    @property
    def total(self) -> int:
        return 7


@dataclasses.dataclass(slots=True)
class Dataclass:
    orderId: str = "o1"  # noqa: N815 - the contract's spelling
    total: int = 7


class Model(pydantic.BaseModel):
    order: str = pydantic.Field(default="o1", alias="orderId")
    state: str = pydantic.Field(default="new", alias="state_in", serialization_alias="class")

    @property
    def total(self) -> int:
        return 7


class Named(NamedTuple):
    orderId: str  # noqa: N815 - the contract's spelling


FACT = {"orderId": "o1", "class": "new", "total": 7}
RECORDS = [FACT, OrderedDict(FACT), UserDict(FACT), MappingProxyType(FACT), Struct(), Model()]


def evaluated(source: str, record: Any) -> Any:
    """The value of generated source."""
    return eval(source, {"r": record, "none": None})


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_field_is_found_by_the_contracts_name(record: Any) -> None:
    shape = Shape(type(record))

    for name, value in FACT.items():
        assert shape.read(record, name) == value
        assert evaluated(shape.value(name), record) == value
        assert evaluated(shape.value(name, default="none"), record) == value


@pytest.mark.parametrize(
    "record", [*RECORDS, Dataclass()], ids=lambda record: type(record).__name__
)
def test_a_field_that_is_not_there_raises_or_takes_its_default(record: Any) -> None:
    shape = Shape(type(record))

    for name in ("nothing", "from", "__nothing__"):
        with pytest.raises((KeyError, AttributeError)):
            shape.read(record, name)
        with pytest.raises((KeyError, AttributeError)):
            evaluated(shape.value(name), record)
        assert evaluated(shape.value(name, default="none"), record) is None


@pytest.mark.parametrize("kind", [str, bytes, int, list, tuple, set, object, type(None), Named])
def test_what_has_no_named_fields_is_no_record(kind: type) -> None:
    assert not is_record(kind)
    with pytest.raises(CodeError, match=f"returned a {kind.__name__}; expected a dict"):
        Shape(kind)
