"""What examples cannot say well: that something holds for every sequence of movements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import gcd
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.testing import ProductDriver

FOLDER = Path(__file__).parents[1]
EIGHT = datetime(2026, 3, 1, 8, tzinfo=UTC)


@pytest.fixture
def stock() -> ProductDriver:
    return ProductDriver.load(FOLDER)


def moved(quantity: int, sku: str = "mug", minute: int = 0) -> dict[str, Any]:
    at = EIGHT + timedelta(minutes=minute)
    return {"sku": sku, "quantity": quantity, "occurred_at": at.isoformat()}


@pytest.mark.parametrize("step", [1, -1, 7, 11])
def test_the_stock_is_the_sum_of_its_movements_in_whatever_order(
    stock: ProductDriver, step: int
) -> None:
    movements = [moved(quantity, minute=quantity + 20) for quantity in range(-20, 41) if quantity]
    assert gcd(step, len(movements)) == 1, "a step that comes to every movement once"

    for place in range(len(movements)):
        stock.send(movements[place * step % len(movements)])

    assert stock.facts[-1] == {
        "sku": "mug",
        "on_hand": sum(range(-20, 41)),
        "moved_at": EIGHT + timedelta(minutes=60),
    }


def test_a_commit_publishes_the_newest_stock_of_each_sku(stock: ProductDriver) -> None:
    with stock.one_commit():
        for quantity in (10, -1, -2):
            stock.send_all([moved(quantity, "mug"), moved(quantity, "candle")])

    assert {fact["sku"]: fact["on_hand"] for fact in stock.facts} == {"mug": 7, "candle": 7}
    assert len(stock.facts) == 2
    # Equal keys go to one partition, and the topic keeps the newest of each.
    assert {published.key for published in stock.published} == {b"mug", b"candle"}


def test_a_sku_that_does_not_move_for_a_year_keeps_its_stock(stock: ProductDriver) -> None:
    stock.send(moved(10))

    stock.advance(EIGHT + timedelta(days=365))
    stock.send(moved(-1, minute=365 * 24 * 60))

    assert stock.facts[-1]["on_hand"] == 9


@pytest.mark.parametrize("quantity", [-100_000, -1, 1, 100_000])
def test_up_to_a_hundred_thousand_units_move_at_once(stock: ProductDriver, quantity: int) -> None:
    stock.send(moved(quantity))

    assert [fact["on_hand"] for fact in stock.facts] == [quantity], stock


@pytest.mark.parametrize("quantity", [-100_001, 100_001])
def test_more_than_that_is_no_movement(stock: ProductDriver, quantity: int) -> None:
    stock.send(moved(quantity))

    assert [one.rule for one in stock.rejected] == ["type"]
    assert stock.states == {}
