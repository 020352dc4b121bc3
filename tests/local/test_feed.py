from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream.kafka.writer import RawRecord
from mesh_stream.local.feed import DIRT, order_events
from mesh_stream.testing import ProductDriver

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SEED = 11


ORDERS_COMPLETED = Path(__file__).parents[2] / "products" / "orders" / "orders-completed"


def events(count: int, *, seed: int = SEED, dirt: float = DIRT) -> list[RawRecord]:
    return list(itertools.islice(order_events(seed, clock=lambda: NOON, dirt=dirt), count))


def driven(records: Sequence[RawRecord]) -> ProductDriver:
    driver = ProductDriver.load(ORDERS_COMPLETED)
    for record in records:
        driver.send(record.value, key=record.key)
    return driver


@settings(max_examples=25, deadline=None)
@given(seed=st.integers())
def test_a_seed_decides_every_byte_but_the_times(seed: int) -> None:
    assert events(300, seed=seed) == events(300, seed=seed)


def test_another_seed_tells_another_story() -> None:
    assert not {e.key for e in events(300, seed=1)} & {e.key for e in events(300, seed=2)}


def test_an_event_occurs_at_the_clock_s_time() -> None:
    ticks = (NOON + timedelta(seconds=n) for n in itertools.count())
    made = itertools.islice(order_events(SEED, clock=lambda: next(ticks), dirt=0), 50)
    times = [datetime.fromisoformat(json.loads(e.value or b"")["occurred_at"]) for e in made]
    assert times == [NOON + timedelta(seconds=n) for n in range(50)]


def test_an_order_lives_from_created_to_paid_to_its_end() -> None:
    lives: defaultdict[str, list[str]] = defaultdict(list)
    for record in events(5_000, dirt=0):
        event = json.loads(record.value or b"")
        assert record.key == event["order_id"].encode()
        if lives[event["order_id"]][-1:] != [event["status"]]:
            lives[event["order_id"]].append(event["status"])
    whole = ["created", "paid", "completed"]
    allowed = [whole, ["created", "cancelled"], ["created", "paid", "cancelled"]]
    ended = [life for life in lives.values() if life[-1] in ("completed", "cancelled")]
    assert len(ended) > 1_000
    assert [life for life in ended if life not in allowed] == []
    assert sum(life == whole for life in ended) / len(ended) > 0.7
    assert [life for life in lives.values() if life not in (*allowed, whole[:1], whole[:2])] == []


def test_orders_overlap() -> None:
    keys = [record.key for record in events(200, dirt=0)]
    first, last = keys.index(keys[0]), len(keys) - 1 - keys[::-1].index(keys[0])
    assert len(set(keys[first:last])) > 3


def test_some_events_are_sent_twice_and_unchanged() -> None:
    made = events(20_000)
    twice = sum(one == other for one, other in itertools.pairwise(made))
    assert 10 < twice < 100


def test_without_dirt_nothing_is_rejected() -> None:
    driver = driven(events(5_000, dirt=0))
    assert driver.rejected == []
    assert set(driver.filtered) == {"not_completed"}
    assert len(driver.facts) > 1_000


def test_about_one_event_in_thirty_is_dirty() -> None:
    clean = Counter(type(_parsed(record)) for record in events(50_000, dirt=0))
    assert clean == {dict: 50_000}
    damaged = sum(not _is_whole(record) for record in events(50_000))
    assert 0.02 < damaged / 50_000 < 0.04


def test_every_kind_of_dirt_meets_its_fate() -> None:
    made = events(30_000)
    driver = driven(made)
    fates = {(one.fault_class, one.rule) for one in driver.rejected}
    assert fates == {
        ("payload", "malformed"),
        ("payload", "type"),
        ("payload", "empty"),
        ("contract", "schema"),
        ("contract", "total_amount_between"),
        ("contract", "order_id_match_regex"),
        ("contract", "completed_at_not_null"),
    }
    fields = {one.reason.split(":")[0] for one in driver.rejected if one.rule == "schema"}
    assert fields == {"field customer_id", "field total_amount", "field completed_at"}
    assert set(driver.filtered) == {"not_completed", "tombstone"}
    accounted = len(driver.facts) + driver.filtered.total() + len(driver.rejected)
    assert accounted == len(made)
    keys = {record.key and record.key.startswith(b"\xff") for record in made}
    assert keys >= {None, True, False}


def _parsed(record: RawRecord) -> Any:
    try:
        return json.loads(record.value or b"")
    except ValueError:
        return None


def _is_whole(record: RawRecord) -> bool:
    """As the shop's system would have sent it, and about an order that can be completed."""
    event = _parsed(record)
    if not isinstance(event, dict) or not {"order_id", "status", "occurred_at"} <= event.keys():
        return False
    if record.key != str(event["order_id"]).encode() or not isinstance(event["items"], list):
        return False
    return (
        event["order_id"].startswith("ord_")
        and event["customer_id"] is not None
        and event["status"] is not None
        and event["occurred_at"].endswith("+00:00")
        and all(0 < item["qty"] < 1_000 for item in event["items"])
        and all(len(str(item["unit_price"]).partition(".")[2]) <= 2 for item in event["items"])
    )
