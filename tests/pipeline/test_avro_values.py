"""What a record that lacks a field gets."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from mesh_stream.errors import ContractError
from tests.pipeline.encoding import encode, read
from tests.pipeline.making import (
    CURRENCY,
    MILLIS,
    NESTED,
    contract,
    contract_of,
    decimal,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


DEFAULTS = contract_of(
    {"name": "id", "type": "string"},
    {"name": "channel", "type": "string", "default": "web"},
    {"name": "note", "type": ["null", "string"], "default": None},
    {"name": "fee", "type": decimal(9, 2), "default": "\u0001\u00f4"},
    {"name": "at", "type": MILLIS, "default": 1_000},
    {"name": "currency", "type": CURRENCY, "default": "USD"},
    {"name": "raw", "type": "bytes", "default": "\u00ff"},
    {"name": "times", "type": "long", "default": 3},
    {"name": "share", "type": "double", "default": 1},
)
DEFAULTED = {
    "id": "o1",
    "channel": "web",
    "note": None,
    "fee": Decimal("5.00"),
    "at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    "currency": "USD",
    "raw": b"\xff",
    "times": 3,
    "share": 1.0,
}


class OnlyId(msgspec.Struct):
    id: str


@pytest.mark.parametrize("record", [{"id": "o1"}, OnlyId("o1")], ids=["dict", "struct"])
def test_a_field_that_a_record_lacks_takes_its_declared_default(record: Any) -> None:
    nested = contract_of(
        *DEFAULTS.schema["fields"],
        {"name": "tags", "type": {"type": "array", "items": "string"}, "default": ["new"]},
    )

    assert read(DEFAULTS, encode(DEFAULTS, record)) == DEFAULTED
    assert read(nested, encode(nested, record)) == {**DEFAULTED, "tags": ["new"]}


def test_a_null_is_no_missing_field_and_takes_no_default() -> None:
    with pytest.raises(ContractError, match="field channel: found null; expected string"):
        encode(DEFAULTS, {"id": "o1", "channel": None})


def test_a_nullable_field_without_a_default_may_not_be_missing() -> None:
    for facts in (
        contract(a=["null", "long"]),
        contract(a=["null", "long"], b=NESTED.fields["lines"]),
    ):
        with pytest.raises(ContractError, match=r"field a: found nothing; expected long\?"):
            encode(facts, {"b": []})
