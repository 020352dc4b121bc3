"""Brokers that go away and come back under load."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene

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
                room.restart(stack, broker)
        _progress(torture)
        torture.settle(within=90)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def _progress(torture: Scene) -> None:
    before = len(torture.reader.records)
    eventually(
        lambda: len(torture.reader.records) > before + RATE, within=90, what="a second of facts"
    )
