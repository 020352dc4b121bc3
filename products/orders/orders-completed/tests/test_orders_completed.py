"""What examples cannot say well: that something holds for every order.

`mesh-stream test orders-completed` runs this too, in pytest. The driver sends records through the
path that the worker runs, and reads the facts back as a consumer would.
"""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from mesh_stream.testing import ProductDriver

FOLDER = Path(__file__).parents[1]


@pytest.fixture
def orders() -> ProductDriver:
    return ProductDriver.load(FOLDER)


def completed(**changes: Any) -> dict[str, Any]:
    order = {
        "order_id": "ord_1",
        "status": "completed",
        "occurred_at": "2026-03-01T09:30:00Z",
        "customer_id": "cust_1",
        "items": [{"sku": "mug", "qty": 1, "unit_price": "5.00"}],
    }
    return {**order, **changes}


def test_the_total_is_exact_however_many_lines_there_are(orders: ProductDriver) -> None:
    ten_cents = {"sku": "button", "qty": 1, "unit_price": 0.1}

    orders.send(completed(items=[ten_cents] * 10_000))

    assert orders.facts[0]["total_amount"] == Decimal("1000.00")


def test_facts_of_one_order_stay_together_and_in_order(orders: ProductDriver) -> None:
    for minute in (1, 2, 3):
        orders.send(completed(occurred_at=f"2026-03-01T09:0{minute}:00Z"), key="whatever")

    # Equal keys go to one partition: the order's id is the key, whatever the event's was.
    assert [published.key for published in orders.published] == [b"ord_1"] * 3
    moments = [published.event_time for published in orders.published]
    assert moments == sorted(moments)


def test_a_dead_letter_keeps_the_event_as_it_came(orders: ProductDriver) -> None:
    raw = b'{"order_id": "ord_1", "status": "completed", "occurred_at": "yesterday"}'

    sent = orders.send(raw, key=b"\xff", headers={"source": "till-3"})

    assert sent.rejected is not None
    assert sent.rejected.message.value() == raw
    assert sent.rejected.message.key() == b"\xff"
    headers = dict(sent.rejected.headers)
    assert headers["source"] == b"till-3"
    assert headers["mesh.dlq.class"] == b"payload"


def test_units_are_counted_over_all_lines_and_what_is_returned_with_them(
    orders: ProductDriver,
) -> None:
    lines = [{"sku": "mug", "qty": qty, "unit_price": "5.00"} for qty in (2, 3, -1)]

    orders.send(completed(items=lines))

    assert orders.facts[0]["units"] == 4


def test_a_consumer_of_version_1_0_and_one_of_this_read_each_other_s_facts(
    orders: ProductDriver,
) -> None:
    now = orders.product.contract.schema
    before = {**now, "fields": [part for part in now["fields"] if part["name"] != "units"]}
    orders.send(completed())
    fact = orders.facts[0]
    rest = {name: value for name, value in fact.items() if name != "units"}

    assert read(written(fact, now), now, before) == rest
    assert read(written(rest, before), before, now) == {**rest, "units": 0}


def written(fact: dict[str, Any], schema: Any) -> bytes:
    value = BytesIO()
    fastavro.schemaless_writer(value, schema, fact)
    return value.getvalue()


def read(value: bytes, written_with: Any, read_with: Any) -> Any:
    return fastavro.schemaless_reader(BytesIO(value), written_with, read_with)


@pytest.mark.parametrize("amount", ["0", "0.01", "999999.99", "1000000"])
def test_amounts_up_to_a_million_are_facts(orders: ProductDriver, amount: str) -> None:
    orders.send(completed(items=[{"sku": "ship", "qty": 1, "unit_price": amount}]))

    assert [fact["total_amount"] for fact in orders.facts] == [Decimal(amount)], orders
