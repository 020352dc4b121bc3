"""Consumer groups seen from outside: how far a group has come, and who is in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import ConsumerGroupDescription

from mesh_stream.kafka.client import Admin, code_of, kafka_error
from mesh_stream.kafka.topics import SECONDS

Partition = tuple[str, int]
"""(topic, partition)."""

STABLE_SECONDS = 20.0
"""Longer than a worker's transaction may stay undecided after the worker was killed."""
_AGAIN_SECONDS = 0.05
_UNDECIDED = frozenset(
    {
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
_Answer = TypeVar("_Answer")


def committed(
    admin: Admin, group: str, partitions: Iterable[Partition], *, within: float = STABLE_SECONDS
) -> dict[Partition, int]:
    """The next offset that a group will read; a partition it never committed is left out.

    Offsets that are in a transaction are waited for: whether they count is not decided.

    Args:
        admin: The broker's client.
        group: The group.
        partitions: Which to ask for.
        within: Seconds to wait for undecided transactions.

    Raises:
        PlatformError: The broker did not answer, or refused; or a transaction stayed undecided.
    """
    asked = [TopicPartition(*partition) for partition in partitions]
    if not asked:
        return {}
    try:
        found = _decided(lambda: _ask(admin, group, asked), within)
    except KafkaException as cause:
        if code_of(cause) == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise kafka_error(cause, f"read the offsets of group {group}") from cause
    return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}


def _decided(ask: Callable[[], _Answer], within: float) -> _Answer:
    """Ask until the group's coordinator can say; on a broker just started it is not elected yet."""
    deadline = time.monotonic() + within
    while True:
        try:
            return ask()
        except KafkaException as cause:
            if code_of(cause) not in _UNDECIDED or time.monotonic() > deadline:
                raise
            time.sleep(_AGAIN_SECONDS)


def _ask(admin: Admin, group: str, asked: list[TopicPartition]) -> list[TopicPartition]:
    answers = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, asked)], require_stable=True, request_timeout=SECONDS
    )
    found = answers[group].result(SECONDS + 1).topic_partitions or []
    for tp in found:
        if tp.error is not None:
            raise KafkaException(tp.error)
    return list(found)


def members(admin: Admin, group: str) -> list[str]:
    """Who is in a group now: each member's client id and host, as `mesh.orders.0 on /127.0.0.1`.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """

    def ask() -> ConsumerGroupDescription:
        described = admin.describe_consumer_groups([group], request_timeout=SECONDS)
        answer: ConsumerGroupDescription = described[group].result(SECONDS + 1)
        return answer

    try:
        found = _decided(ask, STABLE_SECONDS)
    except KafkaException as cause:
        if code_of(cause) == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise kafka_error(cause, f"describe group {group}") from cause
    return sorted(f"{member.client_id} on {member.host}" for member in found.members)
