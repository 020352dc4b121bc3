"""What the broker says of topics and groups, asked with the administrative client."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

SECONDS = 15.0

Ends = dict[tuple[str, int], int]


def create_topic(admin: AdminClient, name: str, partitions: int, **settings: str) -> None:
    """Create a topic; dots of setting names are written as underscores."""
    config = {key.replace("_", "."): value for key, value in settings.items()}
    topic = NewTopic(name, partitions, 1, config=config)
    admin.create_topics([topic], operation_timeout=SECONDS)[name].result(SECONDS)


def partitions_of(admin: AdminClient, topic: str) -> int:
    return len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions)


def ends(admin: AdminClient, topics: Iterable[str], *, stable: bool) -> Ends:
    """(topic, partition) -> its end: where open transactions begin, or behind everything."""
    asked = {
        TopicPartition(topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]  # no stub
        for topic in topics
        for number in range(partitions_of(admin, topic))
    }
    level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
    found = admin.list_offsets(asked, isolation_level=level, request_timeout=SECONDS)
    return {(tp.topic, tp.partition): future.result().offset for tp, future in found.items()}


def committed(admin: AdminClient, group: str, topic: str) -> Ends:
    """(topic, partition) -> the group's committed offset, stable or not; 0 where there is none."""
    asked = [TopicPartition(topic, number) for number in range(partitions_of(admin, topic))]
    request = [ConsumerGroupTopicPartitions(group, asked)]
    answer = admin.list_consumer_group_offsets(request, request_timeout=SECONDS)[group]
    return {
        (tp.topic, tp.partition): max(0, tp.offset)
        for tp in answer.result(SECONDS).topic_partitions
    }
