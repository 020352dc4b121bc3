"""Brokers that go away while states are committed, restored, or windows closed."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import tallying

pytestmark = pytest.mark.kafka

ACCOUNTS = 8_000


def test_windows_that_close_while_the_broker_is_killed_are_published_once(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, accounts=ACCOUNTS) as torture:
        slots = [torture.working(number) for number in range(2)]
        torture.send(ACCOUNTS, "good")
        eventually(lambda: torture.lag() == 0, within=90, what="all events in their windows")
        # Closing windows moves no offset: only what is noted beside it tells what was done.
        torture.close_windows()
        eventually(lambda: torture.facts(), within=60, what="the first windows closed")
        Event().wait(torture.random.random() / 4)
        _restart_broker(torture.stack)
        torture.settle(within=90)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def test_a_worker_that_restores_waits_for_its_broker(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, accounts=ACCOUNTS) as torture:
        slot = torture.working()
        torture.send(ACCOUNTS, "good")
        eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
        slot.kill()
        shutil.rmtree(torture.state)
        slot = torture.working()
        _restart_broker(torture.stack)
        torture.send(1_000)
        torture.settle(within=90)
        torture.verify()
        assert slot.alive()


def _restart_broker(stack: Stack) -> None:
    broker = stack.brokers[0].name
    try:
        room.kill(stack, broker)
    finally:
        room.restart(stack, broker)
