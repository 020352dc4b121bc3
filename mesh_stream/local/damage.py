"""What happens to an event on its way: broken JSON, wrong types, no value, an odd key.

A damage takes an event, and the record that it became, and returns what arrives instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec

from mesh_stream.kafka.writer import RawRecord

Event = dict[str, Any]
Damage = Callable[[Event, RawRecord, Random], RawRecord]

_as_text = msgspec.json.Encoder().encode


def damaged(
    event: Event, record: RawRecord, random: Random, damages: Mapping[Damage, int]
) -> RawRecord:
    """The record after one of the damages, each as likely as its number, relative to the others."""
    (damage,) = random.choices(list(damages), list(damages.values()))
    return damage(event, record, random)


def wrong(**values: Any) -> Damage:
    """A field has a value of no type that it may have: one of the fields, and its value."""

    def wrong_type(event: Event, record: RawRecord, random: Random) -> RawRecord:
        field, value = random.choice(list(values.items()))
        return record._replace(value=_as_text(event | {field: value}))

    return wrong_type


def without(*fields: str) -> Damage:
    """One of the fields is missing."""

    def without_field(event: Event, record: RawRecord, random: Random) -> RawRecord:
        gone = random.choice(fields)
        return record._replace(value=_as_text({k: v for k, v in event.items() if k != gone}))

    return without_field


def without_zone(event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """The time does not say its zone."""
    naive = str(event["occurred_at"])[:23]
    return record._replace(value=_as_text(event | {"occurred_at": naive}))


def wrong_charset(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """The text is no UTF-8."""
    assert record.value is not None
    latin_1 = "café".encode("latin-1")
    return record._replace(value=record.value.replace(b'"sku":"sku', b'"sku":"' + latin_1))


def cut_short(_event: Event, record: RawRecord, random: Random) -> RawRecord:
    """The end is missing."""
    assert record.value is not None
    return record._replace(value=record.value[: random.randrange(1, len(record.value))])


def in_a_list(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """It is wrapped in a list of one."""
    assert record.value is not None
    return record._replace(value=b"[" + record.value + b"]")


def empty(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """The value has no bytes."""
    return record._replace(value=b"")


def tombstone(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """There is no value."""
    return record._replace(value=None)


def odd_key(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """The key is binary."""
    return record._replace(key=b"\xff\xfe\x00" + (record.key or b""))


def without_key(_event: Event, record: RawRecord, _random: Random) -> RawRecord:
    """There is no key."""
    return record._replace(key=None)


ANYWHERE: Mapping[Damage, int] = {
    cut_short: 4,
    without_zone: 2,
    in_a_list: 1,
    empty: 2,
    tombstone: 2,
    odd_key: 1,
    without_key: 1,
}
"""What may happen to any event, and how often, relative to each other."""
