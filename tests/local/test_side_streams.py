from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.kafka.writer import RawRecord
from mesh_stream.local.feed import DIRT, ORDERS, TOPICS, order_events, shop_events
from mesh_stream.local.side_streams import PRODUCTS, USERS
from mesh_stream.testing import ProductDriver

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEED = 11
FOLDER = Path(__file__).parents[2] / "products"
FOLDERS = {USERS: "users/users-active", PRODUCTS: "products/products-inventory"}


def events(
    count: int, *topics: str, seed: int = SEED, dirt: float = DIRT
) -> dict[str, list[RawRecord]]:
    made = shop_events(seed, topics or TOPICS, clock=lambda: NOON, dirt=dirt)
    found: defaultdict[str, list[RawRecord]] = defaultdict(list)
    for record in itertools.islice(made, count):
        assert record.topic is not None
        found[record.topic].append(record)
    return found


def driven(topic: str, records: list[RawRecord]) -> ProductDriver:
    driver = ProductDriver.load(FOLDER / FOLDERS[topic])
    for record in records:
        driver.send(record.value, key=record.key, timestamp=int(NOON.timestamp() * 1000))
    return driver


def fields(records: list[RawRecord]) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in records]


def test_a_seed_decides_every_byte_but_the_times() -> None:
    assert events(2_000) == events(2_000)
    assert events(2_000) != events(2_000, seed=SEED + 1)


def test_orders_are_the_same_whoever_reads_what_goes_with_them() -> None:
    alone = list(itertools.islice(order_events(SEED, clock=lambda: NOON), 500))
    for topics in (TOPICS, (ORDERS,), (ORDERS, USERS), (PRODUCTS, ORDERS)):
        assert events(5_000, *topics)[ORDERS][:500] == alone


def test_only_what_is_wanted_is_told() -> None:
    assert set(events(1_000, USERS)) == {USERS}
    assert set(events(1_000)) == set(TOPICS)


def test_every_event_is_keyed_as_its_product_declares() -> None:
    made = events(3_000, dirt=0)
    assert all(
        record.key == (event["user_id"] and event["user_id"].encode())
        for record, event in zip(made[USERS], fields(made[USERS]), strict=True)
    )
    assert all(
        record.key == event["sku"].encode()
        for record, event in zip(made[PRODUCTS], fields(made[PRODUCTS]), strict=True)
    )


def test_what_a_completed_order_takes_leaves_the_warehouse() -> None:
    made = events(20_000, dirt=0)
    ordered: Counter[str] = Counter()
    # An order that was told twice is one.
    last: dict[str, Any] = {event["order_id"]: event for event in fields(made[ORDERS])}
    for event in last.values():
        if event["status"] == "completed":
            ordered.update({item["sku"]: item["qty"] for item in event["items"]})
    sold: Counter[str] = Counter()
    for event in fields(made[PRODUCTS]):
        if event["reason"] == "sale":
            sold[event["sku"]] -= event["quantity"]
    # The stream was cut off, perhaps amid the movements of its last order.
    assert sum((ordered - sold).values()) < 6 * 48
    assert sold - ordered == Counter()


def test_stock_is_bought_in_for_many_sales_at_once() -> None:
    reasons = Counter(
        event["reason"] for event in fields(events(20_000, PRODUCTS, dirt=0)[PRODUCTS])
    )
    assert 100 < reasons["delivery"] < 0.2 * reasons["sale"]


def test_stock_is_bought_in_and_hardly_ever_below_zero() -> None:
    driver = driven(PRODUCTS, events(20_000, PRODUCTS)[PRODUCTS])
    assert 0 < driver.tolerated["on_hand_not_negative"] < 0.01 * len(driver.facts)
    on_hand = [stock.on_hand for stock in driver.states.values()]
    assert sum(units < 0 for units in on_hand) < 0.05 * len(on_hand)


@pytest.mark.parametrize("topic", [USERS, PRODUCTS])
def test_without_dirt_nothing_is_rejected(topic: str) -> None:
    driver = driven(topic, events(3_000, topic, dirt=0)[topic])
    assert driver.rejected == []
    assert len(driver.facts) > 1_000


@pytest.mark.parametrize(
    ("topic", "fates", "reasons"),
    [
        (USERS, {"early", "user_id_match_regex", "key"}, {"anonymous", "late", "tombstone"}),
        (PRODUCTS, {"sku_match_regex", "key"}, {"nothing_moved", "tombstone"}),
    ],
)
def test_every_kind_of_dirt_meets_its_fate(topic: str, fates: set[str], reasons: set[str]) -> None:
    made = events(20_000, topic)[topic]
    driver = driven(topic, made)
    payload = {("payload", rule) for rule in ("malformed", "type", "empty")}
    assert {(one.fault_class, one.rule) for one in driver.rejected} == payload | {
        ("contract", rule) for rule in fates
    }
    assert set(driver.filtered) == reasons
    assert 0.01 < len(driver.rejected) / len(made) < 0.06


def test_a_phone_s_events_come_late_and_most_of_them_in_time() -> None:
    times = [
        NOON - datetime.fromisoformat(event["occurred_at"])
        for event in fields(events(20_000, USERS, dirt=0)[USERS])
    ]
    late = sum(held > timedelta(hours=2) for held in times)
    held_back = sum(timedelta(0) < held <= timedelta(hours=2) for held in times)
    assert 0 < late < held_back < 0.01 * len(times)
