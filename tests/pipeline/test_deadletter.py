"""What a dead letter carries: the record untouched, and why it is here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_stream.pipeline.deadletter import (
    MAX_REASON_BYTES,
    ORIGIN,
    OURS,
    Provenance,
    dead_letter_headers,
)
from mesh_stream.pipeline.record import Headers, Rejected
from mesh_stream.product.product import (
    Action,
    Format,
    Holds,
    InSet,
    Limits,
    MatchesRegex,
    Product,
    Rule,
)
from mesh_stream.testing import ProductDriver
from tests.pipeline.making import (
    MILLIS,
    contract,
    decimal,
    message,
    port,
    product,
    transformation,
)

PRODUCT = product(contract(id="string"))
PROVENANCE = Provenance.of(PRODUCT, contract_version=3, schema_id=17)
NOW = 1_767_225_600_000


def headers_of(
    headers: Any = None, *, reason: str = "found no JSON", now: int = NOW, offset: int = 42
) -> Headers:
    rejected = Rejected(
        message(b"{", headers=headers, offset=offset), "payload", "malformed", reason
    )
    return dead_letter_headers(rejected, provenance=PROVENANCE, now=now)


def ours(headers: Headers) -> dict[str, str]:
    """The headers that say why; each name once, each value text."""
    found = [(name, value) for name, value in headers if name.startswith((ORIGIN, OURS))]
    assert len(dict(found)) == len(found)
    return {name: (value or b"").decode() for name, value in found}


def test_every_header_of_a_first_failure() -> None:
    assert headers_of() == [
        ("__dlq.errors.topic", b"raw.orders"),
        ("__dlq.errors.partition", b"0"),
        ("__dlq.errors.offset", b"42"),
        ("__dlq.errors.group", b"mesh.orders-tested"),
        ("__dlq.errors.message", b"found no JSON"),
        ("__dlq.errors.delivery.count", b"1"),
        ("mesh.dlq.class", b"payload"),
        ("mesh.dlq.rule", b"malformed"),
        ("mesh.dlq.product", b"orders-tested"),
        ("mesh.dlq.product.version", b"1.2.0"),
        ("mesh.dlq.contract.version", b"3"),
        ("mesh.dlq.schema.id", b"17"),
        ("mesh.dlq.first.seen", b"1767225600000"),
        ("mesh.dlq.attempts", b"1"),
        ("mesh.dlq.id", b"raw.orders-0-42"),
    ]


def test_the_records_own_headers_stay_in_order_with_nulls_and_duplicates() -> None:
    own: Headers = [("trace", b"\xff"), ("h", b"1"), ("h", None), ("h", b""), ("__connect.x", b"c")]

    assert headers_of(own)[:5] == own


def test_the_records_own_list_of_headers_is_not_changed() -> None:
    own: Headers = [("h", b"1"), ("mesh.dlq.attempts", b"1")]

    headers_of(own)

    assert own == [("h", b"1"), ("mesh.dlq.attempts", b"1")]


def test_a_second_failure_replaces_the_headers_and_counts_on() -> None:
    first = headers_of([("h", b"1")])
    second = headers_of(first, reason="another", now=NOW + 60_000, offset=99)

    assert len(second) == len(first)
    assert second[0] == ("h", b"1")
    why = ours(second)
    assert (why["mesh.dlq.attempts"], why["__dlq.errors.delivery.count"]) == ("2", "2")
    assert why["mesh.dlq.first.seen"] == str(NOW)
    assert why["__dlq.errors.message"] == "another"
    assert why["mesh.dlq.id"] == "raw.orders-0-99"


def test_a_thousand_failures_make_no_header_longer() -> None:
    headers = headers_of([("h", b"1")])
    for _ in range(1_000):
        headers = headers_of(headers)

    assert len(headers) == 16
    assert ours(headers)["mesh.dlq.attempts"] == "1001"


@pytest.mark.parametrize(
    "written",
    [None, b"", b"-1", b"x", b"1e9", b"\xff", b"\xd9\xa3", b" 7", b"9" * 17, b"9" * 100_000],
    ids=str,
)
def test_what_others_wrote_into_our_headers_is_no_number_and_does_not_count(
    written: bytes | None,
) -> None:
    why = ours(headers_of([("mesh.dlq.attempts", written), ("mesh.dlq.first.seen", written)]))

    assert why["mesh.dlq.attempts"] == "1"
    assert why["mesh.dlq.first.seen"] == str(NOW)


def test_a_number_that_others_wrote_is_bounded() -> None:
    huge = b"9" * 16
    why = ours(headers_of([("mesh.dlq.attempts", huge), ("mesh.dlq.first.seen", huge)]))

    assert why["mesh.dlq.attempts"] == "1000001"
    assert why["mesh.dlq.first.seen"] == str(NOW)  # nothing was seen before it was


@example("a" + "é" * 600)
@example("\u20ac" * 342)
@example("ab" + "\U0001f600" * 300)
@given(st.text(max_size=2_000) | st.text("é\u20ac\U0001f600\ud800", max_size=2_000))
def test_a_reason_is_cut_at_a_character_within_its_bound(reason: str) -> None:
    cut = dict(headers_of(reason=reason))["__dlq.errors.message"]

    assert cut is not None
    assert len(cut) <= MAX_REASON_BYTES
    text = cut.decode()
    whole = reason.encode(errors="replace").decode()
    assert whole.startswith(text)
    assert text == whole or len(cut) > MAX_REASON_BYTES - 4


# No reason quotes its record


CANARY = "canary9f3a"


class Event(msgspec.Struct):
    id: str
    kind: str = ""
    amount: Decimal = Decimal(1)
    at: datetime | None = None
    extra: Any = None


class EventModel(pydantic.BaseModel):
    id: str
    amounts: dict[str, Decimal] = {}


def convert(event: Event) -> Any:
    match event.kind:
        case "raise":
            raise ValueError(event.id)
        case "raise as a name":
            raise type("Torn", (Exception,), {})(event.id)
        case "text":
            return event.id
        case "twice":
            return [{"id": event.id}, {"id": event.extra}]
        case _:
            return {"id": event.id, "amount": event.amount, "at": event.at, "more": event.extra}


def products() -> Iterator[tuple[Product, list[Any]]]:
    """Products, and records that each of them rejects for as many reasons as there are."""
    facts = contract(
        id="string",
        amount=["null", decimal(5, 2)],
        at=["null", MILLIS],
        more=["null", {"type": "map", "values": {"type": "array", "items": decimal(5, 2)}}],
    )
    rules = [
        Rule("shape", MatchesRegex("canary"), "id"),
        Rule("known", InSet((CANARY, f"{CANARY}2")), "id", Action.DLQ),
        Rule("predicate", Holds(lambda record: {CANARY: True}[record["id"]]), None),
    ]
    applied = transformation(convert, Event)
    limits = Limits(record_bytes=200, input_bytes=1_000, fanout=1)
    yield (
        product(facts, port(applied), rules=rules, limits=limits, key="id"),
        [
            CANARY,
            CANARY.encode() + b"\xff",
            b'{"id": "%s", "kind' % CANARY.encode(),
            [CANARY],
            {"id": [CANARY]},
            {CANARY: CANARY},
            {"id": CANARY, "at": CANARY},
            {"id": CANARY, "amount": CANARY},
            {"id": CANARY * 200},
            {"id": CANARY, "extra": {"k": [CANARY] * 50}},
            {"id": f"x{CANARY}"},
            {"id": f"{CANARY}2"},
            {"id": f"{CANARY}3"},
            {"id": CANARY, "kind": "raise"},
            {"id": CANARY, "kind": "raise as a name"},
            {"id": CANARY, "kind": "text"},
            {"id": CANARY, "kind": "twice"},
            {"id": CANARY, "amount": "1.001"},
            {"id": CANARY, "at": "2026-01-01T00:00:00"},
            {"id": CANARY, "extra": CANARY},
            {"id": CANARY, "extra": {CANARY: [CANARY]}},
            {"id": CANARY, "extra": {CANARY: CANARY}},
            {"id": CANARY, "extra": {CANARY: ["1"]}},
        ],
    )
    model = port(transformation(lambda record: record, EventModel))
    amounts = [{CANARY: CANARY}, CANARY, {CANARY: {CANARY: 1}}]
    yield (
        product(contract(id="string"), model),
        [
            {},
            {"id": [CANARY]},
            *({"id": "", "amounts": wrong} for wrong in amounts),
        ],
    )
    yield product(facts), [{"id": 1, CANARY: 1}, {"id": "", "more": {CANARY: [CANARY]}}]
    framed = port(form=Format.AVRO, reader=facts)
    yield product(facts, framed), [CANARY.encode(), b"\x00\x00\x00\x00\x63" + CANARY.encode()]


@pytest.mark.parametrize(
    ("made", "records"), list(products()), ids=["struct", "model", "json", "avro"]
)
def test_no_header_of_ours_quotes_the_record(made: Product, records: list[Any]) -> None:
    driver = ProductDriver(made)
    for record in records:
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        sent = driver.send(value, key=CANARY, headers={"own": CANARY})
        assert sent.rejected is not None, value
        own, *why = sent.rejected.headers
        assert own == ("own", CANARY.encode())
        assert CANARY not in "".join(ours(why).values()), value
        assert sent.rejected.message.value() == value
        assert sent.rejected.message.key() == CANARY.encode()

    if len(records) > 10:
        # As many different faults as there are ways through the path.
        assert {one.fault_class for one in driver.rejected} == {"payload", "contract", "code"}
        assert len({one.reason for one in driver.rejected}) > 15
