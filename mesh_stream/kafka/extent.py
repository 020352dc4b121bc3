"""How far topics reach, seen from outside: their partitions, and the offsets at both ends.

For whoever looks at many topics every second: one question for all of them, each bounded by the
asker's own patience. One topic that is missing or denied says nothing about the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec

from mesh_stream.errors import AccessDeniedError, PlatformError
from mesh_stream.kafka.client import Admin, code_of, kafka_error
from mesh_stream.kafka.groups import Partition

# A future that the client library itself forgot.
_LATE_SECONDS = 1.0

_MOVING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
"""Errors of one partition that say nothing about the others."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One topic's partitions.

    Attributes:
        partitions: How many.
        id: The broker's own for the topic: one that is made again under its name has another.
    """

    partitions: int
    id: str


@dataclass(frozen=True, slots=True)
class Layouts:
    """Topics as they are.

    Attributes:
        found: Name -> layout.
        missing: Name -> why there is none to be seen.
    """

    found: Mapping[str, Layout] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """Every partition of those of the topics that were found."""
        return [
            (topic, number)
            for topic in topics
            if topic in self.found
            for number in range(self.found[topic].partitions)
        ]


def layouts(admin: Admin, topics: Iterable[str], *, within: float) -> Layouts:
    """Look topics up, in a way that cannot create them.

    Args:
        admin: The client.
        topics: Their names.
        within: Seconds to wait.

    Raises:
        PlatformError: The broker did not answer.
    """
    found: dict[str, Layout] = {}
    missing: dict[str, str] = {}
    asked = sorted(set(topics))
    if not asked:
        return Layouts()
    described = admin.describe_topics(TopicCollection(asked), request_timeout=within)
    for name, future in described.items():
        try:
            topic = future.result(within + _LATE_SECONDS)
        except KafkaException as cause:
            if code_of(cause) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                missing[name] = f"topic {name} does not exist"
                continue
            fault = kafka_error(cause, f"describe topic {name}")
            if not isinstance(fault, AccessDeniedError):
                raise fault from cause
            missing[name] = str(fault)
        else:
            found[name] = Layout(len(topic.partitions), str(topic.topic_id))
    return Layouts(found, missing)


def ends(admin: Admin, partitions: Iterable[Partition], *, within: float) -> dict[Partition, int]:
    """The offset after the last record of each partition that no open transaction hides.

    A partition without a leader is left out.

    Raises:
        PlatformError: The broker did not answer.
    """
    return _offsets(admin, partitions, OffsetSpec.latest(), within)  # type: ignore[no-untyped-call]  # no stub


def begins(admin: Admin, partitions: Iterable[Partition], *, within: float) -> dict[Partition, int]:
    """The offset of the first record that each partition still has; otherwise as `ends`."""
    return _offsets(admin, partitions, OffsetSpec.earliest(), within)  # type: ignore[no-untyped-call]  # no stub


def _offsets(
    admin: Admin, partitions: Iterable[Partition], which: Any, within: float
) -> dict[Partition, int]:
    asked = {TopicPartition(*partition): which for partition in partitions}
    if not asked:
        return {}
    answers: dict[TopicPartition, Future[Any]] = admin.list_offsets(
        asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=within
    )
    found: dict[Partition, int] = {}
    for tp, future in answers.items():
        try:
            found[tp.topic, tp.partition] = future.result(within + _LATE_SECONDS).offset
        except KafkaException as cause:
            if code_of(cause) not in _MOVING:
                raise kafka_error(cause, f"read the offsets of {tp.topic}") from cause
        except TimeoutError as cause:
            raise PlatformError(f"cannot read the offsets of {tp.topic}: no answer") from cause
    return found
