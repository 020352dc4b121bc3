from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from mesh_stream.errors import MeshError
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import Admin, admin
from mesh_stream.kafka.groups import committed, members
from mesh_stream.kafka.resetting import begin_at, delete_topic, empty_at, forget_offsets
from mesh_stream.local.stack import Stack
from mesh_stream.pipeline.entries import META, Meta
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages
from tests.kafka.stocked import Stocked, stocked

pytestmark = pytest.mark.kafka

WITHIN = 15.0


@pytest.fixture
def client(stack: Stack) -> Admin:
    return admin(settings_of(stack))


@pytest.fixture
def product(stack: Stack, tmp_path: Path) -> Stocked:
    made = stocked(stack, tmp_path, keyed=True)
    made.provision()
    return made


@pytest.fixture
def member(product: Stocked, client: Admin) -> Iterator[Consumer]:
    """Somebody in the product's group, who reads another topic."""
    group = product.product.group
    consumer = Consumer({"bootstrap.servers": product.stack.bootstrap_servers, "group.id": group})
    consumer.subscribe([product.product.output.topic])

    def joined() -> list[str]:
        consumer.poll(0.05)
        return members(client, group)

    eventually(joined, within=WITHIN, what="the consumer is a member")
    yield consumer
    consumer.close()


def noted(product: Stocked) -> dict[int | None, Meta]:
    found = {}
    for message in messages(product.stack, product.product.changelog_topic):
        assert message.key() == META
        found[message.partition()] = msgspec.msgpack.decode(message.value() or b"", type=Meta)
    return found


def test_a_topic_that_was_deleted_can_be_made_again_at_once(client: Admin) -> None:
    name = unique("deleted")
    topics.create(client, name, partitions=2, replicas=1, settings={})
    before = topics.describe(client, [name])[name].id
    delete_topic(client, name)
    assert topics.describe(client, [name]) == {}
    topics.create(client, name, partitions=3, replicas=1, settings={})
    found = topics.describe(client, [name])[name]
    assert (found.partitions, found.id != before) == (3, True)


def test_what_is_gone_already_counts_as_done(client: Admin) -> None:
    delete_topic(client, unique("never-was"))
    forget_offsets(client, unique("never-was"))


def test_every_offset_of_a_group_is_forgotten(product: Stocked, client: Admin) -> None:
    group = product.product.group
    places = [(product.raw, 0), (product.raw, 1)]
    consumer = Consumer({"bootstrap.servers": product.stack.bootstrap_servers, "group.id": group})
    offsets = [TopicPartition(*place, 0) for place in places]
    consumer.commit(offsets=offsets, asynchronous=False)
    consumer.close()
    assert len(committed(product.settings, group, places)) == 2
    forget_offsets(client, group)
    assert committed(product.settings, group, places) == {}


def test_positions_and_what_the_changelog_says_of_them_come_together(
    product: Stocked, client: Admin
) -> None:
    begin_at(
        product.settings,
        client,
        product.product,
        {(product.raw, 0): 5, (product.raw, 1): 7},
        {0: empty_at(5, "id"), 1: empty_at(7, "id")},
        {},
    )
    assert product.positions() == {(product.raw, 0): 5, (product.raw, 1): 7}
    assert {at: (meta.offset, meta.input_id) for at, meta in noted(product).items()} == {
        0: (5, "id"),
        1: (7, "id"),
    }


@pytest.mark.usefixtures("member")
def test_nothing_is_forgotten_or_begun_while_somebody_is_in_the_group(
    product: Stocked, client: Admin
) -> None:
    group = product.product.group
    with pytest.raises(MeshError, match=f"a worker has joined group {group} meanwhile"):
        forget_offsets(client, group)
    with pytest.raises(MeshError, match=f"a worker has joined group {group} meanwhile"):
        begin_at(
            product.settings,
            client,
            product.product,
            {(product.raw, 0): 5},
            {0: empty_at(5, "id")},
            {},
        )
    assert noted(product) == {}
    assert product.positions() == {}


def test_a_beginning_that_was_killed_half_way_is_not_seen_and_is_in_nobodys_way(
    product: Stocked, client: Admin
) -> None:
    name = f"{product.product.group}.reset"
    killed = Producer(
        {"bootstrap.servers": product.stack.bootstrap_servers, "transactional.id": name}
    )
    killed.init_transactions(WITHIN)
    killed.begin_transaction()
    killed.produce(
        product.product.changelog_topic, msgspec.msgpack.encode(empty_at(9, "id")), META, 0
    )
    killed.flush(WITHIN)

    begin_at(
        product.settings, client, product.product, {(product.raw, 0): 5}, {0: empty_at(5, "id")}, {}
    )

    assert {at: meta.offset for at, meta in noted(product).items()} == {0: 5}
