"""The few ways to take something from the broker, or to move a group: for `mesh-stream reset` only.

Each may be repeated: what is gone already counts as done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from mesh_stream.errors import BrokerError, MeshError
from mesh_stream.kafka.client import (
    Admin,
    code_of,
    kafka_error,
    producer_settings,
    reader_settings,
    settings_error,
)
from mesh_stream.kafka.groups import Partition, members, patiently
from mesh_stream.kafka.topics import SECONDS, describe
from mesh_stream.pipeline.entries import META, Meta
from mesh_stream.pipeline.watermark import Progress
from mesh_stream.product.product import Product
from mesh_stream.settings import Settings

_AGAIN_SECONDS = 0.05


def delete_topic(admin: Admin, name: str) -> None:
    """Deletes a topic, and waits until the broker no longer shows it.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    deleted = admin.delete_topics([name], operation_timeout=SECONDS, request_timeout=SECONDS)
    try:
        deleted[name].result(SECONDS + 10)
    except KafkaException as cause:
        if code_of(cause) != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise kafka_error(cause, f"delete topic {name}") from cause
    deadline = time.monotonic() + SECONDS
    while name in describe(admin, [name]):
        if time.monotonic() > deadline:
            raise BrokerError(f"topic {name} was deleted, but the broker still shows it")
        time.sleep(_AGAIN_SECONDS)


def forget_offsets(admin: Admin, group: str) -> None:
    """Deletes a group with all of its offsets at once; the broker refuses while it has members.

    Raises:
        MeshError: The group has members.
        PlatformError: The broker did not answer, or refused.
    """

    def ask() -> None:
        deleted = admin.delete_consumer_groups([group], request_timeout=SECONDS)
        try:
            deleted[group].result(SECONDS + 10)
        except KafkaException as cause:
            if code_of(cause) == KafkaError.NON_EMPTY_GROUP:
                raise _has_company(group) from cause
            raise

    patiently(ask, None, f"delete the offsets of group {group}")


def begin_at(
    settings: Settings,
    admin: Admin,
    product: Product,
    offsets: Mapping[Partition, int],
    metas: Mapping[int, Meta],
    notes: Mapping[Partition, str],
) -> None:
    """Commits a group's offsets and what the changelog says of them, in one transaction.

    Either both are there or neither is: a worker that finds one without the other refuses.

    Args:
        settings: Where the broker is.
        admin: The client.
        product: Whose group it is; without members.
        offsets: The next offset of each partition that is to be set.
        metas: Changelog partition -> how far its part of the state has come.
        notes: What is noted with the offsets.

    Raises:
        MeshError: The group has members.
        PlatformError: The broker did not answer, or refused.
    """
    name = f"{product.group}.reset"
    config = producer_settings(settings, client_id=name, transactional_id=name)
    outsider = reader_settings(settings, group=product.group, client_id=name)
    try:
        producer, consumer = Producer(config), Consumer(outsider)
    except KafkaException as cause:
        raise settings_error(settings, cause) from cause
    positions = [
        TopicPartition(*partition, offset, metadata=notes.get(partition, ""))
        for partition, offset in offsets.items()
    ]
    try:
        # Ends what a reset that was killed here may have left open.
        producer.init_transactions(SECONDS)
        producer.begin_transaction()
        for number, meta in metas.items():
            encoded = msgspec.msgpack.encode(meta)
            producer.produce(product.changelog_topic, encoded, META, number)
        producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), SECONDS)
        # No broker holds a commit from outside of the group against its members (KIP-447).
        if members(admin, product.group):
            producer.abort_transaction(SECONDS)
            raise _has_company(product.group)
        producer.commit_transaction(SECONDS)
    except KafkaException as cause:
        raise kafka_error(cause, f"set the offsets of group {product.group}") from cause
    finally:
        consumer.close()


def empty_at(offset: int, input_id: str) -> Meta:
    """Returns what a changelog partition says that remembers nothing, at an offset of its input."""
    return Meta(offset, input_id, Progress())


def _has_company(group: str) -> MeshError:
    return MeshError(
        f"a worker has joined group {group} meanwhile; stop it, then run the reset again: it "
        "finishes what was begun"
    )
