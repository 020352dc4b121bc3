from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from mesh_stream import filtered

ZERO = Decimal(0)


class Item(msgspec.Struct, frozen=True, gc=False):
    sku: str
    qty: int
    unit_price: Decimal


class Order(msgspec.Struct, frozen=True, gc=False):
    order_id: str
    status: str
    currency: str
    occurred_at: datetime
    items: tuple[Item, ...]
    customer_id: str | None = None


class CompletedOrder(msgspec.Struct, frozen=True, gc=False):
    order_id: str
    customer_id: str | None
    total_amount: Decimal
    items: int
    currency: str
    completed_at: datetime


def complete(order: Order) -> object:
    if order.status != "completed":
        return filtered("not_completed")
    total = ZERO
    for item in order.items:
        total += item.qty * item.unit_price
    return CompletedOrder(
        order.order_id,
        order.customer_id,
        total,
        len(order.items),
        order.currency,
        order.occurred_at,
    )
