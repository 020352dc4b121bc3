"""A product with a short promise, its source and worker, and a monitor that watches it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from mesh_stream.freshness.moments import Schemas
from mesh_stream.freshness.monitor import Monitor
from mesh_stream.freshness.reading import Reading
from mesh_stream.freshness.sli import State, Verdict
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.harness import broker
from tests.kafka.harness.scene import SESSION, provision
from tests.kafka.harness.slot import SlotProcess

FRESHNESS = 6
"""Seconds; what the product promises: more than the two between two statuses, which alone tell what
a fact was last asked for, and what a busy machine adds to them."""
PARTITIONS = 2

DECLARATION = """\
data_product:
  name: {name}
  owner: watch-team
  description: "What is watched"
  sla: {{freshness: {freshness}_seconds, availability: 99%}}
  schema:
    - id: string
    - at: timestamp
  inputs:
    - {{topic: raw.{name}, format: json, event_time: at}}
  output: {{key: id, event_time: at, partitions: 1}}
  quality:
    - {{rule: not_null, column: id}}
"""
TRANSFORMATION = """\
import time
from datetime import datetime, timedelta

import msgspec

from mesh_stream import filtered


class Event(msgspec.Struct):
    at: datetime
    id: str | None = None
    skip: bool = False
    ahead: float = 0
    stuck: bool = False


def work(event: Event):
    if event.skip:
        return filtered("skipped")
    if event.stuck:
        time.sleep(600)
    return {"id": event.id, "at": event.at + timedelta(seconds=event.ahead)}
"""


@dataclass
class Watch:
    """Everything of one product."""

    stack: Stack
    product: Product
    root: Path
    producer: Producer
    slots: list[SlotProcess] = field(default_factory=list)

    @property
    def raw(self) -> str:
        return self.product.inputs[0].topic

    @property
    def settings(self) -> Settings:
        return settings_of(self.stack)

    def worker(self, number: int = 0, **pace: float) -> SlotProcess:
        """A worker that was given partitions."""
        config = self.root / "kafka.yaml"
        config.write_text(json.dumps(SESSION))
        environment = {
            "MESH_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "MESH_REGISTRY_URL": self.stack.registry_url,
            "MESH_KAFKA_CONFIG": str(config),
            "MESH_PRODUCTS": str(self.root / "products"),
            "MESH_STATE": str(self.root / "state"),
        }
        log = self.root / f"slot-{number}-{len(self.slots)}.log"
        slot = SlotProcess(
            self.product.name, number, environment=environment, log=log, pace=pace or None
        )
        self.slots.append(slot)
        slot.start()
        eventually(slot.is_reading, within=60, what="the worker with partitions")
        return slot

    def send(self, partition: int = 0, *, late: float = 0, **fields: Any) -> None:
        """One event that happened so many seconds ago, acknowledged."""
        at = time.time() - late
        event = {"id": "one", "at": _iso(at), **fields}
        self.producer.produce(self.raw, json.dumps(event), partition=partition)
        assert self.producer.flush(20) == 0


@contextmanager
def product_of(stack: Stack, root: Path) -> Iterator[Watch]:
    """A provisioned product of a name of its own; its workers are ended afterwards."""
    name = unique("watched")
    folder = root / "products" / "faults" / name
    (folder / "src" / "transformations").mkdir(parents=True)
    (folder / "data_product.yaml").write_text(DECLARATION.format(name=name, freshness=FRESHNESS))
    (folder / "src" / "transformations" / "work.py").write_text(TRANSFORMATION)
    product = load_mesh(root / "products").products[name]
    admin = broker.client(stack.bootstrap_servers)
    broker.create_topic(admin, f"raw.{name}", PARTITIONS)
    provision(stack, root / "products", product, admin)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "log_level": 0})
    watch = Watch(stack, product, root, producer)
    try:
        yield watch
    finally:
        for slot in watch.slots:
            slot.end()


class Watching:
    """A monitor that runs.

    Attributes:
        heard: Every verdict so far, each time that it changed.
    """

    def __init__(self, monitor: Monitor, name: str) -> None:
        self.monitor = monitor
        self.name = name
        self.heard: list[Verdict] = []
        monitor.on_look.append(self._hear)

    def _hear(self, readings: Any) -> None:
        verdict = readings[self.name].verdict
        if not self.heard or self.heard[-1] != verdict:
            self.heard.append(verdict)

    @property
    def reading(self) -> Reading:
        return self.monitor.readings()[self.name]

    def until(self, *wanted: Verdict, within: float = 20) -> Reading:
        """The first reading with one of these verdicts."""
        found = eventually(
            lambda: reading if (reading := self.reading).verdict in wanted else None,
            within=within,
            what=f"{wanted}, not {self.heard}, {self.reading.seen}",
        )
        assert found is not None
        return found

    def stays(self, *wanted: Verdict, seconds: float) -> None:
        """For so long, it is one of these at every look."""
        end = time.monotonic() + seconds
        del self.heard[:-1]
        eventually(lambda: time.monotonic() > end, within=seconds + 5, what="time to pass")
        assert set(self.heard[1:]) <= set(wanted), self.heard
        assert self.reading.verdict in wanted

    def is_stale(self) -> bool:
        return self.reading.verdict.state is State.STALE


@contextmanager
def monitoring(watch: Watch) -> Iterator[Watching]:
    """A monitor of the product that runs in this process, with minutes of a second."""
    with SchemaRegistry(watch.settings) as registry:
        monitor = Monitor([watch.product], watch.settings, Schemas(registry), minute=1)
        watching = Watching(monitor, watch.product.name)
        running = threading.Thread(target=monitor.run, daemon=True)
        running.start()
        try:
            yield watching
        finally:
            monitor.stop()
            running.join(20)
    assert not running.is_alive(), "the monitor did not end"


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
