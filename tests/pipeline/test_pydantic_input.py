"""Records of products whose record type is a pydantic model."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.decode import _json_parser
from mesh_stream.pipeline.pydantic_input import compile_json, compile_plain


def reader(model: type[pydantic.BaseModel]) -> Any:
    """As the stage makes it."""
    return compile_json(model, _json_parser(dict))


class Amount(pydantic.BaseModel):
    amount: Decimal


@dataclasses.dataclass
class Line:
    amounts: list[Annotated[Decimal, pydantic.Field(ge=0)]]


class Lines(pydantic.BaseModel):
    lines: dict[str, Line | None]


class Untyped(pydantic.BaseModel):
    anything: Any


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_keeps_every_digit_wherever_it_stands(value: Decimal) -> None:
    assert str(reader(Amount)(f'{{"amount": {value}}}'.encode()).amount) == str(value)
    positive = abs(value)
    lines = reader(Lines)(f'{{"lines": {{"a": {{"amounts": [{positive}]}}}}}}'.encode())
    assert lines.lines["a"].amounts == [positive]


def test_a_number_of_no_stated_type_is_a_decimal() -> None:
    assert reader(Untyped)(b'{"anything": 0.1}').anything == Decimal("0.1")
    assert reader(Untyped)(b'{"anything": [1, {"a": 12345678901234567.89}]}').anything == [
        1,
        {"a": Decimal("12345678901234567.89")},
    ]


class Mixed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    share: float
    whole: int = 0
    when: datetime | None = None


class MixedWithDecimal(Mixed):
    amount: Decimal = Decimal(0)


def test_a_model_with_a_decimal_reads_its_other_fields_as_without_one() -> None:
    for value in (
        b'{"share": 0.1, "whole": 2, "when": "2026-01-01T12:00:00Z"}',
        b'{"share": 1}',
    ):
        exact = reader(MixedWithDecimal)(value)
        assert exact.model_dump(exclude={"amount"}) == reader(Mixed)(value).model_dump()


def test_plain_data_is_read_as_avro_gives_it() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    datum = {"share": 1.5, "whole": 1, "when": when, "amount": Decimal("1.50")}

    assert compile_plain(MixedWithDecimal)(datum).model_dump() == datum


class Aliased(pydantic.BaseModel):
    order: str = pydantic.Field(alias="orderId")
    city: str = pydantic.Field(validation_alias=pydantic.AliasPath("address", "city"))
    zone: int = pydantic.Field(validation_alias=pydantic.AliasChoices("zone", "area"), default=0)
    line: Line | None = None


ORDER = b'{"orderId": "", "address": {"city": ""}, '


@pytest.mark.parametrize(
    ("model", "value", "reason"),
    [
        (Aliased, b"{}", "missing at `orderId` and 1 more"),
        (Aliased, b'{"orderId": "", "address": {}}', "missing at `address.city`"),
        (Aliased, ORDER + b'"area": "x"}', "int_parsing at `area`"),
        (Aliased, ORDER + b'"line": 1}', "dataclass_type at `line`"),
        (
            Lines,
            b'{"lines": {"secret": {"amounts": [""]}}}',
            "decimal_parsing at `lines.*.amounts.0`",
        ),
        (Lines, b'{"lines": {"secret": 1}}', "dataclass_type at `lines.*`"),
        (Amount, b"[]", "Expected `object`, got `array`"),
        (Mixed, b"[]", "model_type at `.`"),
        (Mixed, b"{", "found no JSON"),
    ],
)
def test_a_reason_names_fields_but_never_a_mappings_keys(
    model: type[pydantic.BaseModel], value: bytes, reason: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        reader(model)(value)

    assert caught.value.reason == reason


def test_a_model_that_holds_itself_is_read_like_any_other() -> None:
    class Tree(pydantic.BaseModel):
        weight: Decimal
        branches: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})

    tree = reader(Tree)(b'{"weight": 1.5, "branches": [{"weight": 0.1}]}')

    assert tree.branches[0].weight == Decimal("0.1")
