"""How fast a worker that has lost its disk gets its states back, and in how much memory.

A process of its own restores every partition of a changelog with the worker's own restorer, into
stores in a new folder, and says what that took.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin, producer_settings, reader_settings
from mesh_stream.pipeline.entries import META, STATE, Meta
from mesh_stream.pipeline.watermark import Progress
from mesh_stream.runtime.restore import Restorer, Restoring, connection
from mesh_stream.runtime.store import Store
from mesh_stream.settings import Settings
from tests.bench.arena import PARTITIONS, SILENCE_SECONDS, Arena
from tests.bench.contender import NO_REGISTRY
from tests.bench.process import peak_bytes

CHANGELOG = "bench.restored"


class Restored(msgspec.Struct, frozen=True):
    """Changelog records per second, and the process's largest memory in megabytes."""

    rate: float
    megabytes: float


class _State(msgspec.Struct, frozen=True):
    on_hand: int
    moves: int
    moved_at: datetime


def measure(arena: Arena, keys: int) -> Restored:
    """Write so many states into a changelog, and have them restored."""
    settings = topics.changelog_settings(1)
    client = admin(arena.settings)
    topics.create(client, CHANGELOG, partitions=PARTITIONS, replicas=1, settings=settings)
    producer = Producer(producer_settings(arena.settings, client_id="bench.fill"))
    encode = msgspec.msgpack.Encoder().encode
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(keys):
        value = encode(_State(number % 1000, number % 17, moment))
        _produce(producer, STATE + b"sku-%07d" % number, value, number % PARTITIONS)
    meta = encode(Meta(keys, "", Progress()))
    for number in range(PARTITIONS):
        _produce(producer, META, meta, number)
    if unsent := producer.flush(SILENCE_SECONDS):
        raise SystemExit(f"{unsent} states could not be written to {CHANGELOG}")
    command = [sys.executable, "-m", "tests.bench.restoring", arena.settings.bootstrap_servers]
    done = subprocess.run(
        [*command, str(keys)], stdout=subprocess.PIPE, check=True, timeout=10 * SILENCE_SECONDS
    )
    return msgspec.json.decode(done.stdout, type=Restored)


def _produce(producer: Producer, key: bytes, value: bytes, partition: int) -> None:
    while True:
        try:
            producer.produce(CHANGELOG, value, key, partition)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _restore(bootstrap_servers: str, keys: int) -> Restored:
    settings = Settings.load({}, bootstrap_servers=bootstrap_servers, registry_url=NO_REGISTRY)
    reader = reader_settings(settings, group="bench.restore", client_id="bench.restore")
    restorer = Restorer("bench", CHANGELOG, connection(reader), lambda _records: None)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder:
        tasks = [
            Restoring(
                number,
                Store.open(Path(folder) / str(number), identity="bench", max_age=3600),
                keys,
                None,
            )
            for number in range(PARTITIONS)
        ]
        began = time.monotonic()
        for task in tasks:
            restorer.begin(task)
        for task in tasks:
            task.finished.wait()
            if task.failure is not None:
                raise SystemExit(str(task.failure))
        took = time.monotonic() - began
        peak = peak_bytes(os.getpid()) / 1e6
        found = sum(
            task.store.get(STATE + b"sku-%07d" % n) is not None
            for task in tasks
            for n in (task.partition, keys - PARTITIONS + task.partition)
        )
        if found != 2 * PARTITIONS:
            raise SystemExit("what was restored is not what was written")
        for task in tasks:
            task.store.close()
        restorer.close()
    return Restored(sum(task.records for task in tasks) / took, peak)


if __name__ == "__main__":
    result = _restore(sys.argv[1], int(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
