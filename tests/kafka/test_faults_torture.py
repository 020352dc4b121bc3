"""Everything at once: workers killed, frozen, stopped and expelled at random, under load.

`MESH_TORTURE_SECONDS=1800` makes it a night's work; `MESH_TORTURE_SEED` repeats a schedule.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

SECONDS = float(os.environ.get("MESH_TORTURE_SECONDS", "12"))
RATE = 2_000
# Longer than a session, so that some of those who thaw are zombies.
LONGEST_FREEZE_SECONDS = 3.0
STOPPED = (0, 3)
"""Whether the last transaction was committed; in a rebalance it may not be."""


def test_whatever_happens_to_workers_every_record_counts_once(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        for number in range(3):
            torture.slot(number).start()
        torture.feed.start(RATE)
        suffered: Counter[str] = Counter()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            suffer = torture.random.choice((_kill, _freeze, _stop, _expel))
            suffer(torture, torture.random.choice(torture.slots))
            suffered[suffer.__name__] += 1
            Event().wait(torture.random.random())
            assert time.monotonic() - torture.reader.newest < 60, "no progress"
        torture.settle(within=90)
        published = torture.verify()
        assert all(slot.alive() for slot in torture.slots)
    sys.stdout.write(f"{len(torture.feed.sent)} records, {len(published)} out, {suffered}\n")


def _kill(_torture: Scene, slot: SlotProcess) -> None:
    slot.kill()
    slot.start()


def _freeze(torture: Scene, slot: SlotProcess) -> None:
    slot.signal(signal.SIGSTOP)
    Event().wait(torture.random.random() * LONGEST_FREEZE_SECONDS)
    slot.signal(signal.SIGCONT)


def _stop(_torture: Scene, slot: SlotProcess) -> None:
    eventually(slot.is_reading, within=60, what="a worker with partitions")
    slot.signal(signal.SIGTERM)
    assert slot.wait(15) in STOPPED
    slot.start()


def _expel(torture: Scene, _slot: SlotProcess) -> None:
    members = broker.members(torture.admin, torture.product.group)
    if members:
        broker.expel(
            torture.stack.bootstrap_servers,
            torture.product.group,
            torture.random.choice(members),
        )
