"""The input: seeded JSON orders of 299 bytes on average, and the books that any run must balance.

Of the orders 69 % are completed; 0.5 % of all are completed but break a rule, each rule in turn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

TOPIC = "raw.bench-orders"
PRODUCT = "bench-orders"

_COMPLETED, _BROKEN = 0.69, 0.005
_OTHER = ("created", "paid", "packed", "shipped", "cancelled")
_CURRENCIES = ("EUR", "EUR", "EUR", "USD", "GBP")
# Item lists to choose from: enough that nothing repeats soon, few enough to make orders fast.
_CARTS = 5_000


@dataclass(frozen=True, slots=True)
class Books:
    """What becomes of a number of orders: `consumed == facts + filtered + rejected`."""

    consumed: int
    facts: int
    filtered: int
    rejected: int

    def __str__(self) -> str:
        return (
            f"{self.consumed:,} in = {self.facts:,} facts + {self.filtered:,} filtered "
            f"+ {self.rejected:,} rejected"
        )


class Orders:
    """Orders without end, the same for the same seed; `books` tells of those made so far."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._carts = [self._cart() for _ in range(_CARTS)]
        self._made = self._filtered = self._rejected = self._bytes = 0

    @property
    def books(self) -> Books:
        """What becomes of the orders made so far."""
        facts = self._made - self._filtered - self._rejected
        return Books(self._made, facts, self._filtered, self._rejected)

    @property
    def average_bytes(self) -> float:
        """Size of the orders made so far, on average."""
        return self._bytes / self._made

    def make(self, count: int) -> Iterator[tuple[bytes, bytes]]:
        """So many more orders, each as (key, value)."""
        for _ in range(count):
            order_id = f"ord_{self._made:010x}"
            yield order_id.encode(), self.one(order_id)

    def one(self, order_id: str) -> bytes:
        """One more order, as the shop's system would write it."""
        chance = self._random.random
        fate = chance()
        customer = f'"cust_{int(chance() * 4_000_000):07d}"'
        currency = _CURRENCIES[int(chance() * len(_CURRENCIES))]
        cart = self._carts[int(chance() * _CARTS)]
        status = "completed"
        if fate >= _COMPLETED:
            status = _OTHER[int(chance() * len(_OTHER))]
            self._filtered += 1
        elif fate < _BROKEN:
            match self._rejected % 3:
                case 0:
                    customer = "null"
                case 1:
                    cart = '{"sku":"REFUND","qty":-1,"unit_price":"12.50"}'
                case 2:
                    order_id = order_id.upper()
            self._rejected += 1
        second, milli = divmod(self._made, 1000)
        moment = f"2026-03-{1 + second // 86_400 % 28:02d}T{_clock(second)}.{milli:03d}Z"
        self._made += 1
        order = (
            f'{{"order_id":"{order_id}","status":"{status}","customer_id":{customer},'
            f'"currency":"{currency}","occurred_at":"{moment}","items":[{cart}]}}'
        ).encode()
        self._bytes += len(order)
        return order

    def _cart(self) -> str:
        chance = self._random.random
        return ",".join(
            f'{{"sku":"SKU-{int(chance() * 1_000_000):06d}","qty":{1 + int(chance() * 9)},'
            f'"unit_price":"{0.99 + int(chance() * 20_000) / 100:.2f}"}}'
            for _ in range(self._random.choice((2, 3, 3, 3, 4)))
        )


def _clock(second: int) -> str:
    return f"{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
