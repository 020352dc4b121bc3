"""Products that remember, on the shared broker: written, provisioned, fed and run by a test."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.groups import Offsets, committed
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.mesh.apply import apply
from mesh_stream.mesh.plan import plan
from mesh_stream.product.loader import load_mesh, load_product
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.declaring import unique
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.reading import messages
from tests.product.seed import write

DECLARATION = """\
data_product:
  name: {name}
  owner: stock-team
  description: Units on hand
  sla: {{freshness: 15_minutes, availability: 99.9%}}
  schema:
    - sku: string
    - on_hand: long
  inputs:
    - {input}
"""

CODE = """\
from __future__ import annotations
from datetime import datetime
import msgspec
class Move(msgspec.Struct, frozen=True):
    sku: str
    units: int
    at: datetime | None = None
class Stock(msgspec.Struct, frozen=True):
    sku: str
    on_hand: int
def fold(state: Stock | None, event: Move) -> Stock | None:
    return Stock(event.sku, event.units + (state.on_hand if state else 0))
def merge(a: Stock, b: Stock) -> Stock:
    return Stock(a.sku, a.on_hand + b.on_hand)
"""

PASSING = """\
def moved(record: dict) -> dict:
    return {"sku": record["sku"], "on_hand": record["units"]}
"""
"""Of a product that remembers nothing."""

SESSION = "{session.timeout.ms: 1000, heartbeat.interval.ms: 250, fetch.wait.max.ms: 100}\n"
"""As in a `harness.scene`."""


@dataclass(frozen=True)
class Stocked:
    """A product whose fold adds units; of a name of its own.

    Attributes:
        stack: Where it runs.
        products: The folder of products that it alone is in.
        name: Its name.
        keyed: Whether its input says what it is keyed by, so that nothing is repartitioned.
        timed: Whether its input says when events happen.
    """

    stack: Stack
    products: Path
    name: str
    keyed: bool
    timed: bool = False

    @property
    def folder(self) -> Path:
        return self.products / "stock" / self.name

    @property
    def product(self) -> Product:
        return load_product(self.folder)

    @property
    def raw(self) -> str:
        return f"raw.{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        config = self.products.parent / "kafka.yaml"
        if not config.exists():
            config.write_text(SESSION)
        return {
            "MESH_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "MESH_REGISTRY_URL": self.stack.registry_url,
            "MESH_PRODUCTS": str(self.products),
            "MESH_STATE": str(self.products.parent / "state"),
            "MESH_KAFKA_CONFIG": str(config),
        }

    @property
    def settings(self) -> Settings:
        return Settings.load(self.environment)

    def declare(
        self, state: str | None = "{key: sku}", *, code: str = CODE, more: str = ""
    ) -> None:
        """Write the product's files; again, where a test changes its mind."""
        parts = [f"topic: {self.raw}"]
        parts += ["key: sku"] if self.keyed else []
        parts += ["event_time: at"] if self.timed else []
        said = "{" + ", ".join(parts) + "}"
        text = DECLARATION.format(name=self.name, input=said)
        if state is not None:
            text += f"  state: {state}\n"
        files: Mapping[str, str] = {
            "data_product.yaml": text,
            "src/transformations/stock.py": code if state is not None else PASSING,
        }
        write(self.products, f"stock/{self.name}", files)

    def provision(self, partitions: int = 2) -> None:
        """Create the raw topic, and what `mesh-stream apply` creates."""
        client = admin(self.settings)
        topics.create(client, self.raw, partitions=partitions, replicas=1, settings={})
        with SchemaRegistry(self.settings) as registry:
            mesh = load_mesh(self.products)
            planned = plan(mesh, mesh.products.values(), admin=client, registry=registry)
            assert planned.problems == ()
            applied = apply(planned.actions, admin=client, registry=registry)
            assert (applied.failed, applied.skipped) == ((), ())

    def feed(self, *moves: tuple[str, int], at: str | None = None) -> None:
        """Put movements of units on the raw topic."""
        servers = {"bootstrap.servers": self.stack.bootstrap_servers}
        producer = Producer({**servers, "partitioner": "murmur2_random"})
        for sku, units in moves:
            move = {"sku": sku, "units": units, **({"at": at} if at else {})}
            producer.produce(self.raw, json.dumps(move).encode(), sku.encode())
        assert producer.flush(15) == 0

    @contextmanager
    def running(self, *, within: float = 30.0) -> Iterator[SlotProcess]:
        """A worker that has read all of its input when the block begins; stopped at its end."""
        slot = self.slot()
        slot.start()
        try:
            with self.lagging() as lag:
                eventually(
                    lambda: (slot.is_reading() and lag() == 0) or not slot.alive(),
                    within=within,
                    what="all was read",
                )
            assert slot.alive(), slot.said()
            yield slot
            slot.signal(signal.SIGTERM)
            assert slot.wait(20) == 0, slot.said()
        finally:
            slot.end()

    def slot(self) -> SlotProcess:
        return SlotProcess(
            self.name, 0, environment=self.environment, log=self.products.parent / "worker.log"
        )

    def run(self) -> None:
        """Have a worker read all there is, and stop it."""
        with self.running():
            pass

    def refusal(self) -> str:
        """What a worker says that refuses to go on."""
        slot = self.slot()
        slot.start()
        code = slot.wait(60)
        assert code == 2, slot.said()
        return slot.said()

    def positions(self) -> dict[tuple[str, int], int]:
        """The group's committed offsets."""
        names = [self.raw, *self.product.own_topics]
        found = topics.describe(admin(self.settings), names)
        places = [(name, at) for name, one in found.items() for at in range(one.partitions)]
        return committed(self.settings, self.product.group, places)

    def lag(self) -> int:
        """Records of its input, and on the way to its states, that are not yet taken."""
        with self.lagging() as lag:
            return lag()

    @contextmanager
    def lagging(self) -> Iterator[Callable[[], int]]:
        """What counts the lag, to be asked again and again."""
        product, settings = self.product, self.settings
        read = [self.raw, *([] if self.keyed else [product.repartition_topic])]

        def lag() -> int:
            # First what was taken: what it was sent on as is on its topic by then, and counted.
            done = offsets.committed(places)
            bounds = reader.bounds(read)
            return sum(high - done.get(place, low) for place, (low, high) in bounds.items())

        with (
            Reader(settings, client_id=unique("lag")) as reader,
            Offsets(settings, product.group) as offsets,
        ):
            places = list(reader.bounds(read))
            yield lag

    def facts(self) -> list[dict[str, Any]]:
        """Every fact that was published, in each key's order."""
        found = []
        for message in messages(self.stack, self.product.output.topic):
            value = message.value()
            assert value is not None
            found.append(_fact(value))
        return found

    def newest(self) -> dict[str, int]:
        """Key -> units on hand, by the newest fact."""
        return {fact["sku"]: fact["on_hand"] for fact in self.facts()}


def stocked(
    stack: Stack,
    folder: Path,
    state: str | None = "{key: sku}",
    *,
    keyed: bool,
    timed: bool = False,
    code: str = CODE,
) -> Stocked:
    """Writes a product of a name of its own."""
    made = Stocked(stack, folder / "products", unique("stocked"), keyed, timed)
    made.declare(state, code=code)
    return made


def _fact(value: bytes) -> dict[str, Any]:
    # A string and a long, framed: what a schema-less look at the fact takes.
    at = 5
    length, at = _long(value, at)
    sku = value[at : at + length].decode()
    on_hand, _ = _long(value, at + length)
    return {"sku": sku, "on_hand": on_hand}


def _long(data: bytes, at: int) -> tuple[int, int]:
    shift = number = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
