"""Brokers that go away and come back under load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

RATE = 1_000


def test_workers_outlast_a_broker_that_goes_and_comes_back(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    broker = stack.brokers[0].name
    with scene(stack, tmp_path, seed) as torture:
        slots = [torture.slot(number) for number in range(2)]
        for slot in slots:
            slot.start()
        torture.feed.start(RATE)
        for how in (signal.SIGKILL, signal.SIGTERM):
            _progress(torture)
            try:
                room.kill(stack, broker, how)
            finally:
                back = room.restart(stack, broker)
            assert back == room.running(stack.data)
            assert back.bootstrap_servers == stack.bootstrap_servers
        _progress(torture)
        torture.settle(within=90)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def test_a_worker_that_was_idle_while_its_broker_was_away_commits_what_comes_next(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    broker = stack.brokers[0].name
    with scene(stack, tmp_path, seed) as torture:
        slot = torture.slot(0)
        slot.start()
        torture.feed.send(*(torture.feed.goods.next() for _ in range(100)))
        torture.settle(within=60)
        try:
            room.kill(stack, broker)
            eventually(lambda: _is_lost(slot), within=20, what="a worker that has lost its group")
        finally:
            room.restart(stack, broker)
        eventually(lambda: not _is_lost(slot), within=60, what="the worker in its group again")

        torture.feed.send(*(torture.feed.goods.next() for _ in range(100)))
        torture.settle(within=60)
        torture.verify()
        assert "producer lost" not in slot.said()


def _is_lost(slot: SlotProcess) -> bool:
    said = slot.said()
    return said.rfind(": lost ") > said.rfind(": assigned ")


def _progress(torture: Scene) -> None:
    before = len(torture.reader.records)
    eventually(
        lambda: len(torture.reader.records) > before + RATE, within=90, what="a second of facts"
    )
