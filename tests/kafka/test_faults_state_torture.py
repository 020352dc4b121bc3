"""Everything at once, to workers that remember and key their events by themselves.

`MESH_TORTURE_SECONDS=1800` makes it a night's work; `MESH_TORTURE_SEED` repeats a schedule.
"""

from __future__ import annotations

import os
import shutil
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
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

SECONDS = float(os.environ.get("MESH_TORTURE_SECONDS", "12"))
KIND = Kind(os.environ.get("MESH_TORTURE_KIND", "repartitioned"))
RATE = 2_000
# Longer than a session, so that some of those who thaw are zombies.
LONGEST_FREEZE_SECONDS = 3.0
STOPPED = (0, 3)
"""Whether the last transaction was committed; in a rebalance it may not be."""


def test_whatever_happens_to_workers_every_event_counts_once(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, KIND) as torture:
        for number in range(3):
            torture.slot(number).start()
        torture.start(RATE)
        suffered: Counter[str] = Counter()
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            suffer = torture.random.choice((_kill, _freeze, _stop, _expel, _forget))
            suffer(torture, torture.random.choice(torture.slots))
            suffered[suffer.__name__] += 1
            Event().wait(torture.random.random())
            assert time.monotonic() - torture.reader.newest < 60, "no progress"
        torture.settle(within=90)
        published = torture.verify()
        assert all(slot.alive() for slot in torture.slots)
    fed = sum(len(feed.sent) for feed in torture.feeds)
    sys.stdout.write(f"{fed} events, {len(published)} out, {suffered}\n")


def _kill(_torture: TallyScene, slot: SlotProcess) -> None:
    slot.kill()
    slot.start()


def _freeze(torture: TallyScene, slot: SlotProcess) -> None:
    slot.signal(signal.SIGSTOP)
    Event().wait(torture.random.random() * LONGEST_FREEZE_SECONDS)
    slot.signal(signal.SIGCONT)


def _stop(_torture: TallyScene, slot: SlotProcess) -> None:
    eventually(slot.is_reading, within=60, what="a worker with partitions")
    slot.signal(signal.SIGTERM)
    assert slot.wait(15) in STOPPED, slot.said()[-3000:]
    slot.start()


def _expel(torture: TallyScene, _slot: SlotProcess) -> None:
    members = broker.members(torture.admin, torture.product.group)
    if members:
        broker.expel(
            torture.stack.bootstrap_servers,
            torture.product.group,
            torture.random.choice(members),
        )


def _forget(torture: TallyScene, slot: SlotProcess) -> None:
    """Killed, and started where nothing of it is."""
    slot.kill()
    for folder in (torture.state / torture.product.name).glob(f"*/{slot.number}"):
        shutil.rmtree(folder)
    slot.start()
