"""An independent look at a topic: nothing of ours but its name."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from mesh_stream.local.stack import Stack
from tests.kafka.declaring import unique


def messages(stack: Stack, topic: str) -> Iterator[Message]:
    """Every committed record that is on a topic now, partition by partition in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap_servers,
            "group.id": unique("reader"),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        open_ends = set(partitions)
        while open_ends:
            message = consumer.poll(10)
            assert message is not None, f"{topic}: nothing for 10 s, and not at its end"
            error = message.error()
            if error is None:
                yield message
                continue
            assert error.code() == KafkaError._PARTITION_EOF, error
            number = message.partition()
            assert number is not None
            open_ends.discard(number)
    finally:
        consumer.close()
