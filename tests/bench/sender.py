"""Orders at a fixed rate, open loop, each with the moment it was due in its id.

The schedule does not wait for anybody: a record that is sent late was due before, and the time it
waited counts.
"""

from __future__ import annotations

import sys
import time

import msgspec
from confluent_kafka import Producer

from mesh_stream.kafka.client import producer_settings
from mesh_stream.settings import Settings
from tests.bench.contender import NO_REGISTRY
from tests.bench.orders import TOPIC, Orders

TICK_SECONDS = 0.001


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: so many records a second, for so many seconds."""

    bootstrap_servers: str
    rate: int
    seconds: float


class Sent(msgspec.Struct, frozen=True):
    """What was sent: records, how many of them become facts, and how late the latest one was."""

    records: int
    facts: int
    latest_seconds: float


def send(schedule: Schedule) -> Sent:
    settings = Settings.load(
        {}, bootstrap_servers=schedule.bootstrap_servers, registry_url=NO_REGISTRY
    )
    producer = Producer(producer_settings(settings, client_id="bench.sender"))
    producer.list_topics(TOPIC, timeout=10)
    orders = Orders(seed=11)
    count = int(schedule.rate * schedule.seconds)
    interval = 1_000_000_000 // schedule.rate
    start = time.time_ns() + 100_000_000
    sent = latest = 0
    while sent < count:
        now = time.time_ns()
        while sent < count and (due := start + sent * interval) <= now:
            order_id = f"ord_{due}"
            producer.produce(TOPIC, orders.one(order_id), order_id)
            latest = max(latest, now - due)
            sent += 1
        producer.poll(0)
        time.sleep(TICK_SECONDS)
    producer.flush(30)
    return Sent(sent, orders.books.facts, latest / 1e9)


if __name__ == "__main__":
    result = send(msgspec.json.decode(sys.argv[1], type=Schedule))
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
