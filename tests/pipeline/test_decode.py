"""What a record is read as, and what is no record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream import DependencyError
from mesh_stream.errors import CodeError, PayloadError, RecordError
from mesh_stream.pipeline.decode import TOMBSTONE, compile_decode
from mesh_stream.product.product import Contract, Format
from mesh_stream.testing import MemorySchemas, ProductDriver
from tests.pipeline.making import MILLIS, contract, decimal, message, port, product, transformation


class ItemStruct(msgspec.Struct):
    sku: str
    price: Decimal


class OrderStruct(msgspec.Struct):
    id: str
    at: datetime
    amount: Decimal
    items: list[ItemStruct]
    note: str | None = None
    extra: Any = None


@dataclasses.dataclass
class ItemDataclass:
    sku: str
    price: Decimal


@dataclasses.dataclass
class OrderDataclass:
    id: str
    at: datetime
    amount: Decimal
    items: list[ItemDataclass]
    note: str | None = None
    extra: Any = None


class ItemDict(TypedDict):
    sku: str
    price: Decimal


class OrderDict(TypedDict, total=False):
    id: str
    at: datetime
    amount: Decimal
    items: list[ItemDict]
    note: str | None
    extra: Any


class ItemModel(pydantic.BaseModel):
    sku: str
    price: Decimal


class OrderModel(pydantic.BaseModel):
    id: str
    at: datetime
    amount: Decimal
    items: list[ItemModel]
    note: str | None = None
    extra: Any = None


TYPES = {"struct": OrderStruct, "dataclass": OrderDataclass, "dict": OrderDict, "model": OrderModel}
PLAIN: dict[str, Any] = {"dict": dict, "dict[str, Any]": dict[str, Any]}

ORDER = contract(
    id="string",
    at=MILLIS,
    amount=decimal(38, 9),
    items={
        "type": "array",
        "items": {
            "type": "record",
            "name": "Item",
            "fields": [{"name": "sku", "type": "string"}, {"name": "price", "type": decimal(9, 2)}],
        },
    },
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AMOUNT = "12345678901234567.890000001"
JSON = (
    f'{{"id":"o1","at":"2026-01-01T12:00:00Z","amount":{AMOUNT},'
    f'"items":[{{"sku":"a","price":0.10}}],"extra":[0.1]}}'
).encode()


def reader(
    record_type: Any,
    form: Format = Format.JSON,
    *,
    schemas: MemorySchemas | None = None,
    declared: Contract | None = None,
    input_bytes: int = 10_000_000,
) -> Callable[..., Any]:
    """The stage for a record type, taking bytes and what else a message has."""
    stage = compile_decode(
        port(transformation(lambda record: record, record_type), form=form, reader=declared),
        contract=ORDER,
        input_bytes=input_bytes,
        writers=schemas or MemorySchemas(),
    )
    return lambda value, **parts: stage(message(value, **parts))


def as_dict(record: Any) -> dict[str, Any]:
    """A record's fields, whatever its type; what is inside them stays as it is."""
    if isinstance(record, dict):
        return record
    return {name: getattr(record, name) for name in OrderDict.__annotations__}


def refusal(record_type: Any, value: bytes, **options: Any) -> RecordError:
    with pytest.raises(RecordError) as caught:
        reader(record_type, **options)(value)
    return caught.value


# Every record type


@pytest.mark.parametrize("record_type", TYPES.values(), ids=list(TYPES))
def test_json_is_read_into_the_annotated_type_with_every_digit(record_type: Any) -> None:
    record = reader(record_type)(JSON)

    fields = as_dict(record)
    assert isinstance(record, dict if record_type is OrderDict else record_type)
    assert (fields["id"], fields["at"], fields["amount"]) == ("o1", NOON, Decimal(AMOUNT))
    (item,) = fields["items"]
    assert (item["price"] if isinstance(item, dict) else item.price) == Decimal("0.10")
    assert fields["extra"] == [Decimal("0.1")]


@pytest.mark.parametrize("record_type", PLAIN.values(), ids=list(PLAIN))
def test_json_is_read_into_a_dict_with_every_digit(record_type: Any) -> None:
    record = reader(record_type)(JSON)

    assert record["at"] == "2026-01-01T12:00:00Z"
    assert str(record["amount"]) == AMOUNT
    assert str(record["items"][0]["price"]) == "0.10"


