"""The invoices of a real shop, through the real replay, worker and broker, to the known figures.

159 completed orders have no customer. The contract of `orders-completed` says that
`customer_id` is a string, so that they are rejected: nobody's order is not made somebody's by a
placeholder. A second product, the same but for `customer_id: string?`, publishes them with a null.
Both read the same raw topic. Where the file comes from, and how it becomes orders: `retail.py`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from mesh_stream.freshness.figures import Figures, parse
from mesh_stream.kafka.groups import Offsets
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages
from tests.kafka.retail import (
    BUSIEST_REVENUE,
    COMPLETED,
    INVOICES,
    LONDON,
    REVENUE,
    WITH_CUSTOMER,
    WITH_FILE,
    Commands,
    facts_of,
    order_events,
    write_lines,
    write_orders,
)

pytestmark = [pytest.mark.kafka, WITH_FILE]

CANCELLED, ADJUSTED = 326, 140


@dataclass(frozen=True)
class Shop:
    """What was replayed, and the two products that read it."""

    topic: str
    strict: str
    open: str
    facts: Mapping[str, list[dict[str, Any]]]
    letters: Mapping[str, list[dict[str, str]]]
    told: Mapping[str, Figures]


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    topic, strict, opened = (f"raw.{unique('shop')}", unique("strict"), unique("open"))
    products = folder / "products"
    write_orders(products, strict, topic, customers="string")
    write_orders(products, opened, topic, customers="string?")
    mesh = Commands(stack, products, state=folder / "state")
    mesh.run("apply", "--create-inputs")
    mesh.replay(topic, write_lines(folder / "orders.jsonl", order_events()), key="order_id")
    with mesh.workers(2) as pages:
        with ExitStack() as asked:
            for name in (strict, opened):
                offsets = asked.enter_context(Offsets(settings_of(stack), f"mesh.{name}"))
                eventually(
                    lambda offsets=offsets: _next_offsets(offsets, topic) == INVOICES,  # type: ignore[misc]
                    within=60,
                    what=f"{name} has read every event",
                )
        told = {name: parse(httpx.get(pages[name]).text) for name in (strict, opened)}
    return Shop(
        topic,
        strict,
        opened,
        facts={
            name: list(facts_of(stack, f"orders.{name}.v1", key="order_id"))
            for name in (strict, opened)
        },
        letters={name: list(_letters(stack, f"dlq.orders.{name}")) for name in (strict, opened)},
        told=told,
    )


def _next_offsets(offsets: Offsets, topic: str) -> int:
    return sum(offsets.committed((topic, partition) for partition in range(4)).values())


def _letters(stack: Stack, topic: str) -> Iterator[dict[str, str]]:
    for message in messages(stack, topic):
        headers: Any = message.headers()
        yield {name: value.decode() for name, value in headers}


def revenue_by_hour(facts: list[dict[str, Any]]) -> Mapping[str, Decimal]:
    hours: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fact in facts:
        hours[f"{fact['completed_at'].astimezone(LONDON):%Y-%m-%d %H}"] += fact["total_amount"]
    return hours


def test_the_completed_orders_are_all_there_once(shop: Shop) -> None:
    ids = [fact["order_id"] for fact in shop.facts[shop.open]]
    assert len(ids) == len(set(ids)) == COMPLETED
    assert sum(fact["customer_id"] is not None for fact in shop.facts[shop.open]) == WITH_CUSTOMER


def test_revenue_is_exact_to_the_penny(shop: Shop) -> None:
    facts = shop.facts[shop.open]
    assert sum((fact["total_amount"] for fact in facts), Decimal(0)) == REVENUE
    hours = revenue_by_hour(facts)
    assert max(hours.items(), key=lambda hour: hour[1]) == BUSIEST_REVENUE


def test_a_completed_order_without_a_customer_breaks_the_contract_of_the_seed(shop: Shop) -> None:
    assert len(shop.facts[shop.strict]) == WITH_CUSTOMER
    letters = shop.letters[shop.strict]
    assert len(letters) == COMPLETED - WITH_CUSTOMER
    assert {(one["mesh.dlq.class"], one["mesh.dlq.rule"]) for one in letters} == {
        ("contract", "schema")
    }
    assert {one["__dlq.errors.message"] for one in letters} == {
        "field customer_id: found null; expected string"
    }


def test_the_other_facts_are_the_same_by_either_contract(shop: Shop) -> None:
    with_customer = [fact for fact in shop.facts[shop.open] if fact["customer_id"] is not None]
    by_id = {fact["order_id"]: fact for fact in shop.facts[shop.strict]}
    assert by_id == {fact["order_id"]: fact for fact in with_customer}


def test_in_is_facts_and_filtered_and_rejected(stack: Stack, shop: Shop) -> None:
    given = Counter(
        json.loads(message.value() or b"")["status"] for message in messages(stack, shop.topic)
    )
    assert given == {"completed": COMPLETED, "cancelled": CANCELLED, "adjusted": ADJUSTED}
    for name in (shop.strict, shop.open):
        told, facts, letters = shop.told[name], shop.facts[name], shop.letters[name]
        assert told.filtered == {"not_completed": CANCELLED + ADJUSTED}
        assert len(facts) + told.filtered.total() + len(letters) == INVOICES
        assert (told.consumed.total(), told.sources) == (INVOICES, len(facts))
        assert told.rejected.total() == len(letters)


def test_event_time_became_the_timestamp_of_the_raw_records(stack: Stack, shop: Shop) -> None:
    first = min(message.timestamp()[1] for message in messages(stack, shop.topic))
    assert first == datetime(2010, 12, 1, 8, 26, tzinfo=LONDON).timestamp() * 1000
