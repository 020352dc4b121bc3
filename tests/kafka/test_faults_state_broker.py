"""Brokers that go away while windows are closed."""

from __future__ import annotations

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


def _restart_broker(stack: Stack) -> None:
    broker = stack.brokers[0].name
    try:
        room.kill(stack, broker)
    finally:
        room.restart(stack, broker)
