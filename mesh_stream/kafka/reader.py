"""Reads topics from outside any group: read-committed, from given offsets, committing nothing.

For whoever looks on: `tail`, the demo's books, a redrive's listing. A reader knows how far it has
come over what no reader sees, too (commit markers and aborted records), so that "all has been read"
can be told from "nothing came".
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.errors import BrokerError
from mesh_stream.kafka.client import consumer, kafka_error, reader_settings
from mesh_stream.kafka.groups import Partition
from mesh_stream.settings import Settings

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
"""For one question to the broker."""
PATIENCE_SECONDS = 30.0
"""A broker that restarts is back by then; a reader waits that long before it gives up."""
_BATCH = 1_000
# Silence is looked into after this long: of a topic that is deleted, nothing is ever heard again.
_IDLE_SECONDS = 10.0
_PROBE_SECONDS = 2.0

# An underscore marks librdkafka's own codes.
_FINAL = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001
)


class Reader:
    """A read-committed reader; `close` it, or use it as a context.

    Args:
        settings: Where the broker is.
        client_id: Names it in the broker's logs.

    Attributes:
        positions: Next offset of every partition that is being read.
    """

    def __init__(self, settings: Settings, *, client_id: str) -> None:
        self.positions: dict[Partition, int] = {}
        self._down_since: float | None = None
        self._next_probe = float("inf")
        config = reader_settings(settings, group=client_id, client_id=client_id) | {
            "enable.partition.eof": True,
            "error_cb": self._on_error,
        }
        self._consumer = consumer(settings, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def bounds(self, topics: Iterable[str]) -> dict[Partition, tuple[int, int]]:
        """For each partition of the topics: its first offset, and the one after its last.

        The end is the last *stable* offset: no transaction before it is undecided.

        Raises:
            PlatformError: A topic does not exist, or the broker did not answer, or refused.
        """
        found: dict[Partition, tuple[int, int]] = {}
        for topic in sorted(set(topics)):
            try:
                metadata = self._consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
                if metadata.error is not None:
                    raise kafka_error(metadata.error, f"read topic {topic}")
                for number in sorted(metadata.partitions):
                    low, high = self._consumer.get_watermark_offsets(
                        TopicPartition(topic, number), timeout=ANSWER_SECONDS
                    )
                    found[topic, number] = (low, high)
            except KafkaException as error:
                raise kafka_error(error, f"read topic {topic}") from error
        return found

    def start(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self.positions = dict(positions)
        self._next_probe = time.monotonic() + _IDLE_SECONDS
        self._consumer.assign([TopicPartition(*tp, offset) for tp, offset in positions.items()])

    def poll(self, timeout: float) -> list[Message]:
        """The records that are there, after at most `timeout` seconds; none if none came.

        Raises:
            PlatformError: A topic or an offset is gone, access is denied, or the broker has been
                unreachable for too long.
        """
        try:
            first = self._consumer.poll(timeout)
            batch = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
        except KafkaException as error:
            raise kafka_error(error, "read") from error
        records = []
        for message in batch:
            topic, number, offset = message.topic(), message.partition(), message.offset()
            event = message.error()
            if event is not None:
                self._heed(event, message)
                if event.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                    continue
            else:
                records.append(message)
                offset = (offset or 0) + 1
            assert topic is not None
            assert number is not None
            assert offset is not None
            self.positions[topic, number] = max(offset, self.positions[topic, number])
        if batch:
            self._down_since = None
            self._next_probe = time.monotonic() + _IDLE_SECONDS
        elif time.monotonic() >= self._next_probe:
            self._probe()
        return records

    def has_reached(self, ends: Mapping[Partition, int]) -> bool:
        """Whether everything before these offsets has been read."""
        return all(self.positions[partition] >= end for partition, end in ends.items())

    def _heed(self, error: KafkaError, message: Message) -> None:
        if error.fatal() or error.code() in _FINAL:
            place = f"{message.topic()}[{message.partition()}]"
            raise kafka_error(error, f"read {place}")
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            log.debug("%s: %s", message.topic(), error.str())

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._missed()

    def _missed(self) -> None:
        if self._down_since is None:
            log.warning("the broker cannot be reached; waiting for it")
            self._down_since = time.monotonic()
            self._next_probe = self._down_since

    def _probe(self) -> None:
        """Ask whether the broker, and what is read from it, is still there.

        The client tells when the broker is gone, not when it is back, and nothing of a topic that
        was deleted.
        """
        try:
            for topic in sorted({topic for topic, _ in self.positions}):
                found = self._consumer.list_topics(topic, timeout=_PROBE_SECONDS).topics[topic]
                if found.error is not None and found.error.code() in _FINAL:
                    raise kafka_error(found.error, f"read topic {topic}")
        except KafkaException as error:
            self._missed()
            assert self._down_since is not None
            if time.monotonic() - self._down_since > PATIENCE_SECONDS:
                raise BrokerError(
                    f"the broker could not be reached for {PATIENCE_SECONDS:.0f} s; is it running, "
                    f"and does MESH_BOOTSTRAP_SERVERS name it?"
                ) from error
            self._next_probe = time.monotonic() + _PROBE_SECONDS
        else:
            if self._down_since is not None:
                log.warning("the broker is back")
            self._down_since = None
            self._next_probe = time.monotonic() + _IDLE_SECONDS
