"""A scene: one product on a real stack, its feed, workers and reader; verified, cleared away."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
import yaml
from confluent_kafka.admin import AdminClient

from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.mesh.apply import apply
from mesh_stream.mesh.plan import plan
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.feed import Feed
from tests.kafka.harness.goods import Goods, write_product
from tests.kafka.harness.reader import Read, Reader
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.verifier import check, differences

# Short, so that a test need not wait long for a dead worker to be missed. And fetching ten times a
# second where nothing comes: a hundred times is most of what the broker has to do in these tests.
SESSION = {
    "session.timeout.ms": 1_000,
    "heartbeat.interval.ms": 250,
    "fetch.wait.max.ms": 100,
}


@dataclass(slots=True)
class Scene:
    """One product under torture."""

    stack: Stack
    product: Product
    products: Path
    folder: Path
    seed: int
    random: random.Random
    admin: AdminClient
    feed: Feed
    reader: Reader
    slots: list[SlotProcess] = field(default_factory=list)

    def slot(
        self,
        number: int,
        *,
        kafka: Mapping[str, object] | None = None,
        pace: Mapping[str, float] | None = None,
        registry_url: str | None = None,
    ) -> SlotProcess:
        """A worker slot, not started yet.

        Args:
            number: The slot.
            kafka: librdkafka settings beside those in `SESSION`.
            pace: Fields of `Pace` that are other than usual.
            registry_url: Another registry than the stack's.
        """
        config = self.folder / f"kafka-{len(self.slots)}.yaml"
        config.write_text(yaml.safe_dump({**SESSION, **(kafka or {})}))
        environment = {
            "MESH_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "MESH_REGISTRY_URL": registry_url or self.stack.registry_url,
            "MESH_KAFKA_CONFIG": str(config),
            "MESH_PRODUCTS": str(self.products),
            "MESH_STATE": str(self.state),
        }
        log = self.folder / f"slot-{number}-{len(self.slots)}.log"
        slot = SlotProcess(self.product.name, number, environment=environment, log=log, pace=pace)
        self.slots.append(slot)
        return slot

    def sibling(self, name: str) -> Path:
        """A file beside the product's transformation, which looks for it."""
        return self.folder / "src" / "transformations" / name

    @property
    def state(self) -> Path:
        """Where workers keep what the product remembers."""
        return self.products.parent / "state"

    @property
    def raw(self) -> str:
        return self.product.inputs[0].topic

    @property
    def published(self) -> tuple[str, str]:
        return self.product.output.topic, self.product.dead_letter_topic

    @property
    def written(self) -> Sequence[str]:
        """Topics that workers write to."""
        return self.published

    def lag(self) -> int:
        """Raw records that nobody's transaction has taken, as an outside observer counts them."""
        end = broker.ends(self.admin, [self.raw], stable=False)
        done = broker.committed(self.stack.bootstrap_servers, self.product.group, self.raw)
        return sum(end[partition] - done.get(partition, 0) for partition in end)

    def hidden(self) -> int:
        """How many offsets of what workers write an open transaction hides from readers."""
        end = broker.ends(self.admin, self.written, stable=False)
        stable = broker.ends(self.admin, self.written, stable=True)
        return sum(end[partition] - stable[partition] for partition in end)

    def settle(self, *, within: float) -> None:
        """Wait until everything that was fed is taken, nothing is open, and the reader saw it all.

        Raises:
            AssertionError: Not in time.
        """
        self.feed.stop()
        eventually(lambda: self.lag() == 0, within=within, what="all input committed (lag 0)")
        self.all_read(within=within)

    def all_read(self, *, within: float) -> None:
        """Wait until nothing is open, and the reader saw all that is committed: it may be behind.

        Raises:
            AssertionError: Not in time.
        """
        eventually(lambda: self.hidden() == 0, within=within, what="no transaction left open")
        self._caught_up(self.reader, within)

    def verify(self) -> list[Read]:
        """Check everything that was published; returns it.

        Raises:
            AssertionError: Something is lost, doubled, out of order, or changed its mind.
        """
        self.reader.stop()
        final = Reader(self.stack.bootstrap_servers, self.published)
        self._caught_up(final, 60)
        final.stop()
        schema = fastavro.parse_schema(dict(self.product.contract.schema))
        for records in (self.reader.records, final.records):
            findings = check(
                records,
                sent=self.feed.sent,
                places=self.feed.places,
                schema=schema,
                letters_topic=self.product.dead_letter_topic,
            )
            assert not findings, f"seed {self.seed}: {findings}"
        changed = differences(self.reader.records, final.records)
        assert not changed, f"seed {self.seed}: {changed}"
        return final.records

    def _caught_up(self, reader: Reader, within: float) -> None:
        end = broker.ends(self.admin, self.published, stable=True)
        eventually(
            lambda: all(reader.position(*place) >= offset for place, offset in end.items()),
            within=within,
            what="the reader at the end of facts and dead letters",
        )


@contextmanager
def scene(
    stack: Stack, tmp_path: Path, seed: int, *, partitions: int = 4, **changes: Any
) -> Iterator[Scene]:
    """Provision a product of a name of its own; end every process and thread afterwards.

    Args:
        stack: The broker and registry.
        tmp_path: Where products and logs are written.
        seed: Of everything random.
        partitions: Of the raw topic.
        changes: To the product's declaration; see `write_product`.
    """
    name = f"torture-{uuid.uuid4().hex[:8]}"
    products = tmp_path / "products"
    folder = write_product(products, name, **changes)
    mesh = load_mesh(products)
    product = mesh.products[name]
    admin = broker.client(stack.bootstrap_servers)
    for port in product.inputs:
        broker.create_topic(admin, port.topic, partitions)
    provision(stack, products, product, admin)
    feed = Feed(stack.bootstrap_servers, product.inputs[0].topic, Goods(seed))
    topics = (product.output.topic, product.dead_letter_topic)
    built = Scene(
        stack=stack, product=product, products=products, folder=folder, seed=seed,
        random=random.Random(seed), admin=admin, feed=feed,
        reader=Reader(stack.bootstrap_servers, topics),
    )  # fmt: skip
    try:
        yield built
    finally:
        for slot in built.slots:
            slot.end()
        built.reader.stop()
        feed.stop()


def provision(stack: Stack, products: Path, product: Product, admin: AdminClient) -> None:
    """What `mesh-stream apply` does."""
    settings = Settings.load(
        {
            "MESH_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "MESH_REGISTRY_URL": stack.registry_url,
        },
        products=str(products),
    )
    mesh = load_mesh(products)
    with SchemaRegistry(settings) as registry:
        planned = plan(mesh, [product], admin=admin, registry=registry)
        assert not planned.problems, planned.problems
        applied = apply(planned.actions, admin=admin, registry=registry)
        assert not applied.failed, applied.failed
