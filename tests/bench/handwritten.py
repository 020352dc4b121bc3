"""The second contender: the job by hand, as fast as these libraries and pure Python allow.

One function, no abstractions: the schema, the rules and the Avro bytes are written out in the loop.
It does the whole job, exactly once: typed decode, exact decimal, four rules, dead letters with a
reason, offsets in the transaction. What it lacks is everything else that the worker is: another
product needs another loop.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from decimal import Decimal

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


class Item(msgspec.Struct, frozen=True, gc=False):
    sku: str
    qty: int
    unit_price: Decimal


class Order(msgspec.Struct, frozen=True, gc=False):
    order_id: str
    status: str
    currency: str
    occurred_at: datetime
    items: tuple[Item, ...]
    customer_id: str | None = None


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
    decode = msgspec.json.Decoder(Order).decode
    matches = re.compile(r"ord_[a-z0-9]+").match
    epoch, zero, most = EPOCH, Decimal(0), Decimal(1_000_000)
    byte, size, low, end = BYTE, SIZE, LOW, END
    frame = (b"\x00" + task.schema_id.to_bytes(4, "big")).decode("latin-1")
    consumed, began, group = 0, 0.0, None
    while consumed < task.records:
        batch = consumer.consume(BATCH_RECORDS, BATCH_SECONDS)
        if batch and group is None:
            producer.begin_transaction()
            began, group = time.monotonic(), consumer.consumer_group_metadata()
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
            try:
                order = decode(message.value())  # type: ignore[arg-type]  # None: as it is, refused
                if order.status != "completed":
                    continue
                items = order.items
                total = zero
                for item in items:
                    total += item.qty * item.unit_price
                order_id, customer = order.order_id, order.customer_id
                if (
                    order_id is None
                    or customer is None
                    or not zero <= total <= most
                    or not matches(order_id)
                ):
                    raise ValueError("breaks a rule")
                # Avro, as text of one character a byte: joining text takes no call.
                if not order_id.isascii():
                    order_id = order_id.encode().decode("latin-1")
                if not customer.isascii():
                    customer = customer.encode().decode("latin-1")
                currency = order.currency
                if not currency.isascii():
                    currency = currency.encode().decode("latin-1")
                whole, parts = total.as_integer_ratio()
                if parts != 100:
                    whole, rest = divmod(whole * 100, parts)
                    if rest:
                        raise ValueError("has a fraction of a cent")
                if 0x8000 <= whole <= 0x7FFFFF:
                    amount = f"\x06{byte[whole >> 16]}{byte[whole >> 8 & 255]}{byte[whole & 255]}"
                else:
                    width = (whole.bit_length() + 8) >> 3
                    amount = size[width] + whole.to_bytes(width, "big").decode("latin-1")
                since = order.occurred_at - epoch
                moment = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
                value = (
                    f"{frame}{size[len(order_id)]}{order_id}{size[len(customer)]}{customer}"
                    f"{amount}{size[len(items)]}{size[len(currency)]}{currency}"
                    f"{low[moment << 1 & 16383]}{low[moment >> 13 & 16383]}{end[moment >> 27]}"
                ).encode("latin-1")
                produce(output, value, order_id.encode("latin-1"))
            except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
                headers: list[tuple[str, str | bytes | None]] = [
                    ("__dlq.errors.topic", str(message.topic())),
                    ("__dlq.errors.partition", str(message.partition())),
                    ("__dlq.errors.offset", str(message.offset())),
                    ("__dlq.errors.message", str(error)),
                ]
                produce(task.dead_letters, message.value(), message.key(), headers=headers)
        producer.poll(0)
        consumed += len(batch)
        done = consumed >= task.records
        if group is not None and (done or time.monotonic() - began >= COMMIT_SECONDS):
            offsets = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(offsets, group)
            producer.commit_transaction()
            group = None
    consumer.close()


def _size(number: int) -> str:
    """A length or a small count as Avro writes it: zig-zag, seven bits a byte."""
    rest, text = number << 1, ""
    while rest > 0x7F:
        rest, text = rest >> 7, text + chr(rest & 0x7F | 0x80)
    return text + chr(rest)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BYTE = [chr(number) for number in range(256)]
SIZE = [_size(number) for number in range(1 << 16)]
# A timestamp in fourteen bits at a time: twice with the continuation bits set, and the rest.
LOW = [chr(number & 0x7F | 0x80) + chr(number >> 7 | 0x80) for number in range(1 << 14)]
END = [
    chr(number) if number < 0x80 else chr(number & 0x7F | 0x80) + chr(number >> 7)
    for number in range(1 << 14)
]


if __name__ == "__main__":
    main(loop)
