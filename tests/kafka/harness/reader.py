"""An independent read-committed reader: a consumer's view of facts and dead letters."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from tests.kafka.harness import broker


class Read(NamedTuple):
    """One record as a consumer gets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def _read(message: Message) -> Read:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers: Any = message.headers() or ()
    return Read(topic, partition, offset, message.key(), message.value(), tuple(headers))


class Reader:
    """Reads topics from their beginning in a thread of its own, while others break things.

    Args:
        servers: The broker.
        topics: What is read.
    """

    def __init__(self, servers: str, topics: Iterable[str]) -> None:
        self.records: list[Read] = []
        self.newest = time.monotonic()
        """When the last record came (monotonic seconds)."""
        self._positions: dict[tuple[str, int], int] = {}
        self._over = threading.Event()
        admin = broker.client(servers)
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "an.independent.reader",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                # What comes is fetched at once all the same; only an end is told later.
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 1_000,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(topic, number, OFFSET_BEGINNING)
                for topic in topics
                for number in range(broker.partitions_of(admin, topic))
            ]
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def position(self, topic: str, partition: int) -> int:
        """The next offset that is read there."""
        return self._positions.get((topic, partition), 0)

    def stop(self) -> None:
        """Read no more."""
        self._over.set()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the reader did not end"

    def _run(self) -> None:
        while not self._over.is_set():
            for message in self._consumer.consume(1_000, 0.05):
                error = message.error()
                if error is None:
                    read = _read(message)
                    self.records.append(read)
                    self._positions[read.topic, read.partition] = read.offset + 1
                    self.newest = time.monotonic()
                elif error.code() == KafkaError._PARTITION_EOF:
                    topic, partition, offset = (
                        message.topic(),
                        message.partition(),
                        message.offset(),
                    )
                    assert topic is not None
                    assert partition is not None
                    assert offset is not None
                    self._positions[topic, partition] = offset
        self._consumer.close()
