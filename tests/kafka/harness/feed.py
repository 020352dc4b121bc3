"""Puts records onto the raw topic, at a rate in a thread or one by one, and remembers them."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import KafkaError, Producer

from tests.kafka.harness.goods import Good, Goods

TICK_SECONDS = 0.02
PARTITION_BY_KEY = -1
NOW = 0


class Feed:
    """The only writer of a raw topic.

    Args:
        servers: The broker.
        topic: The raw topic.
        goods: What is sent.
    """

    def __init__(self, servers: str, topic: str, goods: Goods) -> None:
        self.topic = topic
        self.goods = goods
        self.sent: list[Good] = []
        self.places: dict[tuple[str, int, int], Good] = {}
        """(topic, partition, offset) -> what lies there."""
        self._failed: list[KafkaError] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "linger.ms": 10,
                "partitioner": "murmur2_random",
                "message.timeout.ms": 120_000,
                "log_level": 0,
            }
        )

    def send(self, *goods: Good, partition: int | None = None, timestamp: int = NOW) -> None:
        """Send these records now; returns once they are acknowledged.

        Args:
            goods: The records.
            partition: Where to; None: where their keys belong.
            timestamp: Of the records, in milliseconds; -1: they have none.
        """
        for good in goods:
            self._produce(good, partition, timestamp)
        self._flush()

    def look_again(self) -> None:
        """Hear of partitions that the topic has got."""
        self._producer.list_topics(self.topic, timeout=20)

    def start(self, rate: int) -> None:
        """Send `rate` records a second, open loop, until `stop`."""
        self._over.clear()
        self._thread = threading.Thread(target=self._run, args=(rate,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more; returns once all are acknowledged."""
        if self._thread is None:
            return
        self._over.set()
        self._thread.join(60)
        self._thread = None
        self._flush()

    def _run(self, rate: int) -> None:
        began, count = time.monotonic(), 0
        while not self._over.wait(TICK_SECONDS):
            due = int((time.monotonic() - began) * rate)
            for _ in range(due - count):
                self._produce(self.goods.next())
            count = due
            self._producer.poll(0)

    def _produce(self, good: Good, partition: int | None = None, timestamp: int = NOW) -> None:
        self.sent.append(good)

        def delivered(error: KafkaError | None, message: Any) -> None:
            if error is not None:
                self._failed.append(error)
            else:
                self.places[message.topic(), message.partition(), message.offset()] = good

        place = PARTITION_BY_KEY if partition is None else partition
        self._producer.produce(
            self.topic, good.value, good.key, place, on_delivery=delivered, timestamp=timestamp
        )

    def _flush(self) -> None:
        left = self._producer.flush(90)
        assert not left, f"{left} records were not acknowledged in 90 s"
        assert not self._failed, f"the feed itself failed: {self._failed[0]}"
