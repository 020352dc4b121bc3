"""How far groups have come, asked again and again by somebody who cannot wait.

Unlike `groups.Offsets`, an offset that is in a transaction does not hold the asker up: what was
committed before it is told. A worker that died may leave one open for a while, and that is when
whoever watches must not be blind.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Self

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from mesh_stream.kafka.client import code_of, consumer, kafka_error, onlooker_settings
from mesh_stream.kafka.groups import Partition
from mesh_stream.settings import Settings

_SHORTEST_SECONDS = 0.1
_AGAIN_SECONDS = 0.05
# A group's coordinator that has just begun, or moved: another answers within moments.
_MOVING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Positions:
    """How far one group has come; `close` it, or use it as a context.

    It never joins the group, and commits nothing.

    Args:
        settings: Where the broker is.
        group: The group.
        client_id: Names it in the broker's logs.
    """

    def __init__(self, settings: Settings, group: str, *, client_id: str) -> None:
        self._group = group
        config = onlooker_settings(settings, group=group, client_id=client_id) | {
            # With the other level, librdkafka asks for stable offsets only (KIP-447).
            "isolation.level": "read_uncommitted",
        }
        self._asker = consumer(settings, config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._asker.close()

    def committed(self, partitions: Iterable[Partition], *, within: float) -> dict[Partition, int]:
        """The next offset that the group will read; a partition it never committed is left out.

        Args:
            partitions: Which.
            within: Seconds to wait.

        Raises:
            PlatformError: The group's coordinator did not answer, or refused.
        """
        asked = [TopicPartition(*partition) for partition in partitions]
        # Nothing else takes away what the client library reports of its connections.
        self._asker.poll(0)
        deadline = time.monotonic() + within
        found: list[TopicPartition] = []
        while asked:
            try:
                left = max(_SHORTEST_SECONDS, deadline - time.monotonic())
                found = self._asker.committed(asked, timeout=left)
                for tp in found:
                    if tp.error is not None:
                        raise KafkaException(tp.error)
                break
            except KafkaException as cause:
                if code_of(cause) not in _MOVING or time.monotonic() > deadline:
                    raise kafka_error(cause, f"read the offsets of group {self._group}") from cause
            time.sleep(_AGAIN_SECONDS)
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}
