from __future__ import annotations

import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from mesh_stream.errors import BrokerError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.positions import Positions
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique

pytestmark = pytest.mark.kafka

WITHIN = 15.0


@pytest.fixture
def topic(stack: Stack) -> str:
    name = f"raw.{unique('positions')}"
    topics.create(admin(settings_of(stack)), name, partitions=2, replicas=1, settings={})
    return name


def test_an_open_transaction_does_not_hold_the_asker_up(stack: Stack, topic: str) -> None:
    group = unique("mesh")
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group})
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": unique("writer")}
    )
    producer.init_transactions(WITHIN)

    def send(offset: int) -> None:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(
            [TopicPartition(topic, 0, offset)], consumer.consumer_group_metadata(), WITHIN
        )

    with Positions(settings_of(stack), group, client_id="test") as positions:
        places = [(topic, 0), (topic, 1)]
        assert positions.committed(places, within=WITHIN) == {}
        send(5)
        producer.commit_transaction(WITHIN)
        # The group hears of it a little after the producer does.
        eventually(lambda: positions.committed(places, within=WITHIN), within=WITHIN, what="5")
        send(7)
        began = time.monotonic()
        assert positions.committed(places, within=WITHIN) == {(topic, 0): 5}
        assert time.monotonic() - began < 2
        producer.commit_transaction(WITHIN)
        eventually(
            lambda: positions.committed(places, within=WITHIN) == {(topic, 0): 7},
            within=WITHIN,
            what="7",
        )
        assert positions.committed([], within=WITHIN) == {}
    consumer.close()


def test_whoever_asks_is_in_no_group_and_leaves_none_behind(stack: Stack, topic: str) -> None:
    group = unique("mesh")
    with Positions(settings_of(stack), group, client_id="test") as positions:
        positions.committed([(topic, 0)], within=WITHIN)
    groups = admin(settings_of(stack)).list_consumer_groups(request_timeout=WITHIN).result(WITHIN)
    assert group not in {found.group_id for found in groups.valid}


def test_a_broker_that_is_away_is_told_in_the_time_that_was_given() -> None:
    (port,) = choose([None])
    settings = Settings.load(
        {
            "MESH_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "MESH_REGISTRY_URL": "http://127.0.0.1:1/apis",
        }
    )
    with Positions(settings, "mesh.nobody", client_id="test") as positions:
        began = time.monotonic()
        with pytest.raises(BrokerError, match=r"read the offsets of group mesh\.nobody"):
            positions.committed([("raw", 0)], within=1.0)
        assert time.monotonic() - began < 5
