"""Workers told to stop: whatever they are at, in ten seconds, and 0 only if all is committed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

STOP_SECONDS = 10.0
FOREVER = {"busiest": 600.0, "calmest": 600.0}


def test_an_idle_worker_stops_at_once(stack: Stack, tmp_path: Path, seed: int) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slot = _working(torture)

        assert _stop(slot) == 0
        torture.settle(within=20)
        torture.verify()


def test_a_worker_in_the_middle_of_a_batch_commits_it(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slot = _working(torture, pace=FOREVER)
        _send(torture, 500)
        eventually(torture.hidden, within=20, what="an open transaction")

        assert _stop(slot) == 0
        # What it had not fetched yet is the next one's.
        _finish(torture)


def test_a_worker_stuck_in_a_batch_is_gone_in_time_and_says_that_it_committed_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slot = _working(torture)
        torture.feed.send(torture.feed.goods.next("gate"))
        eventually(torture.sibling("at-the-gate").exists, within=20, what="a record at the gate")

        assert _stop(slot) != 0
        torture.sibling("open").touch()
        _finish(torture)


def test_a_second_signal_ends_a_worker_that_is_stuck_at_once(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slot = _working(torture)
        torture.feed.send(torture.feed.goods.next("gate"))
        eventually(torture.sibling("at-the-gate").exists, within=20, what="a record at the gate")
        slot.signal(signal.SIGTERM)
        slot.signal(signal.SIGINT)

        # Two that come at once are delivered in any order.
        assert slot.wait(2) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        torture.sibling("open").touch()
        _finish(torture)


def test_a_worker_that_waits_for_stable_offsets_stops(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture, _undecided_offsets(torture):
        slot = torture.slot(0)
        slot.start()
        eventually(slot.is_reading, within=30, what="the worker asking for its offsets")

        assert _stop(slot) == 0


def test_workers_whose_broker_is_down_stop_and_say_that_they_have_not_committed(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with (
        scene(stack, tmp_path / "patient", seed) as first,
        scene(stack, tmp_path / "impatient", seed) as second,
    ):
        # Both started before either has a transaction: it is aborted where it is open for too long.
        patient, impatient = (_working(each, pace=FOREVER) for each in (first, second))
        for each in (first, second):
            _send(each, 300)
        for each in (first, second):
            eventually(each.hidden, within=20, what="an open transaction")
        with _broker_down(stack):
            impatient.signal(signal.SIGTERM)
            eventually(lambda: _is_stopping(impatient), within=8, what="the worker's last commit")
            # Heard although the client library has the main thread.
            impatient.signal(signal.SIGTERM)
            assert impatient.wait(1) == 128 + signal.SIGTERM

            assert _stop(patient) != 0
        for torture in (first, second):
            _finish(torture)


def _is_stopping(slot: SlotProcess) -> bool:
    return slot.metric("mesh_worker_state", state="stopping") == 1


def _working(torture: Scene, *, pace: Mapping[str, float] | None = None) -> SlotProcess:
    """A worker with partitions."""
    slot = torture.slot(0, pace=pace)
    slot.start()
    eventually(slot.is_reading, within=30, what="the worker with partitions")
    return slot


def _send(torture: Scene, count: int) -> None:
    torture.feed.send(*(torture.feed.goods.next() for _ in range(count)))


def _stop(slot: SlotProcess) -> int:
    """Ask it to stop; its exit code."""
    began = time.monotonic()
    slot.signal(signal.SIGTERM)
    code = slot.wait(STOP_SECONDS + 5)
    assert time.monotonic() - began <= STOP_SECONDS
    return code


def _finish(torture: Scene) -> None:
    """Another worker reads what is left; nothing is lost or doubled."""
    torture.slot(0).start()
    torture.settle(within=40)
    torture.verify()


@contextmanager
def _broker_down(stack: Stack) -> Iterator[None]:
    broker = stack.brokers[0].name
    room.kill(stack, broker)
    try:
        yield
    finally:
        room.restart(stack, broker)


@contextmanager
def _undecided_offsets(torture: Scene) -> Iterator[None]:
    """An open transaction that has sent offsets for the product's group."""
    servers = torture.stack.bootstrap_servers
    member = Consumer({"bootstrap.servers": servers, "group.id": torture.product.group})
    producer = Producer({"bootstrap.servers": servers, "transactional.id": torture.product.name})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(torture.raw, 0, 0)], member.consumer_group_metadata(), 20
    )
    try:
        yield
    finally:
        producer.abort_transaction(20)
        member.close()
