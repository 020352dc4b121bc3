from __future__ import annotations

import threading

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.groups import Offsets, committed, members
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique

pytestmark = pytest.mark.kafka

WITHIN = 15.0


@pytest.fixture
def topic(stack: Stack) -> str:
    name = f"raw.{unique('groups')}"
    topics.create(admin(settings_of(stack)), name, partitions=2, replicas=1, settings={})
    return name


def member(stack: Stack, group: str, **more: str) -> Consumer:
    return Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group, **more})


def test_a_group_that_never_was_has_committed_nothing(stack: Stack, topic: str) -> None:
    assert committed(settings_of(stack), unique("mesh"), [(topic, 0), (topic, 1)]) == {}
    assert committed(settings_of(stack), unique("mesh"), []) == {}


def test_only_partitions_that_were_committed_are_told(stack: Stack, topic: str) -> None:
    group = unique("mesh")
    consumer = member(stack, group)
    consumer.commit(offsets=[TopicPartition(topic, 1, 7)], asynchronous=False)
    consumer.close()
    assert committed(settings_of(stack), group, [(topic, 0), (topic, 1)]) == {(topic, 1): 7}


def test_an_offset_in_an_open_transaction_is_waited_for(stack: Stack, topic: str) -> None:
    group = unique("mesh")
    consumer = member(stack, group)
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": unique("writer")}
    )
    producer.init_transactions(WITHIN)
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(topic, 0, 5)], consumer.consumer_group_metadata(), WITHIN
    )
    found: list[dict[tuple[str, int], int]] = []
    with Offsets(settings_of(stack), group) as offsets:
        asking = threading.Thread(target=lambda: found.append(offsets.committed([(topic, 0)])))
        asking.start()
        asking.join(3.0)
        assert found == []
        producer.commit_transaction(WITHIN)
        asking.join(WITHIN)
    assert found == [{(topic, 0): 5}]
    consumer.close()


def test_whoever_is_in_a_group_is_named(stack: Stack, topic: str) -> None:
    group = unique("mesh")
    asking = admin(settings_of(stack))
    assert members(asking, group) == []
    consumer = member(stack, group, **{"client.id": "mesh.orders.0"})
    consumer.subscribe([topic])

    def joined() -> list[str]:
        consumer.poll(0.05)
        return members(asking, group)

    found = eventually(joined, within=WITHIN, what="the consumer is a member")
    assert found == ["mesh.orders.0 on /127.0.0.1"]
    consumer.close()
    eventually(lambda: members(asking, group) == [], within=WITHIN, what="it has left")
