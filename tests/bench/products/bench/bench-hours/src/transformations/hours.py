"""How often each good moved in an hour."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Moved(msgspec.Struct, frozen=True, gc=False):
    sku: str
    at: datetime


class Hour(msgspec.Struct, frozen=True, gc=False):
    sku: str
    hour_end: datetime
    moves: int


class Moves(msgspec.Struct, frozen=True, gc=False):
    count: int


def fold(state: Moves | None, event: Moved) -> Moves:
    return Moves(1 + (state.count if state else 0))


def fact(key: str, window: Any, state: Moves) -> Hour:
    return Hour(key, window.end, state.count)
