"""What a product remembers does not fit what it has read: refused, never begun anew by accident."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from mesh_stream.kafka import topics
from mesh_stream.local.extra import require
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.scene import provision
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import TallyScene, tallying

psutil = require("psutil")
pytestmark = pytest.mark.kafka

REFUSED = 2


def test_a_product_keyed_as_its_input_refuses_whatever_does_not_fit(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        _run(torture)
        torture.settle(within=30)
        torture.verify()
        positions = _positions(torture, torture.raw)
        changelog = torture.changelog

        with _committed(torture, {(torture.raw, 0): 3}):
            said = _refusal(torture)
            assert (
                f"{positions[torture.raw, 0].offset}, but the group's committed offset, 3" in said
            )
            assert "was set by hand" in said
        # Nobody but the product itself knows what to note beside it.
        with _committed(torture, {(torture.raw, 0): positions[torture.raw, 0].offset}):
            assert "was set by hand" in _refusal(torture)
        with _without_offsets(torture):
            assert "but the group has no offset" in _refusal(torture)
        # All is as it was: so it goes on.
        _run(torture)

        # No broker truncates what is only compacted.
        _alter(torture, changelog, "compact,delete")
        _delete_records(torture, changelog, 0, 2)
        _alter(torture, changelog, "compact")
        assert f"changelog {changelog}[0]: its first 2 records are gone" in _refusal(torture)

        broker.delete_topic(torture.admin, changelog)
        assert f"topic {changelog}, which the product's state needs, does not" in _refusal(torture)
        provision(stack, torture.products, torture.product, torture.admin)
        said = _refusal(torture)
        assert f"changelog {changelog}[" in said
        assert "it is empty, but the group has committed offset" in said

        torture.send(40)
        done = _positions(torture, torture.raw)[torture.raw, 1].offset
        _delete_records(torture, torture.raw, 1, done + 5)
        assert "retention removed 5 records before they were read" in _refusal(torture)

        broker.grow_topic(torture.admin, torture.raw, 3)
        said = _refusal(torture)
        assert f"{torture.raw} has 3 partitions, but its states are kept in 2 ({changelog})" in said


def test_a_product_that_keys_its_events_refuses_whatever_does_not_fit(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.REPARTITIONED, partitions=2) as torture:
        _run(torture)
        other = torture.feeds[1].topic

        with _committed(torture, {(other, 1): 0}):
            said = _refusal(torture)
            assert f"the group's offset of {other}[1], 0, was set by hand" in said
        with _without_offsets(torture):
            assert "the group has no offsets, but" in _refusal(torture)
        _run(torture)
        torture.settle(within=30)
        torture.verify()

        broker.delete_topic(torture.admin, torture.fold_topic)
        provision(stack, torture.products, torture.product, torture.admin)
        _refusal(torture)

        width = broker.partitions_of(torture.admin, torture.fold_topic) + 1
        broker.grow_topic(torture.admin, torture.fold_topic, width)
        assert f"{torture.fold_topic} has {width} partitions, but" in _refusal(torture)


def test_partitions_that_an_input_gets_meanwhile_stop_a_product_keyed_as_it_and_its_supervisor(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        with _supervised(torture, slots=2) as supervisor:
            torture.send(100)
            eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
            broker.grow_topic(torture.admin, torture.raw, 3)
            torture.feed.look_again()
            torture.feed.send(torture.feed.goods.next("good"), partition=2)
            assert supervisor.wait(60) == REFUSED
        said = torture.slots[0].said()
        assert f"{torture.raw} has got partitions since its states were made" in said
        assert f"mesh-stream reset {torture.product.name}" in said
        done = broker.committed(stack.bootstrap_servers, torture.product.group, torture.raw)
        assert done[torture.raw, 2] == 0


def _run(torture: TallyScene) -> None:
    """Have a worker take some events, and stop it."""
    slot = torture.working()
    torture.send(100)
    eventually(lambda: torture.lag() == 0, within=60, what="all input committed")
    slot.signal(signal.SIGTERM)
    assert slot.wait(15) == 0, slot.said()
    eventually(lambda: torture.hidden() == 0, within=60, what="no transaction left open")


def _refusal(torture: TallyScene) -> str:
    """What a worker says that refuses; nothing is published meanwhile."""
    before = broker.ends(torture.admin, torture.published, stable=False)
    slot = torture.slot(0)
    slot.start()
    assert slot.wait(60) == REFUSED, slot.said()
    said = slot.said()
    assert f"mesh-stream reset {torture.product.name}" in said or "is not provisioned" in said
    assert "Traceback" not in said
    assert broker.ends(torture.admin, torture.published, stable=False) == before
    return said


def _positions(torture: TallyScene, *topics: str) -> dict[tuple[str, int], TopicPartition]:
    """The group's offsets, with what is noted beside them."""
    with _member(torture) as consumer:
        asked = [
            TopicPartition(topic, number)
            for topic in topics
            for number in range(broker.partitions_of(torture.admin, topic))
        ]
        return {(tp.topic, tp.partition): tp for tp in consumer.committed(asked, timeout=20)}


@contextmanager
def _committed(torture: TallyScene, offsets: Mapping[tuple[str, int], int]) -> Iterator[None]:
    """The group's offsets set by hand, and put back afterwards."""
    before = _positions(torture, *{topic for topic, _ in offsets})
    _commit(torture, [TopicPartition(*place, offset) for place, offset in offsets.items()])
    yield
    _commit(torture, [before[place] for place in offsets])


@contextmanager
def _without_offsets(torture: TallyScene) -> Iterator[None]:
    """The group forgotten, and put back afterwards."""
    before = _positions(torture, *torture.read)
    group = torture.product.group
    _without_members(torture)
    torture.admin.delete_consumer_groups([group])[group].result(20)
    yield
    _commit(torture, [tp for tp in before.values() if tp.offset >= 0])


def _commit(torture: TallyScene, positions: list[TopicPartition]) -> None:
    _without_members(torture)
    with _member(torture) as consumer:
        consumer.commit(offsets=positions, asynchronous=False)


def _without_members(torture: TallyScene) -> None:
    eventually(
        lambda: not broker.members(torture.admin, torture.product.group),
        within=20,
        what="the group without members",
    )


@contextmanager
def _member(torture: TallyScene) -> Iterator[Consumer]:
    servers = torture.stack.bootstrap_servers
    consumer = Consumer({"bootstrap.servers": servers, "group.id": torture.product.group})
    try:
        yield consumer
    finally:
        consumer.close()


def _delete_records(torture: TallyScene, topic: str, partition: int, offset: int) -> None:
    for future in torture.admin.delete_records([TopicPartition(topic, partition, offset)]).values():
        future.result(20)


def _alter(torture: TallyScene, topic: str, policy: str) -> None:
    topics.alter(torture.admin, topic, {"cleanup.policy": policy})


@contextmanager
def _supervised(torture: TallyScene, *, slots: int) -> Iterator[Any]:
    """`mesh-stream run` of the product, whose clients hear of new partitions at once."""
    slot = torture.slot(0, kafka={"topic.metadata.refresh.interval.ms": 500})
    command = ["run", torture.product.name, "--slots", str(slots), "--metrics-port", "0"]
    with slot.log.open("ab") as log:
        process = psutil.Popen(
            [sys.executable, "-m", "mesh_stream.cli", *command],
            env=slot.environment,
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        yield process
    finally:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            for each in (*process.children(), process):
                each.kill()
        process.wait()
