"""The fold by hand, as fast as these libraries and pure Python allow: states in a dict.

It does the job exactly once, emitting every change: typed decode, state, rules, the Avro bytes and
the changelog record written out in the loop, offsets in the transaction. What it lacks: states that
outlive it, or outgrow memory; a restart; everything else that the worker is.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
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

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moved(msgspec.Struct, frozen=True, gc=False):
    sku: str
    qty: int
    at: datetime


class Stock(msgspec.Struct, frozen=True, gc=False):
    on_hand: int
    moves: int
    moved_at: datetime


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
    produce, output, changelog = producer.produce, task.output, task.dead_letters
    decode = msgspec.json.Decoder(Moved).decode
    encode = msgspec.msgpack.Encoder().encode
    states: dict[str, Stock] = {}
    varint = _varint
    frame = b"\x00" + task.schema_id.to_bytes(4, "big")
    consumed, began, group = 0, 0.0, None
    while consumed < task.records:
        batch = consumer.consume(BATCH_RECORDS, BATCH_SECONDS)
        if batch and group is None:
            producer.begin_transaction()
            began, group = time.monotonic(), consumer.consumer_group_metadata()
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
            event = decode(message.value())  # type: ignore[arg-type]  # the input has none
            sku = event.sku
            before = states.get(sku)
            if before is None:
                state = Stock(event.qty, 1, event.at)
            else:
                state = Stock(before.on_hand + event.qty, before.moves + 1, event.at)
            if not -1_000_000_000 <= state.on_hand <= 1_000_000_000:
                raise ValueError("breaks a rule")
            states[sku] = state
            key = sku.encode()
            since = event.at - EPOCH
            moment = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
            value = b"".join(
                (
                    frame,
                    varint(len(key)),
                    key,
                    varint(state.on_hand),
                    varint(state.moves),
                    varint(moment),
                )
            )
            produce(output, value, key)
            produce(changelog, encode(state), key, message.partition() or 0)
        producer.poll(0)
        consumed += len(batch)
        done = consumed >= task.records
        if group is not None and (done or time.monotonic() - began >= COMMIT_SECONDS):
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, group)
            producer.commit_transaction()
            group = None
    consumer.close()


def _varint(number: int) -> bytes:
    """A number as Avro writes it: zig-zag, seven bits a byte."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    if rest < 0x80:
        return BYTES[rest]
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


BYTES = [bytes([number]) for number in range(0x80)]


if __name__ == "__main__":
    main(loop)
