"""The demo's events: what a shop's systems emit, seeded, and as dirty as such systems are.

Orders are created, paid, then completed or cancelled, many at a time; an order's next step comes
after some number of other events, so that the sequence does not depend on how fast it is sent. The
same seed gives the same events but for their times.

About one event in thirty is dirty, in either of two ways: the order itself is wrong (no customer, a
malformed id, a negative or absurd amount, a third decimal), which shows when it is completed; or
the event was damaged on its way (broken JSON, wrong types, no value, an odd key). Events that are
sent twice are no dirt: systems that retry do that.

With the orders go what customers do (`raw.users`) and what leaves the warehouse (`raw.products`).
"""

from __future__ import annotations

import heapq
import itertools
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import msgspec

from mesh_stream.kafka.writer import RawRecord
from mesh_stream.local.damage import ANYWHERE, Damage, damaged, without, wrong, wrong_charset
from mesh_stream.local.side_streams import PRODUCTS, USERS, Stockroom, Visitors

ORDERS = "raw.orders"
TOPICS = (ORDERS, USERS, PRODUCTS)
DIRT = 0.03
"""The share of events that are dirty."""
SENT_TWICE = 0.002

_SKUS = 240
_CUSTOMERS = 5_000
_CHANNELS = ("web", "web", "web", "app", "app", "till")
# How many other events pass before an order's next one.
_TO_PAYMENT = (3, 60)
_TO_END = (5, 120)
_CANCELLED_UNPAID, _CANCELLED_PAID = 0.08, 0.04
_ID_LETTERS = string.ascii_lowercase + string.digits

# One of the shop's systems writes prices as text, the other as JSON numbers; both are exact.
_as_text = msgspec.json.Encoder().encode
_as_numbers = msgspec.json.Encoder(decimal_format="number").encode

_DAMAGES: Mapping[Damage, int] = {
    **ANYWHERE,
    wrong(order_id=12345, status=None, occurred_at="yesterday", items="3 boxes"): 4,
    without("status", "occurred_at"): 2,
    wrong_charset: 1,
}


@dataclass(slots=True)
class _Order:
    order_id: str
    customer_id: str | None
    channel: str
    items: list[dict[str, Any]]
    status: str = "created"

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "cancelled")

    def event(self, now: datetime) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "status": self.status,
            "occurred_at": now.isoformat(timespec="milliseconds"),
            "customer_id": self.customer_id,
            "channel": self.channel,
            "items": self.items,
        }


def order_events(
    seed: int, *, clock: Callable[[], datetime], dirt: float = DIRT
) -> Iterator[RawRecord]:
    """Yields order events without end; each is keyed by its order's id.

    Args:
        seed: Decides everything but the times.
        clock: The present, with its time zone: when each event occurs.
        dirt: The share of events that are dirty.
    """
    for _, _, records in _steps(seed, clock, dirt):
        yield from records


def shop_events(
    seed: int, topics: Collection[str], *, clock: Callable[[], datetime], dirt: float = DIRT
) -> Iterator[RawRecord]:
    """Yields order events without end, each with what goes with it on the other topics.

    Args:
        seed: Decides everything but the times; the orders are those of `order_events`.
        topics: Those of `TOPICS` that are wanted.
        clock: The present, with its time zone: when each event occurs.
        dirt: The share of events that are dirty.
    """
    visitors = Visitors(Random(f"{seed} {USERS}"), dirt=dirt)  # noqa: S311 - as below
    stockroom = Stockroom(Random(f"{seed} {PRODUCTS}"), dirt=dirt)  # noqa: S311
    for order, now, records in _steps(seed, clock, dirt):
        if USERS in topics:
            yield from visitors.follow(order.customer_id, order.status, now)
        if ORDERS in topics:
            yield from records
        if PRODUCTS in topics and order.status == "completed":
            yield from stockroom.follow(order.items, now)


def _steps(
    seed: int, clock: Callable[[], datetime], dirt: float
) -> Iterator[tuple[_Order, datetime, tuple[RawRecord, ...]]]:
    """Yields orders as they are after each step, when that was, and what is told of it."""
    random = Random(seed)  # noqa: S311 - it makes a story, not a secret
    prices = {f"sku-{number:04d}": _price(random) for number in range(_SKUS)}
    skus = tuple(prices)
    waiting: list[tuple[int, int, _Order]] = []
    for index in itertools.count():
        if waiting and waiting[0][0] <= index:
            order = heapq.heappop(waiting)[2]
            _advance(order, random)
        else:
            order = _new_order(random, skus, prices)
            if random.random() < dirt / 2:
                random.choice(_FLAWS)(order, random)
        if not order.is_over:
            pause = random.randint(*(_TO_PAYMENT if order.status == "created" else _TO_END))
            heapq.heappush(waiting, (index + pause, index, order))
        encode = _as_numbers if order.channel == "till" else _as_text
        now = clock()
        event = order.event(now)
        record = RawRecord(order.order_id.encode(), encode(event), None, ORDERS)
        if random.random() < dirt / 2:
            record = damaged(event, record, random, _DAMAGES)
        sent_twice = random.random() < SENT_TWICE
        yield order, now, (record, record) if sent_twice else (record,)


def _price(random: Random) -> Decimal:
    pence = max(15, min(29_999, round(random.lognormvariate(5.7, 1.0))))
    return Decimal(pence) / 100


def _new_order(random: Random, skus: Sequence[str], prices: dict[str, Decimal]) -> _Order:
    # Few goods and customers make most of the trade.
    chosen = {skus[int(random.paretovariate(0.9)) % _SKUS] for _ in range(random.randint(1, 6))}
    items = [
        {"sku": sku, "qty": int(random.paretovariate(1.4)) % 48 or 1, "unit_price": prices[sku]}
        for sku in sorted(chosen)
    ]
    return _Order(
        order_id="ord_" + "".join(random.choices(_ID_LETTERS, k=10)),
        customer_id=f"cust_{int(random.paretovariate(0.8)) % _CUSTOMERS:05d}",
        channel=random.choice(_CHANNELS),
        items=items,
    )


def _advance(order: _Order, random: Random) -> None:
    if order.status == "created":
        order.status = "cancelled" if random.random() < _CANCELLED_UNPAID else "paid"
    else:
        order.status = "cancelled" if random.random() < _CANCELLED_PAID else "completed"


# What is wrong with an order, for all its life.


def _guest(order: _Order, _random: Random) -> None:
    order.customer_id = None


def _malformed_id(order: _Order, random: Random) -> None:
    number = random.randrange(100_000)
    order.order_id = random.choice((f"ORD-{number}", f"{number}", f"order {number}", ""))


def _negative(order: _Order, _random: Random) -> None:
    """A return that was booked as an order."""
    for item in order.items:
        item["qty"] = -item["qty"]


def _absurd(order: _Order, random: Random) -> None:
    """A barcode that was scanned into the quantity."""
    order.items[0]["qty"] = random.randrange(10**9, 10**10)


def _third_decimal(order: _Order, random: Random) -> None:
    order.items[0].update(qty=1, unit_price=Decimal(random.randrange(1001, 9999, 2)) / 1000)


_FLAWS: tuple[Callable[[_Order, Random], None], ...] = (
    _guest,
    _malformed_id,
    _negative,
    _absurd,
    _third_decimal,
)
