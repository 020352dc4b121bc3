"""The field's starting point: documents that people will paste, to the letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mesh_stream.errors import DeclarationError, Fault

DECLARATION = """\
data_product:
  name: orders-completed
  owner: orders-team
  description: "Completed order facts for analytics"
  sla:
    freshness: 15_minutes
    availability: 99.9%
  schema:
    - order_id: string
    - customer_id: string
    - total_amount: decimal
    - completed_at: timestamp
  documentation: https://data.company.com/products/orders-completed
"""

REGISTRY_ENTRY = """\
apiVersion: schema/v1
kind: Schema
metadata: {name: orders-completed, domain: orders, owner: orders-team@company.com}
spec:
  type: avro
  compatibility: BACKWARD
  schema: |
    {"type": "record", "name": "OrderCompleted", "fields": [
      {"name": "order_id", "type": "string"},
      {"name": "customer_id", "type": "string"},
      {"name": "total_amount", "type": {"type": "bytes", "logicalType": "decimal"}},
      {"name": "completed_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}
"""

CHECK = """\
from mesh_stream.quality import data_quality_check, expect   # the seed imports great_expectations; only this line differs

@data_quality_check
def validate_orders_completed(df):
    expect(df).column_values_to_not_be_null("order_id")
    expect(df).column_values_to_not_be_null("completed_at")
    expect(df).column_values_to_be_between("total_amount", 0, 1000000)
    expect(df).column_values_to_match_regex("order_id", r"ord_[a-z0-9]+")
"""  # noqa: E501 - verbatim

FILES: Mapping[str, str] = {
    "data_product.yaml": DECLARATION,
    "schema/orders-completed.yaml": REGISTRY_ENTRY,
    "src/quality/validate_orders_completed.py": CHECK,
}


def write(root: Path, product: str, files: Mapping[str, str]) -> Path:
    """Writes a product's folder, `domain/product`, under a root; returns it."""
    folder = root / product
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def declaration(name: str = "orders-completed", *, more: str = "") -> str:
    """The seed's declaration under another name, with more lines under `data_product`."""
    lines = "".join(f"  {line}\n" for line in more.strip("\n").splitlines())
    return DECLARATION.replace("name: orders-completed", f"name: {name}") + lines


def faults_of(step: Callable[[], object]) -> list[Fault]:
    """The faults with which a step fails; it must."""
    with pytest.raises(DeclarationError) as caught:
        step()
    return list(caught.value.faults)


def the_fault_of(step: Callable[[], object]) -> Fault:
    """The only fault with which a step fails."""
    (fault,) = faults_of(step)
    return fault
