"""The place of the contest: a broker and registry of its own, the input on it, the books after."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin, producer_settings, reader_settings
from mesh_stream.kafka.preflight import preflight
from mesh_stream.kafka.reader import Reader
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.bench.orders import PRODUCT, TOPIC, Books, Orders

PRODUCTS = Path(__file__).parent / "products"
PARTITIONS = 4
SILENCE_SECONDS = 30.0
"""A broker on this machine that says nothing for this long will not say anything."""


@dataclass(frozen=True, slots=True)
class Arena:
    """Where the contenders run.

    Attributes:
        settings: The broker and the registry.
        product: The worker's product, provisioned.
        schema_id: The registry's id of its contract.
    """

    settings: Settings
    product: Product
    schema_id: int

    @property
    def environment(self) -> dict[str, str]:
        """For processes that find broker, registry and products by it."""
        return os.environ | {
            "MESH_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "MESH_REGISTRY_URL": self.settings.registry_url,
            "MESH_PRODUCTS": str(self.settings.products),
        }


def provision(stack: Stack, products: Path = PRODUCTS) -> Arena:
    """Provision the worker's product as its operators would: `mesh-stream apply`."""
    settings = Settings.load(
        {},
        products=str(products),
        bootstrap_servers=stack.bootstrap_servers,
        registry_url=stack.registry_url,
    )
    product = load_mesh(products).products[PRODUCT]
    unprovisioned = Arena(settings, product, schema_id=0)
    command = [sys.executable, "-m", "mesh_stream.cli", "apply", "--create-inputs"]
    subprocess.run(command, env=unprovisioned.environment, check=True, stdout=subprocess.DEVNULL)
    with SchemaRegistry(settings) as registry:
        return Arena(settings, product, preflight(settings, product, registry).schema_id)


def create_topics(arena: Arena, names: Iterable[str]) -> None:
    """Create topics like the product's own output topic."""
    client = admin(arena.settings)
    settings = topics.output_settings(arena.product, 1)
    for name in names:
        topics.create(client, name, partitions=PARTITIONS, replicas=1, settings=settings)


def fill(arena: Arena, orders: Orders, count: int) -> Books:
    """Write so many orders onto the input topic."""
    producer = Producer(producer_settings(arena.settings, client_id="bench.fill"))
    for key, value in orders.make(count):
        while True:
            try:
                producer.produce(TOPIC, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    if unsent := producer.flush(SILENCE_SECONDS):
        raise SystemExit(f"{unsent} orders could not be written to {TOPIC}")
    return orders.books


@dataclass(frozen=True, slots=True)
class Written:
    """What a run left on a topic, read back read-committed.

    Attributes:
        records: How many.
        checksum: Of all their keys and values, whatever their order.
        seconds: From the first record to the last, by the clock that stamped them when they were
            handed to the producer.
    """

    records: int
    checksum: int
    seconds: float


def ends(arena: Arena, topic: str) -> dict[int, int]:
    """Where each partition ends now, transactions that are still being decided included."""
    config = reader_settings(arena.settings, group="bench.ends", client_id="bench.ends")
    consumer = Consumer(config | {"isolation.level": "read_uncommitted"})
    found = {number: _end(consumer, topic, number) for number in range(PARTITIONS)}
    consumer.close()
    return found


def _end(consumer: Consumer, topic: str, number: int) -> int:
    deadline = time.monotonic() + SILENCE_SECONDS
    while True:
        try:
            place = TopicPartition(topic, number)
            end: int = consumer.get_watermark_offsets(place, timeout=SILENCE_SECONDS)[1]
        except KafkaException as error:
            # A topic made a moment ago has no leader yet.
            if not error.args[0].retriable() or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return end


def read_back(arena: Arena, topic: str, begins: dict[int, int]) -> Written:
    """Read what a run left on a topic, to the topic's very end.

    A commit returns before its markers have reached every partition: what a reader sees first may
    be less than what was committed.

    Args:
        arena: Where.
        topic: The topic.
        begins: Partition -> where it ended before the run.
    """
    wanted = {(topic, number): end for number, end in ends(arena, topic).items()}
    records = checksum = 0
    first, last = float("inf"), 0.0
    with Reader(arena.settings, client_id="bench.reader") as reader:
        reader.start({(topic, number): at for number, at in begins.items()})
        heard = time.monotonic()
        while not reader.has_reached(wanted):
            batch = reader.poll(0.1)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise SystemExit(f"reading back {topic}: its end cannot be reached")
            for message in batch:
                records += 1
                checksum += zlib.crc32(message.value() or b"", zlib.crc32(message.key() or b""))
                moment = message.timestamp()[1]
                first, last = min(first, moment), max(last, moment)
    return Written(records, checksum, max(0.0, last - first) / 1000)