@pytest.mark.parametrize("record_type", [*TYPES.values(), dict], ids=[*TYPES, "plain"])
def test_avro_is_read_into_the_annotated_type(record_type: Any) -> None:
    driver = ProductDriver(product(ORDER))
    datum = {
        "id": "o1",
        "at": NOON,
        "amount": Decimal(AMOUNT),
        "items": [{"sku": "a", "price": Decimal("0.10")}],
    }
    value, _ = driver.frame(datum, dict(ORDER.schema))

    record = reader(record_type, Format.AVRO, schemas=driver.schemas)(value)

    fields = as_dict(record)
    (item,) = fields["items"]
    price = item["price"] if isinstance(item, dict) else item.price
    assert (fields["id"], fields["at"], fields["amount"]) == ("o1", NOON, Decimal(AMOUNT))
    assert price == Decimal("0.10")


def test_avro_of_another_type_is_a_payload_fault() -> None:
    driver = ProductDriver(product(ORDER))
    text, _ = driver.frame("only text", "string")
    numbered = {"type": "record", "name": "R", "fields": [{"name": "id", "type": "long"}]}
    number, _ = driver.frame({"id": 7}, numbered)

    for record_type in (*TYPES.values(), dict):
        error = refusal(record_type, text, form=Format.AVRO, schemas=driver.schemas)
        assert (error.fault_class, error.rule) == ("payload", "type")
    for record_type in TYPES.values():
        assert refusal(record_type, number, form=Format.AVRO, schemas=driver.schemas).rule == "type"


# The odd ones


def test_a_null_value_is_a_tombstone_and_an_empty_one_is_refused() -> None:
    for form in Format:
        assert reader(dict, form)(None) is TOMBSTONE
        error = refusal(dict, b"", form=form)
        assert (error.fault_class, error.rule) == ("payload", "empty")


def test_the_key_and_the_headers_are_not_read() -> None:
    read = reader(dict)
    same = read(b'{"a": 1}')

    assert read(b'{"a": 1}', key=None) == same
    assert read(b'{"a": 1}', key=b"\xff\xfe") == same
    assert read(b'{"a": 1}', headers=[("h", b"1"), ("h", b"\xff"), ("h", None)] * 500) == same


def test_a_value_over_the_limit_is_not_read() -> None:
    assert reader(dict, input_bytes=8)(b'{"a": 1}') == {"a": 1}
    assert refusal(dict, b'{"a": 11}', input_bytes=8).rule == "oversize"


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    value = b'{"id": "first", "id": "last", "at": "2026-01-01T12:00:00Z", "amount": 1, "items": []}'

    for record_type in (*TYPES.values(), dict):
        record = reader(record_type)(value)
        assert (record["id"] if isinstance(record, dict) else record.id) == "last"


WHOLE = b'"at": "2026-01-01T12:00:00Z", "amount": 1, "items": []}'
MALFORMED = {
    "cut short": b'{"id": "o1", ' + WHOLE[:-1],
    "no JSON": b"hello",
    "single quotes": b"{'id': 'o1'}",
    "more after it": b'{"id": "o1", ' + WHOLE + b' {"id": "o2"}',
    "a zero byte": b'{"id": "o1", ' + WHOLE + b"\x00",
    "only space": b"  ",
    "a byte order mark": b'\xef\xbb\xbf{"id": "o1", ' + WHOLE,
    "UTF-16": b'{"id": "o1", '.decode().encode("utf-16"),
    "no UTF-8": b'{"id": "\xff", ' + WHOLE,
    "half a surrogate": b'{"id": "\\ud800", ' + WHOLE,
    "Infinity": b'{"id": "o1", "extra": Infinity, ' + WHOLE,
    "nested too deep": b'{"extra": ' + b"[" * 100_000 + b"]" * 100_000 + b", " + WHOLE,
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=list(MALFORMED))
@pytest.mark.parametrize("record_type", [*TYPES.values(), dict], ids=[*TYPES, "plain"])
def test_what_is_no_json_is_malformed(record_type: Any, value: bytes) -> None:
    error = refusal(record_type, value)

    assert (error.fault_class, error.rule) == ("payload", "malformed")
    assert error.reason.startswith("found ")


WRONG = {
    "a list": b"[]",
    "a text": b'"o1"',
    "null": b"null",
    "a number": b"1",
    "a missing field": b'{"id": "o1"}',
    "a null": b'{"id": null, "at": "2026-01-01T12:00:00Z", "amount": 1, "items": []}',
    "a number for a text": b'{"id": 1, "at": "2026-01-01T12:00:00Z", "amount": 1, "items": []}',
    "no moment": b'{"id": "o1", "at": "noon", "amount": 1, "items": []}',
    "no decimal": b'{"id": "o1", "at": "2026-01-01T12:00:00Z", "amount": "one", "items": []}',
}


