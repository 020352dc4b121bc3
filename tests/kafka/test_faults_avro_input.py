"""Avro input that is hostile, unknown or evolving: one dead letter each, and the worker goes on."""

from __future__ import annotations

import json
import random
import resource
import uuid
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer

from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.harness.reader import Read
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

FIELDS: list[dict[str, Any]] = [
    {"name": "n", "type": "long"},
    {"name": "key", "type": "string"},
    {"name": "seq", "type": "long"},
    {"name": "kind", "type": "string"},
    {"name": "padding", "type": "string"},
]
EVENT = {"type": "record", "name": "Event", "fields": FIELDS}
NEWER = {
    **EVENT,
    "fields": [*FIELDS, {"name": "channel", "type": "string", "default": "web"}],
}
# A reader that wants `seq` cannot make it up.
POORER = {**EVENT, "fields": [field for field in FIELDS if field["name"] != "seq"]}
RECURSIVE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}],
}
NULLS = {
    "type": "record",
    "name": "Nulls",
    "fields": [{"name": "items", "type": {"type": "array", "items": "null"}}],
}
MEGABYTE = 1 << 20


class Source:
    """A source system that writes Avro, well or badly."""

    def __init__(self, torture: Scene) -> None:
        self._torture = torture
        settings = Settings.load(
            {
                "MESH_BOOTSTRAP_SERVERS": torture.stack.bootstrap_servers,
                "MESH_REGISTRY_URL": torture.stack.registry_url,
            }
        )
        self._registry = SchemaRegistry(settings)
        self._producer = Producer({"bootstrap.servers": torture.stack.bootstrap_servers})
        self.sent = 0

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._registry.close()

    def register(self, schema: dict[str, Any], subject: str) -> int:
        """The id of a schema under a subject of its own: a source may write what it likes."""
        name = f"{self._torture.raw}-{subject}-value"
        return self._registry.register(name, json.dumps(schema))

    def send(self, value: bytes, *, key: bytes = b"k", headers: Any = None) -> None:
        self._producer.produce(self._torture.raw, value, key, partition=0, headers=headers)
        self._producer.poll(0)
        self.sent += 1

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


def framed(schema_id: int, schema: Any, datum: dict[str, Any]) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), datum)
    return b"\0" + schema_id.to_bytes(4, "big") + stream.getvalue()


def event(n: int, **more: Any) -> dict[str, Any]:
    return {"n": n, "key": f"k{n % 7}", "seq": n, "kind": "good", "padding": "", **more}


@pytest.fixture
def torture(stack: Stack, tmp_path: Path, seed: int) -> Iterator[Scene]:
    port = {
        "topic": f"raw.avro-{uuid.uuid4().hex[:8]}",
        "format": "avro",
        "schema": "schema/inputs/event.avsc",
    }
    files = {"schema/inputs/event.avsc": json.dumps(EVENT)}
    output = {"key": "key", "partitions": 1}
    with scene(
        stack, tmp_path, seed, partitions=1, files=files, inputs=[port], output=output
    ) as built:
        yield built


@pytest.fixture
def slot(torture: Scene) -> SlotProcess:
    slot = torture.slot(0)
    slot.start()
    eventually(slot.is_reading, within=30, what="the worker with partitions")
    return slot


def published(torture: Scene, *, facts: int, letters: int) -> tuple[list[int], list[Read]]:
    """The numbers of the facts and the dead letters, once all are there."""
    topic, letters_topic = torture.published

    def split() -> tuple[list[Read], list[Read]]:
        records = list(torture.reader.records)
        return (
            [read for read in records if read.topic == topic],
            [read for read in records if read.topic == letters_topic],
        )

    eventually(
        lambda: tuple(map(len, split())) >= (facts, letters) and torture.lag() == 0,
        within=60,
        what=f"{facts} facts and {letters} dead letters",
    )
    found, dead = split()
    schema = fastavro.parse_schema(dict(torture.product.contract.schema))
    numbers = []
    for read in found:
        assert read.value is not None
        datum: Any = fastavro.schemaless_reader(BytesIO(read.value[5:]), schema, None)
        numbers.append(datum["n"])
    assert len(dead) == letters
    return numbers, dead


