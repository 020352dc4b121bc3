"""Partitions with states that move, and move, and move."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import tallying

pytestmark = pytest.mark.kafka

SECONDS = float(os.environ.get("MESH_TORTURE_SECONDS", "8"))
RATE = 1_000
STOPPED = (0, 3)
"""Whether the last transaction was committed; in a rebalance it may not be."""


@pytest.mark.parametrize(
    ("kind", "assignor"),
    [(Kind.WINDOWED, "cooperative-sticky"), (Kind.DIRECT, "range")],
)
def test_a_worker_that_comes_and_goes_takes_and_leaves_states_as_they_are(
    stack: Stack, tmp_path: Path, seed: int, kind: Kind, assignor: str
) -> None:
    how = {"partition.assignment.strategy": assignor}
    with tallying(stack, tmp_path, seed, kind, partitions=6) as torture:
        stays = [torture.slot(number, kafka=how) for number in range(2)]
        restless = torture.slot(2, kafka=how)
        for slot in stays:
            slot.start()
        torture.start(RATE)
        rounds, until = 0, time.monotonic() + SECONDS
        while time.monotonic() < until or rounds < 3:
            restless.start()
            eventually(restless.is_reading, within=60, what="the third with partitions")
            Event().wait(torture.random.random())
            restless.signal(signal.SIGTERM)
            assert restless.wait(15) in STOPPED, restless.said()[-2000:]
            assert time.monotonic() - torture.reader.newest < 60, "no progress"
            rounds += 1
        torture.settle(within=60)
        torture.verify()
        assert all(slot.alive() for slot in stays)
    sys.stdout.write(f"{rounds} rounds\n")