@pytest.mark.parametrize("value", WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("record_type", [OrderStruct, OrderDataclass, OrderModel])
def test_json_of_another_type_is_a_payload_fault(record_type: Any, value: bytes) -> None:
    error = refusal(record_type, value)

    assert (error.fault_class, error.rule) == ("payload", "type")


def test_a_dict_is_read_from_an_object_only() -> None:
    for value in (b"[]", b'"o1"', b"null", b"1"):
        assert refusal(dict, value).rule == "type"


def test_numbers_of_any_size_are_exact_or_refused() -> None:
    read = reader(dict)

    assert str(read(b'{"a": 1e400}')["a"]) == "1E+400"
    assert read(b'{"a": 123456789012345678901234567890}')["a"] == 123456789012345678901234567890
    assert read(b'{"a": -0}')["a"] == 0
    assert refusal(dict, b'{"a": 1e99999999999999999999}').rule == "type"
    assert refusal(dict, b'{"a": ' + b"1" * 100_000 + b"}").rule == "type"
    assert refusal(OrderStruct, b'{"amount": 1e99999999999999999999}').rule == "type"


# What the record type's own code does


class Guarded(msgspec.Struct):
    secret: str

    def __post_init__(self) -> None:
        match self.secret:
            case "bad":
                raise ValueError(f"{self.secret} canary")
            case "torn":
                raise KeyError(f"{self.secret} canary")
            case "down":
                raise DependencyError("the vault does not answer")


class GuardedModel(pydantic.BaseModel):
    secret: str

    @pydantic.field_validator("secret")
    @classmethod
    def _check(cls, secret: str) -> str:
        Guarded(secret)
        return secret


@pytest.mark.parametrize("record_type", [Guarded, GuardedModel])
def test_a_record_type_that_refuses_is_a_payload_fault_without_its_words(record_type: Any) -> None:
    error = refusal(record_type, b'{"secret": "bad"}')

    assert (error.fault_class, error.rule) == ("payload", "type")
    assert "canary" not in error.reason


@pytest.mark.parametrize("record_type", [Guarded, GuardedModel])
def test_a_record_type_that_breaks_is_the_codes_fault(record_type: Any) -> None:
    error = refusal(record_type, b'{"secret": "torn"}')

    assert isinstance(error, CodeError)
    assert "KeyError raised at test_decode.py:" in error.reason
    assert "canary" not in error.reason


@pytest.mark.parametrize("record_type", [Guarded, GuardedModel])
def test_a_platform_fault_passes(record_type: Any) -> None:
    with pytest.raises(DependencyError):
        reader(record_type)(b'{"secret": "down"}')


# What a reason says, and what it never says


def test_a_reason_names_the_field_and_the_types() -> None:
    class Strict(msgspec.Struct, forbid_unknown_fields=True):
        id: str
        at: datetime | None = None

    assert "missing required field `id`" in refusal(Strict, b"{}").reason
    assert "Expected `str`, got `int` - at `$.id`" in refusal(Strict, b'{"id": 1}').reason
    assert "datetime - at `$.at`" in refusal(Strict, b'{"id": "", "at": "noon"}').reason
    assert refusal(OrderModel, b"{}").reason == "missing at `id` and 3 more"
    nested = b'{"id": "", "at": 0, "amount": 1, "items": [{"sku": "a"}]}'
    assert refusal(OrderModel, nested).reason == "missing at `items.0.price`"


class Status(msgspec.Struct, tag_field="kind", tag="status"):
    level: dict[str, int]


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    id: str = ""
    size: dict[str, int] = {}
    colour: str = ""
    part: Status | None = None


class ClosedModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    id: str = ""
    size: dict[str, int] = {}


CANARY = "canary-7f3a"
QUOTES = st.text("'`\" -\n$.at", max_size=12).map(lambda t: f"{CANARY}{t}{CANARY}")


def outcome(read: Callable[[bytes], Any], value: bytes) -> RecordError | None:
    try:
        read(value)
    except RecordError as error:
        return error
    return None


@given(QUOTES)
def test_a_reason_never_quotes_the_record_however_it_is_written(text: str) -> None:
    values = [
        {text: 1},
        {"id": 1, text: text},
        {"id": [text]},
        {"size": {text: text}},
        {"size": {text: 1.5}},
        {"part": {"kind": text}},
        {"part": {"kind": "status", "level": {text: text}}},
        {"part": text},
        text,
        [text],
    ]
    refused = 0
    for record_type in (Closed, ClosedModel, OrderStruct, OrderModel, OrderDict):
        read = reader(record_type)
        for value in values:
            error = outcome(read, msgspec.json.encode(value))
            refused += error is not None
            assert error is None or CANARY not in error.reason
    assert refused > 30


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_bytes_are_a_record_or_a_payload_fault(value: bytes) -> None:
    for record_type in (OrderStruct, OrderDict, OrderModel, dict):
        for form in Format:
            error = outcome(reader(record_type, form), value)
            assert error is None or isinstance(error, PayloadError)
            rules = {"empty", "malformed", "type", "framing", "unknown_schema"}
            assert error is None or error.rule in rules
