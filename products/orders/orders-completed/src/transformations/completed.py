"""From the shop's order events to one fact per completed order."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from mesh_stream import filtered


class Item(msgspec.Struct, frozen=True, gc=False):
    sku: str
    qty: int
    unit_price: Decimal


class OrderEvent(msgspec.Struct, frozen=True, gc=False):
    """What we read of an event. What the rules judge may be null here, so that they see it."""

    status: str
    order_id: str | None = None
    occurred_at: datetime | None = None
    customer_id: str | None = None
    items: tuple[Item, ...] = ()


class OrderCompleted(msgspec.Struct, frozen=True, gc=False):
    order_id: str | None
    customer_id: str | None
    total_amount: Decimal
    completed_at: datetime | None
    units: int


def complete(order: OrderEvent):
    """An order is completed once; what happens to it before and otherwise is no fact of ours."""
    if order.status != "completed":
        return filtered("not_completed")
    total, units = Decimal(0), 0
    for item in order.items:
        total += item.qty * item.unit_price
        units += item.qty
    return OrderCompleted(order.order_id, order.customer_id, total, order.occurred_at, units)