def memory(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def header(read: Read, name: str) -> str:
    (value,) = [value for key, value in read.headers if key == name]
    assert value is not None
    return value.decode()


def test_each_poison_pill_is_one_dead_letter_with_its_bytes_and_the_worker_lives(
    torture: Scene, slot: SlotProcess, seed: int
) -> None:
    chance = random.Random(seed)
    with Source(torture) as source:
        good = source.register(EVENT, "good")
        recursive = source.register(RECURSIVE, "recursive")
        nulls = source.register(NULLS, "nulls")
        whole = framed(good, EVENT, event(0))
        deep = b"\0" + recursive.to_bytes(4, "big") + b"\x02" * 5_000 + b"\x00"
        bomb = b"\0" + nulls.to_bytes(4, "big") + b"\x80\x80\x80\x80\x80\x80\x01"
        pills = [
            b"\x01" + whole[1:],
            b"\0",
            b"\0\0\0\1",
            whole[:-3],
            whole + b"\0",
            b"",
            deep,
            bomb,
            b"\2" + chance.randbytes(63),
        ]
        source.send(whole)
        source.flush()
        published(torture, facts=1, letters=0)
        before = memory(slot.pid)

        for number, pill in enumerate(pills, start=1):
            source.send(pill, key=bytes([0xFF, number]), headers=[("a", b"1"), ("a", b"\xff")])
            source.send(framed(good, EVENT, event(number)))
        source.flush()
        numbers, dead = published(torture, facts=len(pills) + 1, letters=len(pills))

    assert numbers == list(range(len(pills) + 1))
    assert {read.key: read.value for read in dead} == {
        bytes([0xFF, number]): pill for number, pill in enumerate(pills, start=1)
    }
    for read in dead:
        assert read.headers[:2] == (("a", b"1"), ("a", b"\xff"))
        assert header(read, "mesh.dlq.class") == "payload"
        assert header(read, "__dlq.errors.topic") == torture.raw
    assert slot.alive()
    assert memory(slot.pid) - before < 50 * MEGABYTE


def test_bit_flips_are_facts_or_dead_letters_and_never_the_end_of_the_worker(
    torture: Scene, slot: SlotProcess, seed: int
) -> None:
    chance = random.Random(seed)
    with Source(torture) as source:
        good = source.register(EVENT, "good")
        for number in range(500):
            value = bytearray(framed(good, EVENT, event(number)))
            bit = chance.randrange(40, len(value) * 8)
            value[bit // 8] ^= 1 << bit % 8
            source.send(bytes(value))
        source.flush()
        eventually(lambda: torture.lag() == 0, within=60, what="everything read")

    consumed = slot.metric("mesh_records_consumed_total")
    accounted = slot.metric("mesh_records_sources_total") + slot.metric(
        "mesh_records_rejected_total"
    )
    accounted += slot.metric("mesh_records_filtered_total")
    assert slot.alive()
    assert (consumed, accounted) == (500, 500)


def test_an_unknown_schema_id_is_a_dead_letter_each_and_hardly_a_request(
    torture: Scene, slot: SlotProcess
) -> None:
    with Source(torture) as source:
        good = source.register(EVENT, "good")
        unknown = (2_000_000_000).to_bytes(4, "big")
        before = slot.metric("mesh_registry_requests_total")
        for number in range(2_000):
            source.send(b"\0" + unknown + b"whatever")
            if number % 100 == 0:
                source.send(framed(good, EVENT, event(number)))
        source.flush()
        numbers, dead = published(torture, facts=20, letters=2_000)

    assert numbers == list(range(0, 2_000, 100))
    assert Counter(header(read, "mesh.dlq.rule") for read in dead) == {"unknown_schema": 2_000}
    # The unknown id twice (a replica may lag), the known one and its kin once.
    assert slot.metric("mesh_registry_requests_total") - before <= 6


def test_a_compatible_writer_goes_on_and_an_incompatible_one_is_dead_lettered(
    torture: Scene, slot: SlotProcess
) -> None:
    with Source(torture) as source:
        old = source.register(EVENT, "old")
        newer = source.register(NEWER, "newer")
        poorer = source.register(POORER, "poorer")
        for number in range(30):
            match number % 3:
                case 0:
                    source.send(framed(old, EVENT, event(number)))
                case 1:
                    source.send(framed(newer, NEWER, event(number, channel="shop")))
                case _:
                    datum = {k: v for k, v in event(number).items() if k != "seq"}
                    source.send(framed(poorer, POORER, datum))
        source.flush()
        numbers, dead = published(torture, facts=20, letters=10)

    assert numbers == [number for number in range(30) if number % 3 != 2]
    assert {header(read, "mesh.dlq.rule") for read in dead} == {"schema_incompatible"}
    assert all("seq" in header(read, "__dlq.errors.message") for read in dead)
