"""A schema registry that is down, hung or overloaded: never a dead letter for that."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.harness.goods import Good
from tests.kafka.harness.reader import Read
from tests.kafka.harness.registry_proxy import Mood, RegistryProxy, registry_proxy
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

OUTAGES = [Mood.DOWN, Mood.HUNG, Mood.BROKEN, Mood.BUSY]
PARTITIONS = 5

FIELDS = [
    {"name": name, "type": "string" if name in ("key", "kind", "padding") else "long"}
    for name in ("n", "key", "seq", "kind", "padding")
]


def test_outages_hold_back_what_needs_the_registry_and_nothing_else(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    port = {"topic": f"raw.avro-{seed}-{time.time_ns()}", "format": "avro"}
    with (
        scene(stack, tmp_path, seed, partitions=PARTITIONS, inputs=[port]) as torture,
        registry_proxy(stack.registry_url) as proxy,
    ):
        source = _Source(torture)
        slot = torture.slot(0, registry_url=proxy.url)
        slot.start()
        for outage in OUTAGES:
            _outlast(torture, slot, source, proxy, outage)
        torture.settle(within=60)
        assert all(read.topic == torture.product.output.topic for read in torture.verify())
        assert "producer lost" not in slot.said()
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0


def _outlast(
    torture: Scene, slot: SlotProcess, source: _Source, proxy: RegistryProxy, outage: Mood
) -> None:
    """Meet a schema during an outage that the worker does not know yet."""
    *held, free = range(PARTITIONS)
    source.send("known", partitions=range(PARTITIONS))
    eventually(lambda: torture.lag() == 0, within=60, what="records of a known schema")
    # What the reader gets later must not count as gone on with.
    torture.all_read(within=60)
    before = source.sent
    proxy.mood = outage
    source.register(outage.name)
    source.send(outage.name, partitions=held)
    source.send("known", partitions=range(PARTITIONS))
    eventually(lambda: slot.metric("mesh_worker_state", state="paused"), within=30, what="a hold")

    # The partition without unknown schemas goes on; the others wait, to keep their order.
    _await_facts(torture, before + 10)
    for count in (20, 30, 40):
        source.send("known", partitions=[free])
        _await_facts(torture, before + count)
    assert [read.key for read in _facts(torture)[before:]] == 40 * [f"p{free}".encode()]
    asked = f"/{source.ids[outage.name]}"
    requests = sum(count for path, count in proxy.asked.items() if path.endswith(asked))
    # Four partitions, each tried again with back-off, each try asked at most twice.
    assert 1 <= requests < 100

    proxy.mood = Mood.WELL
    eventually(lambda: torture.lag() == 0, within=60, what="everything that was held back")


def _await_facts(torture: Scene, count: int) -> None:
    # A registry that hangs holds up everything for the five seconds of a question, then rests.
    eventually(lambda: len(_facts(torture)) >= count, within=12, what=f"{count} facts")


def _facts(torture: Scene) -> list[Read]:
    return [read for read in list(torture.reader.records) if read.topic == torture.published[0]]


class _Source:
    """A source system that writes Avro in one version of its schema or another."""

    def __init__(self, torture: Scene) -> None:
        self._torture = torture
        env = {
            "MESH_BOOTSTRAP_SERVERS": torture.stack.bootstrap_servers,
            "MESH_REGISTRY_URL": torture.stack.registry_url,
        }
        self._settings = Settings.load(env)
        self._schemas: dict[str, Any] = {}
        self.ids: dict[str, int] = {}
        self.sent = 0
        self.register("known")

    def register(self, version: str) -> None:
        # A further field makes it another schema, with an id of its own.
        more = [{"name": version, "type": "string", "default": ""}]
        schema = {"type": "record", "name": "Event", "fields": [*FIELDS, *more]}
        self._schemas[version] = fastavro.parse_schema(schema)
        with SchemaRegistry(self._settings) as registry:
            subject = f"{self._torture.raw}-{version}-value"
            self.ids[version] = registry.register(subject, json.dumps(schema))

    def send(self, version: str, *, partitions: Any) -> None:
        """Ten records to each partition; each has a key of its own."""
        for partition in partitions:
            goods = [self._torture.feed.goods.next("good", key=f"p{partition}") for _ in range(10)]
            written = [self._written(good, version) for good in goods]
            self._torture.feed.send(*written, partition=partition)
            self.sent += len(written)

    def _written(self, good: Good, version: str) -> Good:
        stream = BytesIO()
        fastavro.schemaless_writer(stream, self._schemas[version], json.loads(good.value))
        framed = b"\0" + self.ids[version].to_bytes(4, "big") + stream.getvalue()
        return dataclasses.replace(good, value=framed)
