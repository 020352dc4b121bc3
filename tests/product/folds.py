"""Products that remember: a declaration, and the functions that tests change a line of."""

from __future__ import annotations

from pathlib import Path

from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Product
from tests.product.seed import write

FILE = "src/transformations/stock.py"

DECLARATION = """\
data_product:
  name: stock-levels
  owner: stock-team
  description: Units on hand
  sla: {freshness: 15_minutes, availability: 99.9%}
  schema:
    - sku: string
    - on_hand: long
    - note: string?
"""

HEAD = """\
from __future__ import annotations
import dataclasses, enum, typing
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict
from uuid import UUID
import msgspec, pydantic
from mesh_stream import filtered
class Move(msgspec.Struct, frozen=True):
    sku: str
    units: int
    at: datetime | None = None
    number: int = 0
    id: UUID | None = None
class Stock(msgspec.Struct, frozen=True):
    sku: str
    on_hand: int
class Raw(msgspec.Struct):
    code: str
"""

FOLD = """\
def fold(state: Stock | None, event: Move) -> Stock | None:
    return Stock(event.sku, event.units + (state.on_hand if state else 0))
"""


def folder(root: Path, more: str = "state: {key: sku}", code: str = FOLD, **files: str) -> Path:
    """Writes the product; `more` are lines under `data_product`, `code` what follows `HEAD`."""
    lines = "".join(f"  {line}\n" for line in more.strip("\n").splitlines())
    texts = {"data_product.yaml": DECLARATION + lines, FILE: HEAD + code}
    return write(root, "stock/stock-levels", {**texts, **files})


def product(root: Path, more: str = "state: {key: sku}", code: str = FOLD, **files: str) -> Product:
    """Writes the product and loads it."""
    return load_product(folder(root, more, code, **files))
