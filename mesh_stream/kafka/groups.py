"""Consumer groups seen from outside: how far a group has come, and who is in it."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from mesh_stream.kafka.client import Admin, code_of, kafka_error
from mesh_stream.kafka.topics import SECONDS

Partition = tuple[str, int]
"""(topic, partition)."""


def committed(admin: Admin, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The next offset that a group will read; a partition it never committed is left out.

    Raises:
        PlatformError: The broker did not answer, or refused; also where a transaction on the
            group's offsets stayed undecided all that time.
    """
    asked = [TopicPartition(*partition) for partition in partitions]
    if not asked:
        return {}
    answers = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, asked)], require_stable=True, request_timeout=SECONDS
    )
    try:
        found = answers[group].result(SECONDS + 1).topic_partitions or []
    except KafkaException as cause:
        if code_of(cause) == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise kafka_error(cause, f"read the offsets of group {group}") from cause
    for tp in found:
        if tp.error is not None:
            raise kafka_error(tp.error, f"read the offsets of group {group} in {tp.topic}")
    return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}


def members(admin: Admin, group: str) -> list[str]:
    """Who is in a group now: each member's client id and host, as `mesh.orders.0 on /127.0.0.1`.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    described = admin.describe_consumer_groups([group], request_timeout=SECONDS)
    try:
        found = described[group].result(SECONDS + 1)
    except KafkaException as cause:
        if code_of(cause) == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise kafka_error(cause, f"describe group {group}") from cause
    return sorted(f"{member.client_id} on {member.host}" for member in found.members)
