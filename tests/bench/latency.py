"""From an order's sending to its fact's arrival at a read-committed consumer, at a fixed rate.

The same worker, settings and pace as for the throughput. Sender, worker and reader are processes of
their own; the fact's key carries the moment its order was due to be sent.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, TopicPartition

from mesh_stream.kafka.client import reader_settings
from tests.bench import worker_run
from tests.bench.arena import SILENCE_SECONDS, Arena, ends
from tests.bench.orders import TOPIC
from tests.bench.sender import Schedule, Sent

WARM_UP_SECONDS = 10.0
"""Facts of the first seconds do not count: group, caches and connections are new, and a broker that
was started a minute ago is still compiling itself, on one of two processors."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from send to read-committed arrival, and what that took.

    Attributes:
        rate: Orders per second.
        facts: How many were measured.
        p50: Half of them arrived within this.
        p99: Of a hundred, one took longer.
        most: The longest.
        hop_p99: The same for the order itself, on the input topic: the share of sender, broker and
            machine, before any worker.
        sender_late: How late the sender was at worst: the machine's own share.
        worker_cpu: The worker's share of one processor.
    """

    rate: int
    facts: int
    p50: float
    p99: float
    most: float
    hop_p99: float
    sender_late: float
    worker_cpu: float


def measure(arena: Arena, *, rate: int, seconds: float) -> Latency:
    """Send at a rate for so long, and read what comes out."""
    output = arena.product.output.topic
    consumer = Consumer(
        reader_settings(arena.settings, group="bench.latency", client_id="bench.latency")
    )
    with worker_run.running(arena) as worker:
        worker_run.await_end_of_input(arena, worker)
        consumer.assign(
            [
                TopicPartition(topic, number, at)
                for topic in (TOPIC, output)
                for number, at in ends(arena, topic).items()
            ]
        )
        used, began = worker.cost().cpu_seconds, time.monotonic()
        schedule = Schedule(
            bootstrap_servers=arena.settings.bootstrap_servers,
            rate=rate,
            seconds=seconds + WARM_UP_SECONDS,
        )
        told = msgspec.json.encode(schedule).decode()
        command = [sys.executable, "-m", "tests.bench.sender", told]
        sender = subprocess.Popen(command, stdout=subprocess.PIPE)
        hops, took, sent = _read(consumer, sender)
        cpu = (worker.cost().cpu_seconds - used) / (time.monotonic() - began)
    consumer.close()
    warm = WARM_UP_SECONDS * rate / sent.records
    measured = sorted(took[int(warm * len(took)) :])
    return Latency(
        rate=rate,
        facts=len(measured),
        p50=_quantile(measured, 0.5),
        p99=_quantile(measured, 0.99),
        most=measured[-1],
        hop_p99=_quantile(sorted(hops[int(warm * len(hops)) :]), 0.99),
        sender_late=sent.latest_seconds * 1000,
        worker_cpu=cpu,
    )


def _read(
    consumer: Consumer, sender: subprocess.Popen[bytes]
) -> tuple[list[float], list[float], Sent]:
    """Read until every fact of what was sent has arrived; milliseconds, as they came.

    Returns:
        Of the orders on their own topic, of the facts, and what was sent.
    """
    hops: list[float] = []
    took: list[float] = []
    sent: Sent | None = None
    deadline = time.monotonic() + SILENCE_SECONDS
    while sent is None or len(took) < sent.facts:
        # One by one: a batch would wait for its last record.
        message = consumer.poll(0.1)
        now = time.time_ns()
        if message is not None:
            if message.error() is not None:
                raise SystemExit(f"reading facts: {message.error()}")
            key = message.key()
            assert key is not None
            arrived = hops if message.topic() == TOPIC else took
            arrived.append((now - int(key.removeprefix(b"ord_"))) / 1e6)
            deadline = time.monotonic() + SILENCE_SECONDS
        elif time.monotonic() > deadline:
            raise SystemExit(f"{len(took):,} facts arrived, then none for {SILENCE_SECONDS:.0f} s")
        elif sent is None and sender.poll() is not None:
            if sender.returncode:
                raise SystemExit(f"the sender ended with code {sender.returncode}")
            assert sender.stdout is not None
            sent = msgspec.json.decode(sender.stdout.read(), type=Sent)
    return hops, took, sent


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
