"""What examples cannot say well: that something holds for many orders, and for older facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.testing import ProductDriver

FOLDER = Path(__file__).parents[1]
NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


@pytest.fixture
def revenue() -> ProductDriver:
    return ProductDriver.load(FOLDER, partitions=4)


def order(number: int, **changes: Any) -> dict[str, Any]:
    made = {
        "order_id": f"ord_{number}",
        "customer_id": "c1",
        "total_amount": Decimal("0.10"),
        "completed_at": NINE + timedelta(seconds=number),
        "units": 2,
    }
    return {**made, **changes}


def test_an_hour_is_exact_over_all_partitions_however_many_orders_it_has(
    revenue: ProductDriver,
) -> None:
    with revenue.one_commit():
        for number in range(3_000):
            revenue.send(order(number), key=f"ord_{number}")
    assert revenue.facts == []

    revenue.advance(NINE + timedelta(minutes=75))

    assert revenue.facts == [
        {
            "hour_start": NINE,
            "hour_end": NINE + timedelta(hours=1),
            "orders": 3_000,
            "units": 6_000,
            "revenue": Decimal("300.00"),
        }
    ]
    assert [published.event_time for published in revenue.published] == [
        (NINE + timedelta(hours=1)).timestamp() * 1000
    ]


def test_a_day_of_hours_comes_in_order_and_once(revenue: ProductDriver) -> None:
    for hour in range(24):
        revenue.send(order(hour, completed_at=NINE + timedelta(hours=hour)))

    revenue.advance(NINE + timedelta(days=2))
    revenue.advance(NINE + timedelta(days=3))

    assert [fact["hour_start"] for fact in revenue.facts] == [
        NINE + timedelta(hours=hour) for hour in range(24)
    ]
    assert revenue.states == {}


def test_one_partition_that_has_not_come_so_far_keeps_the_hour_open(
    revenue: ProductDriver,
) -> None:
    for partition in range(4):
        revenue.send(order(partition), partition=partition)
    for partition in range(3):
        revenue.send(order(7_200), partition=partition)
    assert revenue.facts == []

    revenue.send(order(7_200), partition=3)

    assert [fact["orders"] for fact in revenue.facts] == [4]


def test_facts_from_before_there_were_units_count_with_none(revenue: ProductDriver) -> None:
    now = revenue.product.inputs[0].reader
    assert now is not None
    fields = [part for part in now.schema["fields"] if part["name"] != "units"]
    older = {**now.schema, "fields": fields}
    said = order(1)
    del said["units"]

    revenue.send(said, schema=older)
    revenue.send(order(2))
    revenue.advance(NINE + timedelta(days=1))

    (fact,) = revenue.facts
    assert (fact["orders"], fact["units"], fact["revenue"]) == (2, 2, Decimal("0.20"))
