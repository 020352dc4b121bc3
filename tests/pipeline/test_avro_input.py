"""Avro that somebody else wrote: read to the last byte, or refused; never a crash."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import fastavro
import pytest

from mesh_stream.errors import PayloadError, RegistryError
from mesh_stream.pipeline.avro_input import ID_HEADER, AvroReader
from mesh_stream.product.product import Contract
from mesh_stream.testing import MemorySchemas
from tests.pipeline.making import (
    CURRENCY,
    DATE,
    LINE,
    MILLIS,
    UUID_TEXT,
    contract,
    contract_of,
    decimal,
    message,
)

ORDER = contract(id="string", amount=decimal(9, 2))
DATUM = {"id": "o1", "amount": Decimal("12.50")}
GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")


def body(schema: Any, datum: Any) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema, _force=True), datum)
    return stream.getvalue()


def read(
    schema: Any,
    bare: bytes,
    *,
    declared: Contract | None = None,
    prefix: bytes | None = b"\x00\x00\x00\x00\x07",
    headers: Any = None,
) -> Any:
    """One value through a fresh reader that knows the schema by id 7 and by `GUID`."""
    schemas = MemorySchemas()
    schemas.register(schema, schema_id=7)
    schemas.register(schema, schema_id=GUID)
    value = (prefix or b"") + bare
    return AvroReader(schemas, reader=declared).read(value, message(value, headers=headers))


def refusal(schema: Any, bare: bytes, **options: Any) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        read(schema, bare, **options)
    return caught.value


# Framing


def test_the_schema_is_named_by_five_bytes_before_the_record() -> None:
    assert read(dict(ORDER.schema), body(ORDER.schema, DATUM)) == DATUM


def test_the_schema_may_be_named_by_a_header_instead() -> None:
    headers = [("trace", b"\xff"), (ID_HEADER, b"\x01" + GUID.bytes)]

    assert (
        read(dict(ORDER.schema), body(ORDER.schema, DATUM), prefix=None, headers=headers) == DATUM
    )


def test_a_bare_record_that_begins_with_a_zero_is_read_by_its_header() -> None:
    facts = contract(a="long", b="string")
    bare = body(facts.schema, {"a": 0, "b": "text"})
    assert bare[0] == 0

    headers = [(ID_HEADER, b"\x01" + GUID.bytes)]
    found = read(dict(facts.schema), bare, prefix=None, headers=headers)

    assert found == {"a": 0, "b": "text"}


@pytest.mark.parametrize(
    "headers",
    [
        [(ID_HEADER, b"\x01" + GUID.bytes)] * 2,
        [(ID_HEADER, b"\x01" + GUID.bytes), ("__key_schema_id", b"\x01" + bytes(16))],
    ],
    ids=["twice the same", "beside the key's"],
)
def test_a_header_that_leaves_no_doubt_counts(headers: Any) -> None:
    assert read("long", b"\x02", prefix=None, headers=headers) == 1


@pytest.mark.parametrize(
    "headers",
    [
        [(ID_HEADER, GUID.bytes)],
        [(ID_HEADER, b"\x02" + GUID.bytes)],
        [(ID_HEADER, b"\x01" + GUID.bytes[:15])],
        [(ID_HEADER, b"")],
        [(ID_HEADER, None)],
        [(ID_HEADER, b"\x01" + GUID.bytes), (ID_HEADER, b"\x01" + bytes(16))],
    ],
    ids=["no version", "another version", "short", "empty", "null", "two that differ"],
)
def test_a_header_that_names_no_schema_is_a_framing_fault(headers: Any) -> None:
    assert refusal("long", b"\x02", prefix=None, headers=headers).rule == "framing"
    assert refusal("long", b"\x02", headers=headers).rule == "framing"


@pytest.mark.parametrize("prefix", [b"\x01\x00\x00\x00\x07", b"{", b"\x00", b"\x00\x00\x00\x07"])
def test_a_value_that_names_no_schema_is_a_framing_fault(prefix: bytes) -> None:
    assert refusal("long", b"", prefix=prefix).rule == "framing"


def test_an_unknown_id_is_the_records_fault_and_asked_for_again() -> None:
    schemas = MemorySchemas()
    reader = AvroReader(schemas, reader=None)
    value = b"\x00\x00\x00\x00\x09\x02"

    with pytest.raises(
        PayloadError, match="schema id 9, which the registry does not have"
    ) as caught:
        reader.read(value, message(value))
    assert caught.value.rule == "unknown_schema"

    schemas.register("long", schema_id=9)
    assert reader.read(value, message(value)) == 1


def test_a_known_id_is_asked_for_once() -> None:
    class Counting(MemorySchemas):
        asked = 0

        def writer_schema(self, schema_id: Any) -> Any:
            self.asked += 1
            return super().writer_schema(schema_id)

    schemas = Counting()
    schemas.register("long", schema_id=1)
    schemas.register({"type": "array", "items": "null"}, schema_id=2)
    reader = AvroReader(schemas, reader=None)
    for _ in range(3):
        reader.read(b"\x00\x00\x00\x00\x01\x02", message())
        with pytest.raises(PayloadError, match="schema 2 is refused"):
            reader.read(b"\x00\x00\x00\x00\x02\x02", message())

    assert schemas.asked == 2


def test_a_registry_that_cannot_be_asked_says_nothing_about_the_record() -> None:
    class Down:
        def writer_schema(self, schema_id: Any) -> Any:
            raise RegistryError("the registry does not answer")

    with pytest.raises(RegistryError):
        AvroReader(Down(), reader=None).read(b"\x00\x00\x00\x00\x01\x02", message())


# Bytes


def test_bytes_after_the_record_are_refused() -> None:
    error = refusal("long", b"\x02\x02\x02")

    assert error.rule == "trailing_bytes"
    assert error.reason == "found 2 bytes after the record of schema 7"


@pytest.mark.parametrize("length", range(len(body(ORDER.schema, DATUM))))
def test_a_record_cut_short_is_malformed(length: int) -> None:
    whole = body(ORDER.schema, DATUM)

    assert refusal(dict(ORDER.schema), whole[:length]).rule == "malformed"


def hostile(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.hostile_avro", *arguments],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return json.loads(done.stdout)


def test_messages_that_would_crash_or_swallow_a_worker_are_refused() -> None:
    found = hostile("known")

    ends = {name: next(iter(end)) for name, end in found["ends"].items()}
    unsafe = {name for name, end in ends.items() if end == "unsafe_schema"}
    assert unsafe == {
        "5 KB on a recursive schema",
        "7 bytes on an array of nulls",
        "5 bytes on an array of nulls",
        "an array of empty records",
        "a negative block count",
        "types that double each other",
    }
    assert {end for name, end in ends.items() if name not in unsafe} == {"malformed"}
    assert found["grown_bytes"] < 50_000_000


def test_torn_messages_are_read_or_refused_and_nothing_else() -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails

    found = hostile("fuzz", str(seed))

    ends = found["ends"]["fuzz"]
    assert set(ends) <= {"read", "malformed", "trailing_bytes"}
    assert ends["malformed"] > 4_000
    assert found["grown_bytes"] < 50_000_000


# Decimals


@pytest.mark.parametrize("digits", ["9" * 38, "1" + "0" * 37, "7", "123456789" * 6])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_decimal_is_read_to_the_last_digit(digits: str, sign: int) -> None:
    precision = len(digits)
    schema = decimal(precision, precision // 2)
    fixed = {**schema, "type": "fixed", "name": "F", "size": 32}
    unscaled = -int(digits) if sign else int(digits)
    raw = unscaled.to_bytes(32, "big", signed=True)
    value = Decimal((sign, tuple(map(int, digits)), -(precision // 2)))

    for found in (read(schema, body("bytes", raw)), read(fixed, raw)):
        assert found.as_tuple() == value.as_tuple()


def test_a_decimal_of_more_digits_than_its_type_is_refused_not_rounded() -> None:
    schema = decimal(3)
    assert read(schema, body("bytes", (999).to_bytes(2, "big"))) == 999
    assert refusal(schema, body("bytes", (1000).to_bytes(2, "big"))).rule == "malformed"


def test_a_decimal_without_digits_is_plain_bytes_as_the_specification_says() -> None:
    assert read({"type": "bytes", "logicalType": "decimal"}, b"\x02\x07") == b"\x07"


def test_fastavros_own_decimals_stay_as_they_are() -> None:
    parsed = fastavro.parse_schema(decimal(3), _force=True)

    assert fastavro.schemaless_reader(BytesIO(b"\x04\x03\xe8"), parsed, None) == Decimal("1.00E+3")


# Resolution: another version of the writer


def test_what_a_newer_writer_added_is_left_out() -> None:
    newer = contract_of(
        {"name": "channel", "type": "string"},
        *ORDER.schema["fields"],
        {"name": "lines", "type": {"type": "array", "items": LINE}},
    )
    datum = {**DATUM, "channel": "web", "lines": [{"sku": "a", "price": Decimal(1), "due": None}]}

    assert read(dict(newer.schema), body(newer.schema, datum), declared=ORDER) == DATUM


READER = contract_of(
    {"name": "id", "type": "string"},
    {"name": "fee", "type": decimal(9, 2), "default": "\u0001\u00f4"},
    {"name": "at", "type": ["null", MILLIS], "default": None},
    {"name": "from", "type": MILLIS, "default": 0},
    {"name": "day", "type": DATE, "default": 0},
    {"name": "uuid", "type": UUID_TEXT, "default": str(GUID)},
    {"name": "currency", "type": CURRENCY, "default": "USD"},
    {"name": "before", "type": "Currency", "default": "EUR"},
    {"name": "raw", "type": "bytes", "default": "\u00ff"},
    {"name": "tags", "type": {"type": "array", "items": decimal(3)}, "default": ["\u0001"]},
    {"name": "line", "type": LINE, "default": {"sku": "x", "price": "\u0002"}},
)


def test_what_an_older_writer_did_not_know_takes_the_default_as_the_value_it_means() -> None:
    older = contract(id="string")

    found = read(dict(older.schema), body(older.schema, {"id": "o1"}), declared=READER)

    assert found == {
        "id": "o1",
        "fee": Decimal("5.00"),
        "at": None,
        "from": read(MILLIS, b"\x00"),
        "day": read(DATE, b"\x00"),
        "uuid": GUID,
        "currency": "USD",
        "before": "EUR",
        "raw": b"\xff",
        "tags": [Decimal(1)],
        "line": {"sku": "x", "price": Decimal("0.02"), "due": None},
    }


def test_a_default_is_each_records_own() -> None:
    older = contract(id="string")
    schemas = MemorySchemas()
    schemas.register(dict(older.schema), schema_id=1)
    reader = AvroReader(schemas, reader=READER)
    value = b"\x00\x00\x00\x00\x01" + body(older.schema, {"id": "o1"})

    first = reader.read(value, message(value))
    first["tags"].append("mine")

    assert reader.read(value, message(value))["tags"] == [Decimal(1)]


def test_a_number_is_promoted_as_the_specification_says() -> None:
    narrow, wide = contract(n="int"), contract(n="double")

    assert read(dict(narrow.schema), body(narrow.schema, {"n": 7}), declared=wide) == {"n": 7.0}


@pytest.mark.parametrize(
    "writer",
    [
        contract(id="string"),
        contract(id="long", amount=decimal(9, 2)),
        contract(id="string", amount=decimal(9, 3)),
        contract(id="string", amount="bytes"),
        contract(id=["null", "string"], amount=decimal(9, 2)),
    ],
    ids=["a field is missing", "of another type", "another scale", "no decimal", "nullable"],
)
def test_a_writer_whose_records_cannot_be_read_is_refused_by_its_schema(writer: Contract) -> None:
    error = refusal(dict(writer.schema), b"\x00\x00", declared=ORDER)

    assert error.rule == "schema_incompatible"
    assert "id" in error.reason or "amount" in error.reason
