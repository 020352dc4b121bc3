"""The first contender: a bare transactional copy, what one Python process can reach at most.

Consume, produce, send offsets, commit every 100 ms; the records are not looked at.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from mesh_stream.kafka.client import producer_settings, reader_settings
from tests.bench.contender import (
    BATCH_RECORDS,
    BATCH_SECONDS,
    COMMIT_SECONDS,
    PATIENCE_SECONDS,
    Task,
    main,
)


def loop(task: Task) -> None:
    name = task.identity
    consumer = Consumer(reader_settings(task.settings, group=name, client_id=name))
    producer = Producer(producer_settings(task.settings, client_id=name, transactional_id=name))
    producer.init_transactions(PATIENCE_SECONDS)

    def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(
            [TopicPartition(tp.topic, tp.partition, 0) for tp in partitions]
        )

    consumer.subscribe([task.input], on_assign=assigned)
    produce, output = producer.produce, task.output
    consumed, began, group = 0, 0.0, None
    while consumed < task.records:
        batch = consumer.consume(BATCH_RECORDS, BATCH_SECONDS)
        if batch and group is None:
            producer.begin_transaction()
            began, group = time.monotonic(), consumer.consumer_group_metadata()
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
            produce(output, message.value(), message.key())
        producer.poll(0)
        consumed += len(batch)
        done = consumed >= task.records
        if group is not None and (done or time.monotonic() - began >= COMMIT_SECONDS):
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, group)
            producer.commit_transaction()
            group = None
    consumer.close()


if __name__ == "__main__":
    main(loop)
