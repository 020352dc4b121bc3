from __future__ import annotations

import pytest
from confluent_kafka import Producer

from mesh_stream.errors import BrokerError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.extent import Layouts, begins, ends, layouts
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.kafka.declaring import settings_of, unique
from tests.kafka.harness import broker

pytestmark = pytest.mark.kafka

WITHIN = 15.0


def test_topics_are_seen_and_none_is_made(stack: Stack) -> None:
    client = admin(settings_of(stack))
    there, missing = f"raw.{unique('extent')}", f"raw.{unique('missing')}"
    topics.create(client, there, partitions=3, replicas=1, settings={})
    for _ in range(2):
        found = layouts(client, [there, missing], within=WITHIN)
        assert found.missing == {missing: f"topic {missing} does not exist"}
        assert found.partitions([there, missing]) == [(there, 0), (there, 1), (there, 2)]
    assert layouts(client, [], within=WITHIN) == Layouts()


def test_a_topic_that_is_made_anew_has_another_id(stack: Stack) -> None:
    client, name = admin(settings_of(stack)), f"raw.{unique('anew')}"
    topics.create(client, name, partitions=1, replicas=1, settings={})
    before = layouts(client, [name], within=WITHIN).found[name]
    broker.delete_topic(broker.client(stack.bootstrap_servers), name)
    topics.create(client, name, partitions=1, replicas=1, settings={})
    after = layouts(client, [name], within=WITHIN).found[name]
    assert before.partitions == after.partitions
    assert before.id != after.id


def test_a_partition_without_a_topic_says_nothing_about_the_others(stack: Stack) -> None:
    client, name = admin(settings_of(stack)), f"raw.{unique('extent')}"
    topics.create(client, name, partitions=2, replicas=1, settings={})
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    producer.produce(name, b"1", partition=1)
    assert producer.flush(WITHIN) == 0
    asked = [(name, 0), (name, 1), (f"{name}-none", 0)]
    assert ends(client, asked, within=WITHIN) == {(name, 0): 0, (name, 1): 1}
    assert begins(client, asked, within=WITHIN) == {(name, 0): 0, (name, 1): 0}
    assert ends(client, [], within=WITHIN) == {}


def test_a_broker_that_is_away_is_told() -> None:
    (port,) = choose([None])
    settings = Settings.load(
        {
            "MESH_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "MESH_REGISTRY_URL": "http://127.0.0.1:1/apis",
        }
    )
    client = admin(settings, on_error=lambda _error: None)
    with pytest.raises(BrokerError):
        layouts(client, ["raw"], within=1.0)
    with pytest.raises(BrokerError):
        ends(client, [("raw", 0)], within=1.0)
