"""The invoices of a real shop, through the real replay, worker and broker, to the known figures.

The file has no "order completed" event: an order is the lines of one invoice, and *completed* means
an all-digit invoice number and a total above zero. The shop's system, as it is played here, says
`cancelled` for an invoice whose number begins with C, and `adjusted` for one that comes to nothing
(stock that was written off, goods without a price).

In that file 159 completed orders have no customer. The contract of `orders-completed` says that
`customer_id` is a string, so that they are rejected: nobody's order is not made somebody's by a
placeholder. A second product, the same but for `customer_id: string?`, publishes them with a null.
Both read the same raw topic.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from mesh_stream.kafka.groups import Offsets
from mesh_stream.local.figures import Figures, parse
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages

ROOT = Path(__file__).parents[2]
SEED = ROOT / "products" / "orders" / "orders-completed"
FILE = Path(
    os.environ.get("MESH_RETAIL_CSV") or ROOT.parent / "shared/data/online_retail_2010-12.csv"
)
LONDON = ZoneInfo("Europe/London")

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(
        not FILE.is_file(),
        reason=f"{FILE} is absent: the real invoices are NOT tested; name them in MESH_RETAIL_CSV",
    ),
]

INVOICES = 2_025
COMPLETED, WITH_CUSTOMER = 1_559, 1_400
CANCELLED, ADJUSTED = 326, 140
REVENUE = Decimal("823746.14")
BUSIEST = ("2010-12-07 15", Decimal("42525.67"))


@dataclass(frozen=True)
class Shop:
    """What was replayed, and the two products that read it."""

    topic: str
    strict: str
    open: str
    facts: Mapping[str, list[dict[str, Any]]]
    letters: Mapping[str, list[dict[str, str]]]
    told: Mapping[str, Figures]


def events() -> Iterator[dict[str, Any]]:
    """One event an invoice, in the file's order."""
    invoices: dict[str, list[dict[str, str]]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            invoices.setdefault(row["InvoiceNo"], []).append(row)
    for number, rows in invoices.items():
        total = sum(int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in rows)
        status = "completed" if total > 0 else "adjusted"
        moment = datetime.fromisoformat(rows[0]["InvoiceDate"]).replace(tzinfo=LONDON)
        yield {
            "order_id": f"ord_{number.lower()}",
            "status": status if number.isdigit() else "cancelled",
            "occurred_at": moment.isoformat(),
            "customer_id": rows[0]["CustomerID"].removesuffix(".0") or None,
            "items": [
                {
                    "sku": row["StockCode"],
                    "qty": int(row["Quantity"]),
                    "unit_price": row["UnitPrice"],
                }
                for row in rows
            ],
        }


def write_product(products: Path, name: str, topic: str, *, customers: str) -> None:
    """The seed's product under another name, reading another topic."""
    folder = products / "orders" / name
    shutil.copytree(SEED, folder, ignore=shutil.ignore_patterns("__pycache__"))
    declaration = folder / "data_product.yaml"
    text = declaration.read_text()
    for old, new in (
        ("name: orders-completed", f"name: {name}"),
        ("topic: raw.orders", f"topic: {topic}"),
        ("customer_id: string", f"customer_id: {customers}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    declaration.write_text(text)
    contract = folder / "schema" / "orders-completed.yaml"
    if customers == "string":
        contract.write_text(contract.read_text().replace("name: orders-completed", f"name: {name}"))
    else:
        # The field list above says the same and more.
        contract.unlink()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mesh_stream.cli", *arguments]


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    topic, strict, opened = (f"raw.{unique('shop')}", unique("strict"), unique("open"))
    products = folder / "products"
    write_product(products, strict, topic, customers="string")
    write_product(products, opened, topic, customers="string?")
    file = folder / "orders.jsonl"
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events()))
    environment = os.environ | {
        "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "MESH_REGISTRY_URL": stack.registry_url,
        "MESH_PRODUCTS": str(products),
    }

    def mesh_stream(*arguments: str) -> None:
        done = subprocess.run(
            command(*arguments), env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    mesh_stream("apply", "--create-inputs")
    mesh_stream("replay", topic, str(file), "--key", "order_id", "--event-time", "occurred_at")
    workers = subprocess.Popen(
        command("run", "--metrics-port", "0"), env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert workers.stderr is not None
        pages: dict[str, str] = {}
        while len(pages) < 2:
            name, _, address = workers.stderr.readline().strip().partition(" slot 0: ")
            pages[name] = address
        with ExitStack() as asked:
            for name in (strict, opened):
                offsets = asked.enter_context(Offsets(settings_of(stack), f"mesh.{name}"))
                eventually(
                    lambda offsets=offsets: _next_offsets(offsets, topic) == INVOICES,  # type: ignore[misc]
                    within=60,
                    what=f"{name} has read every event",
                )
        told = {name: parse(httpx.get(pages[name]).text) for name in (strict, opened)}
        workers.terminate()
        assert workers.wait(15) == 0
    finally:
        workers.kill()
        workers.communicate()
    return Shop(
        topic,
        strict,
        opened,
        facts={name: list(_facts(stack, f"orders.{name}.v1")) for name in (strict, opened)},
        letters={name: list(_letters(stack, f"dlq.orders.{name}")) for name in (strict, opened)},
        told=told,
    )


def _next_offsets(offsets: Offsets, topic: str) -> int:
    return sum(offsets.committed((topic, partition) for partition in range(4)).values())


# An independent consumer: nothing of ours but the topics' names.


def _facts(stack: Stack, topic: str) -> Iterator[dict[str, Any]]:
    context = SerializationContext(topic, MessageField.VALUE)
    with SchemaRegistryClient({"url": stack.registry_url}) as registry:
        deserialize = AvroDeserializer(registry)
        for message in messages(stack, topic):
            fact = deserialize(message.value(), context)
            assert isinstance(fact, dict)
            assert message.key() == fact["order_id"].encode()
            yield fact


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
    assert max(hours.items(), key=lambda hour: hour[1]) == BUSIEST


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
