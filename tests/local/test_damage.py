from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from mesh_stream.kafka.writer import RawRecord
from mesh_stream.local.damage import (
    ANYWHERE,
    Damage,
    cut_short,
    damaged,
    empty,
    in_a_list,
    odd_key,
    tombstone,
    without,
    without_key,
    without_zone,
    wrong,
    wrong_charset,
)

EVENT = {"sku": "sku-1", "occurred_at": "2026-03-01T12:00:00.000+00:00"}
VALUE = json.dumps(EVENT, separators=(",", ":")).encode()
RECORD = RawRecord(b"sku-1", VALUE, None, "raw.products")


@pytest.mark.parametrize(
    ("damage", "key", "value"),
    [
        (in_a_list, b"sku-1", b"[" + VALUE + b"]"),
        (empty, b"sku-1", b""),
        (tombstone, b"sku-1", None),
        (odd_key, b"\xff\xfe\x00sku-1", VALUE),
        (without_key, None, VALUE),
        (wrong_charset, b"sku-1", VALUE.replace(b"sku-1", b"caf\xe9-1")),
        (without_zone, b"sku-1", VALUE.replace(b"+00:00", b"")),
        (wrong(sku=7), b"sku-1", VALUE.replace(b'"sku-1"', b"7")),
        (without("sku"), b"sku-1", VALUE.replace(b'"sku":"sku-1",', b"")),
    ],
)
def test_a_damage_does_what_it_is_called(
    damage: Damage, key: bytes | None, value: bytes | None
) -> None:
    assert damage(EVENT, RECORD, Random(1)) == RECORD._replace(key=key, value=value)


def test_what_is_cut_short_begins_as_it_was_and_is_not_empty() -> None:
    for seed in range(200):
        value = cut_short(EVENT, RECORD, Random(seed)).value
        assert value
        assert VALUE.startswith(value)
        assert value != VALUE


def test_damages_happen_as_often_as_their_numbers_say() -> None:
    random = Random(7)
    found = Counter(
        damaged(EVENT, RECORD, random, {empty: 3, tombstone: 1}).value for _ in range(4_000)
    )
    assert set(found) == {b"", None}
    assert 2.7 < found[b""] / found[None] < 3.3


def test_a_damaged_record_goes_where_it_would_have_gone() -> None:
    for damage in ANYWHERE:
        assert damage(EVENT, RECORD, Random(3)).topic == "raw.products"
