"""From movements of stock to what is on hand."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from mesh_stream import filtered

OPENING_STOCK = 0
"""Units on hand of a sku before its first movement: stock is counted in, never assumed."""

# Nobody moves more at once; a barcode that was scanned into the quantity has eight digits or more.
Quantity = Annotated[int, msgspec.Meta(ge=-100_000, le=100_000)]
# A time without its zone could be any of twenty-four.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Movement(msgspec.Struct, frozen=True, gc=False):
    """What we read of a movement: units in (positive) or out (negative), for whatever reason."""

    sku: str
    quantity: Quantity
    occurred_at: Moment


class Stock(msgspec.Struct, frozen=True, gc=False):
    on_hand: int
    moved_at: datetime


class ProductInventory(msgspec.Struct, frozen=True, gc=False):
    sku: str
    on_hand: int
    moved_at: datetime


def movement(moved: Movement):
    """A count that found what the books say moves nothing."""
    return moved if moved.quantity else filtered("nothing_moved")


def fold(stock: Stock | None, moved: Movement) -> Stock | None:
    """Sums do not depend on the order of movements, so a late one is as good as any."""
    if stock is None:
        return Stock(OPENING_STOCK + moved.quantity, moved.occurred_at)
    return Stock(stock.on_hand + moved.quantity, max(stock.moved_at, moved.occurred_at))


def fact(sku: str, _window, stock: Stock) -> ProductInventory:
    return ProductInventory(sku, stock.on_hand, stock.moved_at)
