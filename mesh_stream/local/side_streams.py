"""What goes with a shop's orders: what people do before and after, and what leaves the warehouse.

Both follow the orders of the feed, with random numbers of their own, so that the orders are the
same whoever reads these. They are as dirty as the orders: phones send hours later, clocks run
ahead, stock is booked in after it was sold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from mesh_stream.kafka.writer import RawRecord
from mesh_stream.local.damage import (
    ANYWHERE,
    Damage,
    Event,
    damaged,
    without,
    wrong,
    wrong_charset,
)

USERS, PRODUCTS = "raw.users", "raw.products"

_MOST_VIEWS = 3
_ANONYMOUS = 0.15
# Held back by phones without a network; most of it comes within the hour.
_HELD_BACK, _HELD_BACK_MINUTES = 0.005, (5, 50)
_LATE, _LATE_HOURS = 0.002, (3, 12)
_DELIVERY = (60, 240)
# Sold first, booked in afterwards.
_BOOKED_LATE = 0.05

_encode = msgspec.json.Encoder().encode

_USER_DAMAGES: Mapping[Damage, int] = {
    **ANYWHERE,
    wrong(user_id=12345, occurred_at="yesterday"): 4,
    without("occurred_at"): 2,
}
_STOCK_DAMAGES: Mapping[Damage, int] = {
    **ANYWHERE,
    wrong(sku=None, quantity=1.5, occurred_at="yesterday"): 4,
    without("sku", "quantity", "occurred_at"): 2,
    wrong_charset: 1,
}


class Visitors:
    """What people do around an order.

    Args:
        random: Decides what.
        dirt: The share of events that are dirty.
    """

    def __init__(self, random: Random, *, dirt: float) -> None:
        self._random = random
        self._dirt = dirt

    def follow(self, customer: str | None, status: str, now: datetime) -> Iterator[RawRecord]:
        """Yields the activity that goes with an order's next step; keyed by the user.

        Args:
            customer: Who orders; None for a guest.
            status: The order's, after the step.
            now: The present.
        """
        random = self._random
        actions = [status]
        if status == "created":
            views = random.randint(1, _MOST_VIEWS)
            actions = [*("view" for _ in range(views)), "order"]
        for action in actions:
            user = None if random.random() < _ANONYMOUS else customer
            at = now
            if random.random() < _HELD_BACK:
                at -= timedelta(minutes=random.randint(*_HELD_BACK_MINUTES))
            elif random.random() < _LATE:
                at -= timedelta(hours=random.randint(*_LATE_HOURS))
            if random.random() < self._dirt / 2:
                user, at = self._flawed(user, at)
            event = {
                "user_id": user,
                "action": action,
                "occurred_at": at.isoformat(timespec="milliseconds"),
            }
            record = RawRecord(None if user is None else user.encode(), _encode(event), None, USERS)
            if random.random() < self._dirt / 2:
                record = damaged(event, record, random, _USER_DAMAGES)
            yield record

    def _flawed(self, user: str | None, at: datetime) -> tuple[str | None, datetime]:
        """Somebody whom no shop knows, or whose clock is ahead."""
        random = self._random
        if random.random() < 0.5:
            return random.choice(("guest", "undefined", "", "cust_")), at
        return user, at + timedelta(hours=random.randint(2, 48))


class Stockroom:
    """What goes into the warehouse, and out of it.

    Args:
        random: Decides how much.
        dirt: The share of sales and returns that are dirty; deliveries are booked in with care, so
            that stock is not below zero for good.
    """

    def __init__(self, random: Random, *, dirt: float) -> None:
        self._random = random
        self._dirt = dirt
        self._on_hand: dict[str, int] = {}

    def follow(self, items: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[RawRecord]:
        """Yields the movements of a completed order, and of what is bought in for it.

        Args:
            items: What was ordered; what is negative comes back.
            now: The present.
        """
        random = self._random
        for item in items:
            sku, sold = item["sku"], item["qty"]
            moved = [(-sold, "sale" if sold > 0 else "return")]
            # Nobody buys in for a number that is a barcode.
            if self._on_hand.get(sku, 0) < sold < _DELIVERY[1]:
                bought = (random.randint(*_DELIVERY), "delivery")
                moved.insert(1 if random.random() < _BOOKED_LATE else 0, bought)
            for quantity, reason in moved:
                yield self._movement(sku, quantity, reason, now)
                if abs(quantity) < _DELIVERY[1]:
                    self._on_hand[sku] = self._on_hand.get(sku, 0) + quantity

    def _movement(self, sku: str, quantity: int, reason: str, now: datetime) -> RawRecord:
        random = self._random
        dirt = 0.0 if reason == "delivery" else self._dirt / 2
        if random.random() < dirt:
            # A count that agreed, a scanner that read what is no code, a barcode as a quantity.
            quantity, sku = random.choice(
                (
                    (0, sku),
                    (quantity, ""),
                    (quantity, f" {sku}"),
                    (random.randrange(10**7, 10**8), sku),
                )
            )
        event: Event = {
            "sku": sku,
            "quantity": quantity,
            "reason": reason,
            "occurred_at": now.isoformat(timespec="milliseconds"),
        }
        record = RawRecord(sku.encode(), _encode(event), None, PRODUCTS)
        if random.random() < dirt:
            record = damaged(event, record, random, _STOCK_DAMAGES)
        return record
