"""From completed orders to the revenue of each hour."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec


class Order(msgspec.Struct, frozen=True, gc=False):
    """What we read of a completed order."""

    completed_at: datetime
    total_amount: Decimal
    units: int


class Sales(msgspec.Struct, frozen=True, gc=False):
    orders: int
    units: int
    revenue: Decimal


class RevenueHourly(msgspec.Struct, frozen=True, gc=False):
    hour_start: datetime
    hour_end: datetime
    orders: int
    units: int
    revenue: Decimal


def fold(sales: Sales | None, order: Order) -> Sales | None:
    if sales is None:
        return Sales(1, order.units, order.total_amount)
    return Sales(sales.orders + 1, sales.units + order.units, sales.revenue + order.total_amount)


def fact(_key: str, window, sales: Sales) -> RevenueHourly:
    return RevenueHourly(window.start, window.end, sales.orders, sales.units, sales.revenue)
