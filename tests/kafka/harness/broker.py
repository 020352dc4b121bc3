"""What the broker says of topics and groups, asked until it answers: it may have been killed."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from tests.deadline import eventually

SECONDS = 10.0
PATIENCE_SECONDS = 30.0
LEAVE_GROUP = 13
"""The request's key in Kafka's protocol."""

Ends = dict[tuple[str, int], int]
Answer = TypeVar("Answer")


def client(servers: str) -> AdminClient:
    """An administrative client; quiet, for brokers are killed here on purpose."""
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})


def create_topic(admin: AdminClient, name: str, partitions: int, **settings: str) -> None:
    """Create a topic, and wait until it is known; dots of setting names are underscores here."""
    config = {key.replace("_", "."): value for key, value in settings.items()}
    topic = NewTopic(name, partitions, config=config)

    def create() -> None:
        try:
            admin.create_topics([topic], operation_timeout=SECONDS)[name].result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    _patiently(create)
    ends(admin, [name], stable=False)


def grow_topic(admin: AdminClient, name: str, partitions: int) -> None:
    """Give a topic more partitions, so many in all, and wait until the broker tells of them."""
    grown = admin.create_partitions([NewPartitions(name, partitions)], operation_timeout=SECONDS)
    grown[name].result(SECONDS)
    eventually(
        lambda: partitions_of(admin, name) == partitions,
        within=PATIENCE_SECONDS,
        what=f"{name} has {partitions} partitions",
    )


def delete_topic(admin: AdminClient, name: str) -> None:
    """Delete a topic, and wait until it is gone."""
    _patiently(lambda: admin.delete_topics([name])[name].result(SECONDS))
    eventually(
        lambda: name not in admin.list_topics(timeout=SECONDS).topics,
        within=PATIENCE_SECONDS,
        what=f"{name} is gone",
    )


def partitions_of(client: AdminClient | Consumer, topic: str) -> int:
    def ask() -> int:
        found = client.list_topics(topic, timeout=SECONDS).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return len(found.partitions)

    return _patiently(ask)


def ends(admin: AdminClient, topics: Iterable[str], *, stable: bool) -> Ends:
    """(topic, partition) -> its end: where open transactions begin, or behind everything."""
    asked = {
        TopicPartition(topic, number): OffsetSpec.latest()  # type: ignore[no-untyped-call]  # no stub
        for topic in topics
        for number in range(partitions_of(admin, topic))
    }
    level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED

    def ask() -> Ends:
        found = admin.list_offsets(asked, isolation_level=level, request_timeout=SECONDS)
        return {(tp.topic, tp.partition): future.result().offset for tp, future in found.items()}

    return _patiently(ask)


def committed(servers: str, group: str, topic: str) -> Ends:
    """(topic, partition) -> the group's committed offset, stable or not; 0 where there is none.

    Asked of a consumer that never joins: asked of the administrative client, a coordinator's error
    ends this process (librdkafka 2.16, SIGSEGV in `rd_kafka_cgrp_op`).
    """
    consumer = _asking(servers, group)
    asked = [TopicPartition(topic, number) for number in range(partitions_of(consumer, topic))]

    def ask() -> Ends:
        found = consumer.committed(asked, timeout=SECONDS)
        return {(tp.topic, tp.partition): max(0, tp.offset) for tp in found}

    return _patiently(ask)


@lru_cache(maxsize=1)
def _asking(servers: str, group: str) -> Consumer:
    """Who asks for a group's offsets: kept as long as the same are asked for again and again."""
    return Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "isolation.level": "read_uncommitted",
            "log_level": 0,
        }
    )


def members(admin: AdminClient, group: str) -> list[str]:
    """The ids of the group's members that have partitions."""

    def ask() -> list[str]:
        described = admin.describe_consumer_groups([group], request_timeout=SECONDS)[group]
        return [
            member.member_id
            for member in described.result(SECONDS).members
            if member.assignment.topic_partitions
        ]

    return _patiently(ask)


def expel(servers: str, group: str, member: str) -> None:
    """Have a member leave its group without knowing it; asked of the group's coordinator.

    `LeaveGroup`, version 0, says who leaves and not who says so (Kafka's protocol guide).
    """
    host, _, port = servers.partition(":")
    words = [word.encode() for word in ("tests", group, member)]
    client, *body = [struct.pack(">h", len(word)) + word for word in words]
    request = struct.pack(">hhi", LEAVE_GROUP, 0, 1) + client + b"".join(body)
    with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.recv(10, socket.MSG_WAITALL)
    # It may have gone by itself meanwhile.
    assert struct.unpack(">iih", answer)[2] in (0, KafkaError.UNKNOWN_MEMBER_ID)


def _patiently(ask: Callable[[], Answer]) -> Answer:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (KafkaException, TimeoutError):
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.05)
