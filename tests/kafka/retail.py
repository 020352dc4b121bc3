"""A real shop's invoices, told as the events of its systems, and what is known of them.

The file is not part of this project: every invoice line of a British gift wholesaler from 1 to 23
December 2010, from the data set "Online Retail" (Daqing Chen, UCI Machine Learning Repository,
https://doi.org/10.24432/C5BW33, CC BY 4.0; Chen, Sain and Guo, 2012). Where it is absent, the tests
that read it are skipped, and say so.

It has no events; the shop's systems, as they are played here, tell of each

- invoice as an order: `completed` where its number is all digits and its total above zero,
  `cancelled` where that begins with C, `adjusted` where it comes to nothing (stock that was written
  off, goods without a price);
- line as a movement of stock, out of it where goods were sold. Nothing says what was there before,
  so that what is on hand is net movement from an assumed zero;
- line as activity of its customer, whether bought or returned. The same counts come of whole
  invoices, since an invoice is one customer's, within one hour.

Times are London's, which are UTC's in December. Customers' ids are written `17850.0` there.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from mesh_stream.local.stack import Stack
from tests.kafka.reading import messages

ROOT = Path(__file__).parents[2]
FILE = Path(
    os.environ.get("MESH_RETAIL_CSV") or ROOT.parent / "shared/data/online_retail_2010-12.csv"
)
LONDON = ZoneInfo("Europe/London")
WITH_FILE = pytest.mark.skipif(
    not FILE.is_file(),
    reason=f"{FILE} is absent: the real invoices are NOT tested; name them in MESH_RETAIL_CSV",
)

LINES, INVOICES = 42_481, 2_025
COMPLETED, WITH_CUSTOMER = 1_559, 1_400
REVENUE = Decimal("823746.14")
BUSIEST_REVENUE = ("2010-12-07 15", Decimal("42525.67"))


def rows() -> Iterator[dict[str, str]]:
    """The file's lines, in order of time."""
    with FILE.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def order_events() -> Iterator[dict[str, Any]]:
    """One event an invoice, in the file's order."""
    invoices: dict[str, list[dict[str, str]]] = {}
    for row in rows():
        invoices.setdefault(row["InvoiceNo"], []).append(row)
    for number, lines in invoices.items():
        total = sum(int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in lines)
        status = "completed" if total > 0 else "adjusted"
        yield {
            "order_id": f"ord_{number.lower()}",
            "status": status if number.isdigit() else "cancelled",
            "occurred_at": _moment(lines[0]),
            "customer_id": _customer(lines[0]),
            "items": [
                {
                    "sku": row["StockCode"],
                    "qty": int(row["Quantity"]),
                    "unit_price": row["UnitPrice"],
                }
                for row in lines
            ],
        }


def movements() -> Iterator[dict[str, Any]]:
    """One event a line: what went out of stock, or came back."""
    for row in rows():
        sold = int(row["Quantity"])
        reason = "sale" if sold > 0 else "return" if row["InvoiceNo"][0] == "C" else "write_off"
        yield {
            "sku": row["StockCode"],
            "quantity": -sold,
            "occurred_at": _moment(row),
            "reason": reason,
        }


def activities() -> Iterator[dict[str, Any]]:
    """One event a line: what its customer did; of nobody where the line names none."""
    for row in rows():
        customer = _customer(row)
        yield {
            "user_id": customer and f"cust_{customer}",
            "occurred_at": _moment(row),
            "action": "bought" if int(row["Quantity"]) > 0 else "returned",
        }


def _moment(row: dict[str, str]) -> str:
    return datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=LONDON).isoformat()


def _customer(row: dict[str, str]) -> str | None:
    return row["CustomerID"].removesuffix(".0") or None


def write_lines(path: Path, events: Iterable[dict[str, Any]]) -> Path:
    """Events as a file of JSON lines, for `replay`."""
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return path


# The products, under names and on topics that no other test has


def write_product(products: Path, place: str, name: str, **changed: str) -> Path:
    """A product of this repository under another name; each text in its declaration replaced."""
    domain, _, original = place.partition("/")
    folder = products / domain / name
    shutil.copytree(
        ROOT / "products" / place, folder, ignore=shutil.ignore_patterns("__pycache__", "tests")
    )
    declaration = folder / "data_product.yaml"
    text = declaration.read_text()
    for old, new in {f"name: {original}": f"name: {name}", **changed}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    declaration.write_text(text)
    return folder


def write_orders(products: Path, name: str, topic: str, *, customers: str) -> None:
    """The orders' product; with customers of another type than `string`, another contract."""
    changed = {"topic: raw.orders": f"topic: {topic}"}
    if customers != "string":
        changed["customer_id: string"] = f"customer_id: {customers}"
    folder = write_product(products, "orders/orders-completed", name, **changed)
    contract = folder / "schema" / "orders-completed.yaml"
    if customers == "string":
        contract.write_text(contract.read_text().replace("name: orders-completed", f"name: {name}"))
    else:
        # The declaration's field list says the same and more.
        contract.unlink()


# The commands, as a user gives them


class Commands:
    """`mesh-stream` on a stack.

    Args:
        stack: The stack.
        products: The products' folder.
        state: Where workers keep what they remember.
    """

    def __init__(self, stack: Stack, products: Path, *, state: Path) -> None:
        self._environment = os.environ | {
            "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "MESH_REGISTRY_URL": stack.registry_url,
            "MESH_PRODUCTS": str(products),
            "MESH_STATE": str(state),
        }

    def run(self, *arguments: str) -> None:
        """Run a command to its end; it must succeed."""
        done = subprocess.run(
            _command(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def replay(self, topic: str, file: Path, *, key: str | None) -> None:
        """Put a file onto a raw topic."""
        keyed = () if key is None else ("--key", key)
        self.run("replay", topic, str(file), *keyed, "--event-time", "occurred_at")

    @contextmanager
    def workers(self, count: int) -> Iterator[dict[str, str]]:
        """Every product's worker; gives the address of each one's metrics."""
        workers = subprocess.Popen(
            _command("run", "--metrics-port", "0"),
            env=self._environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert workers.stderr is not None
            pages: dict[str, str] = {}
            while len(pages) < count:
                name, _, address = workers.stderr.readline().strip().partition(" slot 0: ")
                pages[name] = address
            yield pages
            workers.terminate()
            _, said = workers.communicate(timeout=15)
            assert workers.returncode == 0, said
        finally:
            workers.kill()
            workers.communicate()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mesh_stream.cli", *arguments]


# An independent consumer: nothing of ours but the topics' names


def facts_of(stack: Stack, topic: str, *, key: str | None) -> Iterator[dict[str, Any]]:
    """Every fact of a topic, partition by partition in order; each keyed by a field, if one is."""
    context = SerializationContext(topic, MessageField.VALUE)
    with SchemaRegistryClient({"url": stack.registry_url}) as registry:
        deserialize = AvroDeserializer(registry)
        for message in messages(stack, topic):
            fact = deserialize(message.value(), context)
            assert isinstance(fact, dict)
            if key is not None:
                assert message.key() == fact[key].encode()
            yield fact
