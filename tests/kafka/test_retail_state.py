"""Three products that remember, from a real shop's invoices to every figure known of them.

Three raw streams go through the real replay, workers and broker: orders, movements of stock, and
what customers did. `revenue-hourly` reads the orders' product that publishes orders without a
customer, too.

An hour's revenue is published once the hour is over, and what says so is the time of later orders,
not a clock: after 17:41 on 23 December nothing in the file does. What closes the last hour in a
real shop closes it here, the orders of the next morning: they are made up, one pound each, their
ids begin with `ord_next`, and their own hour is still open when the test ends, so that no fact is
of them. Each partition needs one: where a partition brings none, the others wait `idle` for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mesh_stream.freshness.figures import Figures, parse
from mesh_stream.kafka.groups import Offsets
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages
from tests.kafka.retail import (
    BUSIEST_REVENUE,
    COMPLETED,
    INVOICES,
    LINES,
    REVENUE,
    WITH_FILE,
    Commands,
    activities,
    facts_of,
    movements,
    order_events,
    write_lines,
    write_orders,
    write_product,
)

pytestmark = [pytest.mark.kafka, WITH_FILE]

CUSTOMERS, HOURS, PAIRS = 948, 186, 1_493
BUSIEST = (datetime(2010, 12, 14, 11, tzinfo=UTC), 30)
ANONYMOUS = 15_631
SKUS, NET_UNITS = 2_822, -342_228
HANGING_HEART, LOWEST = ("85123A", -3_225), ("84077", -5_195)
UNITS = 359_511
"""Of the completed orders: counted from the file, by none of the code that is tested."""
NEXT_MORNING = 16


@dataclass(frozen=True)
class Shop:
    """What the products made of the file.

    Attributes:
        users: Facts, in order within each partition.
        stock: The same.
        revenue: The same.
        told: Of each product, what its worker counted.
        given: Of each product, the records on its input.
    """

    users: list[dict[str, Any]]
    stock: list[dict[str, Any]]
    revenue: list[dict[str, Any]]
    told: Mapping[str, Figures]
    given: Mapping[str, int]


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("state")
    products = folder / "products"
    raw = {what: f"raw.{unique(what)}" for what in ("orders", "users", "stock")}
    orders, users, stock, revenue = (unique(one) for one in ("open", "users", "stock", "revenue"))
    write_orders(products, orders, raw["orders"], customers="string?")
    write_product(
        products, "users/users-active", users, **{"topic: raw.users": f"topic: {raw['users']}"}
    )
    write_product(
        products,
        "products/products-inventory",
        stock,
        **{"topic: raw.products": f"topic: {raw['stock']}"},
    )
    write_product(
        products,
        "analytics/revenue-hourly",
        revenue,
        **{"product: orders-completed": f"product: {orders}"},
    )
    mesh = Commands(stack, products, state=folder / "state")
    mesh.run("apply", "--create-inputs")
    mesh.replay(raw["orders"], write_lines(folder / "1.jsonl", order_events()), key="order_id")
    mesh.replay(raw["orders"], write_lines(folder / "2.jsonl", next_morning()), key="order_id")
    mesh.replay(raw["stock"], write_lines(folder / "3.jsonl", movements()), key="sku")
    # Records of nobody have no key.
    known = [event for event in activities() if event["user_id"]]
    nobody = [event for event in activities() if not event["user_id"]]
    mesh.replay(raw["users"], write_lines(folder / "4.jsonl", known), key="user_id")
    mesh.replay(raw["users"], write_lines(folder / "5.jsonl", nobody), key=None)

    facts = f"orders.{orders}.v1"
    hourly = f"analytics.{revenue}.v1"
    reads = {
        orders: (raw["orders"], INVOICES + NEXT_MORNING),
        users: (raw["users"], LINES),
        stock: (raw["stock"], LINES),
    }
    with mesh.workers(4) as pages:
        for name, (topic, records) in reads.items():
            with Offsets(settings_of(stack), f"mesh.{name}") as offsets:
                eventually(
                    lambda offsets=offsets, topic=topic, records=records: (  # type: ignore[misc]
                        _next_offsets(offsets, topic) == records
                    ),
                    within=90,
                    what=f"{name} has read {topic}",
                )

        def ask(name: str) -> Figures:
            return parse(httpx.get(pages[name]).text)

        # Its input has markers of transactions between the facts, which offsets count, too.
        eventually(
            lambda: (
                (now := ask(revenue)).consumed[facts] == COMPLETED + NEXT_MORNING
                and now.produced[hourly] >= HOURS
            ),
            within=90,
            what="every order is in an hour, and all hours are over",
        )
        told = {
            what: ask(name)
            for what, name in zip(
                ("orders", "users", "stock", "revenue"),
                (orders, users, stock, revenue),
                strict=True,
            )
        }
    _each_partition_brought_the_morning(stack, facts)
    return Shop(
        users=list(facts_of(stack, f"users.{users}.v1", key="user_id")),
        stock=list(facts_of(stack, f"products.{stock}.v1", key="sku")),
        revenue=list(facts_of(stack, hourly, key=None)),
        told=told,
        given={"orders": INVOICES + NEXT_MORNING, "users": LINES, "stock": LINES},
    )


def next_morning() -> list[dict[str, Any]]:
    """What closes the last hour: the first orders after it; see above."""
    return [
        {
            "order_id": f"ord_next{number}",
            "status": "completed",
            "occurred_at": "2010-12-24T09:00:00+00:00",
            "customer_id": "0",
            "items": [{"sku": "none", "qty": 1, "unit_price": "1.00"}],
        }
        for number in range(NEXT_MORNING)
    ]


def _next_offsets(offsets: Offsets, topic: str) -> int:
    return sum(offsets.committed((topic, partition) for partition in range(4)).values())


def _each_partition_brought_the_morning(stack: Stack, topic: str) -> None:
    brought = {m.partition() for m in messages(stack, topic) if m.key().startswith(b"ord_next")}  # type: ignore[union-attr]
    assert brought == {0, 1, 2, 3}


# users-active


def test_every_customer_and_hour_of_the_file_is_there(shop: Shop) -> None:
    newest = {(fact["user_id"], fact["window_start"]): fact for fact in shop.users}
    assert len({user for user, _ in newest}) == CUSTOMERS
    hours = Counter(hour for _, hour in newest)
    assert (len(hours), len(newest)) == (HOURS, PAIRS)
    assert hours.most_common(1) == [BUSIEST]


def test_the_newest_word_on_each_hour_is_what_the_file_says(shop: Shop) -> None:
    seen: defaultdict[tuple[str, datetime], list[datetime]] = defaultdict(list)
    for event in activities():
        if event["user_id"]:
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            seen[event["user_id"], at.replace(minute=0, second=0)].append(at)
    newest = {(fact["user_id"], fact["window_start"]): fact for fact in shop.users}
    assert newest == {
        (user, hour): {
            "user_id": user,
            "window_start": hour,
            "window_end": hour + timedelta(hours=1),
            "first_seen": min(times),
            "last_seen": max(times),
            "events": len(times),
        }
        for (user, hour), times in seen.items()
    }


def test_counts_only_grow_from_one_fact_to_the_next(shop: Shop) -> None:
    before: dict[tuple[str, datetime], int] = {}
    for fact in shop.users:
        place = fact["user_id"], fact["window_start"]
        assert fact["events"] > before.get(place, 0)
        before[place] = fact["events"]


def test_lines_of_nobody_are_nobody_s_activity(shop: Shop) -> None:
    assert shop.told["users"].filtered == {"anonymous": ANONYMOUS}


# products-inventory


def test_net_units_of_every_stock_code_are_there(shop: Shop) -> None:
    on_hand = {fact["sku"]: fact["on_hand"] for fact in shop.stock}
    assert (len(on_hand), sum(on_hand.values())) == (SKUS, NET_UNITS)
    assert on_hand[HANGING_HEART[0]] == HANGING_HEART[1]
    assert min(on_hand.items(), key=lambda one: one[1]) == LOWEST


def test_what_is_on_hand_at_last_is_what_the_file_says(shop: Shop) -> None:
    expected: Counter[str] = Counter()
    for event in movements():
        expected[event["sku"]] += event["quantity"]
    assert {fact["sku"]: fact["on_hand"] for fact in shop.stock} == dict(expected)


# revenue-hourly


def test_every_hour_is_said_once_in_their_order(shop: Shop) -> None:
    hours = [fact["hour_start"] for fact in shop.revenue]
    assert len(hours) == len(set(hours)) == HOURS
    assert hours == sorted(hours)
    assert {fact["hour_end"] - fact["hour_start"] for fact in shop.revenue} == {timedelta(hours=1)}


def test_revenue_of_all_hours_is_exact_to_the_penny(shop: Shop) -> None:
    assert sum((fact["revenue"] for fact in shop.revenue), Decimal(0)) == REVENUE
    assert sum(fact["orders"] for fact in shop.revenue) == COMPLETED
    assert sum(fact["units"] for fact in shop.revenue) == UNITS
    busiest = max(shop.revenue, key=lambda fact: fact["revenue"])
    assert (f"{busiest['hour_start']:%Y-%m-%d %H}", busiest["revenue"]) == BUSIEST_REVENUE


def test_every_hour_is_what_the_file_says(shop: Shop) -> None:
    expected: defaultdict[datetime, list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
    for event in order_events():
        if event["status"] == "completed":
            at = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
            hour = expected[at.replace(minute=0, second=0)]
            hour[0] += 1
            hour[1] += sum(item["qty"] for item in event["items"])
            hour[2] += sum(item["qty"] * Decimal(item["unit_price"]) for item in event["items"])
    found = {
        fact["hour_start"]: [fact["orders"], fact["units"], fact["revenue"]]
        for fact in shop.revenue
    }
    assert found == expected


# The books


def test_in_is_sources_and_filtered_and_rejected(shop: Shop) -> None:
    for name, told in shop.told.items():
        assert told.imbalance == 0, name
        assert told.rejected == {}, name
    for name, records in shop.given.items():
        assert shop.told[name].consumed.total() == records
    # Each order comes twice: as a fact, and once more keyed for the fold; notices are between.
    revenue = shop.told["revenue"]
    assert set(revenue.filtered) == {"watermark"}
    assert revenue.sources == 2 * (COMPLETED + NEXT_MORNING)
