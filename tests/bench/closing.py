"""`python -m tests.bench.closing`: a million windows that close at once.

A worker of its own folds one event for each of so many keys into windows of one hour, then hears of
the next day. How long its loop stood still at the longest is what matters: a worker that does not
poll is given up by its group. Every window's fact has to be there, once.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from mesh_stream.freshness.metrics import ProductMetrics
from mesh_stream.kafka.client import producer_settings
from mesh_stream.kafka.preflight import preflight
from mesh_stream.kafka.registry import SchemaRegistry
from mesh_stream.local.stack import ephemeral
from mesh_stream.product.loader import load_mesh
from mesh_stream.runtime.pace import Pace
from mesh_stream.runtime.report import Committed
from mesh_stream.runtime.slot import run_slot
from mesh_stream.runtime.worker import Worker
from mesh_stream.settings import Settings
from tests.bench.arena import PARTITIONS, SILENCE_SECONDS, Arena, provision, read_back
from tests.bench.process import peak_bytes

TOPIC, PRODUCT = "raw.bench-hours", "bench-hours"
STALL_SECONDS = 1.0
"""How long the loop may stand still."""


class Closed(msgspec.Struct, frozen=True):
    """What closing took.

    Attributes:
        windows: How many were closed.
        seconds: From the first to the last.
        longest: Longest turn of the loop while they were, in seconds.
        folding: Longest turn before, in seconds.
        megabytes: Largest memory of the process.
    """

    windows: int
    seconds: float
    longest: float
    folding: float
    megabytes: float


def main() -> None:
    """Measure, and print what was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.closing", description=__doc__)
    parser.add_argument("--windows", type=int, default=1_000_000, help="that close at once")
    windows = parser.parse_args().windows
    with (
        tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder,
        ephemeral(Path(folder) / "stack") as stack,
    ):
        os.environ["MESH_STATE"] = str(Path(folder) / "state")
        arena = provision(stack)
        product = load_mesh(arena.settings.products).products[PRODUCT]
        with SchemaRegistry(arena.settings) as registry:
            arena = Arena(
                arena.settings, product, preflight(arena.settings, product, registry).schema_id
            )
        _fill(arena, windows)
        command = [sys.executable, "-m", "tests.bench.closing", "--work", str(windows)]
        done = subprocess.run(
            command, env=arena.environment, stdout=subprocess.PIPE, check=True, timeout=900
        )
        closed = msgspec.json.decode(done.stdout, type=Closed)
        written = read_back(arena, product.output.topic, dict.fromkeys(range(PARTITIONS), 0))
    if written.records != windows:
        raise SystemExit(f"the books do not balance: {written.records:,} facts of {windows:,}")
    print(
        f"{closed.windows:,} windows closed in {closed.seconds:.1f} s"
        f" ({closed.windows / closed.seconds:,.0f}/s), every fact there once;"
        f" {closed.megabytes:.0f} MB; longest turn while folding {closed.folding:.2f} s"
    )
    word = "reached" if closed.longest <= STALL_SECONDS else "MISSED "
    print(f"{word}  longest turn of the loop, s: {closed.longest:.2f} (at most {STALL_SECONDS})")


def _fill(arena: Arena, windows: int) -> None:
    producer = Producer(producer_settings(arena.settings, client_id="bench.fill"))
    for number in range(windows):
        sku = f"sku-{number:07d}"
        _produce(producer, sku, f'{{"sku":"{sku}","at":"2026-03-01T08:00:00Z"}}', -1)
    # One event of the next day on each partition: its key must be one that belongs there.
    producer.flush(SILENCE_SECONDS)
    for number in range(64):
        sku = f"tomorrow-{number}"
        _produce(producer, sku, f'{{"sku":"{sku}","at":"2026-03-02T08:00:00Z"}}', -1)
    if unsent := producer.flush(SILENCE_SECONDS):
        raise SystemExit(f"{unsent} events could not be written to {TOPIC}")


def _produce(producer: Producer, key: str, value: str, partition: int) -> None:
    while True:
        try:
            producer.produce(TOPIC, value, key, partition)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _work(windows: int) -> None:
    """Run the worker in this process until every window is closed; print what it took."""
    from prometheus_client import CollectorRegistry

    closed = 0
    began = ended = 0.0
    longest = {"folding": 0.0, "closing": 0.0}
    turn = Worker._turn

    def timed(self: Worker) -> None:
        phase = "closing" if closed else "folding"
        start = time.monotonic()
        turn(self)
        longest[phase] = max(longest[phase], time.monotonic() - start)

    class Counting(ProductMetrics):
        def committed(self, transaction: Committed) -> None:
            nonlocal closed, began, ended
            super().committed(transaction)
            if transaction.closed:
                ended = time.monotonic()
                began = began or ended
                closed += transaction.closed
            if closed >= windows:
                threading.Timer(0.2, os.kill, (os.getpid(), 15)).start()

    Worker._turn = timed  # type: ignore[method-assign]  # the loop as it is, with a clock beside it
    settings = Settings.load(os.environ)
    product = load_mesh(settings.products).products[PRODUCT]
    witness = Counting(product, CollectorRegistry())
    with SchemaRegistry(settings) as registry:
        run_slot(
            product, slot=0, settings=settings, registry=registry, witness=witness, pace=Pace()
        )
    result = Closed(
        closed,
        max(0.001, ended - began),
        longest["closing"],
        longest["folding"],
        peak_bytes(os.getpid()) / 1e6,
    )
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(int(sys.argv[2]))
    else:
        main()
