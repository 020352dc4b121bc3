"""Positions in the input: over what no reader sees, and where records are gone."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

NOT_PROVISIONED = 2


def test_lag_reaches_zero_over_aborted_records_at_the_end(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed, partitions=1) as torture:
        slot = torture.slot(0)
        slot.start()
        _send(torture, 10)
        _send_and_abort(torture, 5)

        eventually(lambda: torture.lag() == 0, within=60, what="an outside observer's lag")
        _send(torture, 10)
        _send_and_abort(torture, 5)
        eventually(lambda: torture.lag() == 0, within=60, what="the same again")
        eventually(
            lambda: slot.metric("mesh_consumer_lag_records") == 0, within=10, what="its own lag"
        )
        torture.settle(within=30)
        torture.verify()
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0


def test_a_position_that_retention_passed_is_refused_with_the_gap(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed, partitions=1) as torture:
        slot = torture.slot(0)
        slot.start()
        _send(torture, 20)
        eventually(lambda: torture.lag() == 0, within=60, what="the first records committed")
        slot.kill()
        _send(torture, 30)
        _forget_until(torture, 45)
        slot.start()

        assert slot.wait(60) == NOT_PROVISIONED
        assert f"{torture.raw}[0] holds offsets 45 to 50, but the group's next is 20" in slot.said()
        assert "retention removed 25 records before they were read" in slot.said()
        assert torture.lag() == 30


def _send(torture: Scene, count: int) -> None:
    torture.feed.send(*(torture.feed.goods.next("good") for _ in range(count)))


def _send_and_abort(torture: Scene, count: int) -> None:
    """Records that no read-committed reader ever sees, from another source of the raw topic."""
    servers = torture.stack.bootstrap_servers
    producer = Producer({"bootstrap.servers": servers, "transactional.id": torture.raw})
    producer.init_transactions(30)
    producer.begin_transaction()
    for _ in range(count):
        producer.produce(torture.raw, b"aborted", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)


def _forget_until(torture: Scene, offset: int) -> None:
    asked = [TopicPartition(torture.raw, 0, offset)]
    for future in torture.admin.delete_records(asked).values():
        future.result(20)
