"""The fold of the benchmark, as a product's team would write it."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Moved(msgspec.Struct, frozen=True, gc=False):
    sku: str
    qty: int
    at: datetime


class Stock(msgspec.Struct, frozen=True, gc=False):
    on_hand: int
    moves: int
    moved_at: datetime


class OnHand(msgspec.Struct, frozen=True, gc=False):
    sku: str
    on_hand: int
    moves: int
    moved_at: datetime


def fold(state: Stock | None, event: Moved) -> Stock:
    if state is None:
        return Stock(event.qty, 1, event.at)
    return Stock(state.on_hand + event.qty, state.moves + 1, event.at)


def fact(key: str, window: None, state: Stock) -> OnHand:
    return OnHand(key, state.on_hand, state.moves, state.moved_at)
