"""The input of the fold: seeded JSON movements of goods, keyed by what moved."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

TOPIC = "raw.bench-moves"
KEYS = 100_000


def moves(count: int, seed: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """So many movements over `KEYS` goods, each as (key, value); first one of each of them."""
    chance = random.Random(seed).random
    for number in range(count):
        sku = f"sku-{number if number < KEYS else int(chance() * KEYS):06d}"
        second, milli = divmod(number, 1000)
        moment = f"2026-03-01T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        value = f'{{"sku":"{sku}","qty":{int(chance() * 20) - 6},"at":"{moment}.{milli:03d}Z"}}'
        yield sku.encode(), value.encode()


def stock_after(count: int, seed: int = 1) -> dict[bytes, tuple[int, int]]:
    """What the fold has to come to: good -> (units on hand, movements)."""
    on_hand: Counter[bytes] = Counter()
    times: Counter[bytes] = Counter()
    for key, value in moves(count, seed):
        on_hand[key] += int(value.split(b'"qty":')[1].split(b",")[0])
        times[key] += 1
    return {key: (on_hand[key], times[key]) for key in times}
