"""Workers killed at any moment: kill -9, again and again, under load."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from mesh_stream.local.extra import require
from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

psutil = require("psutil")
pytestmark = pytest.mark.kafka

RATE = 2_000
KILLS = 20
# From the middle of a batch to several commits.
DELAYS = (0.0, 0.02, 0.1, 0.5)


def test_twenty_kills_at_random_moments_lose_and_double_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        for number in range(3):
            torture.slot(number).start()
        torture.feed.start(RATE)
        for _ in range(KILLS):
            _kill_one(torture)
        torture.settle(within=60)
        torture.verify()

    # Otherwise nothing was proven: a restart that finds a transaction open says so.
    found = sum(slot.log.read_text().count("concurrent operation") for slot in torture.slots)
    assert found > 0, "no kill hit an open transaction"


def test_a_restart_of_the_slot_ends_at_once_what_a_kill_left_open(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slot = torture.slot(0, pace={"busiest": 600.0, "calmest": 600.0})
        slot.start()
        eventually(slot.is_reading, within=30, what="the worker with partitions")
        torture.feed.send(*(torture.feed.goods.next() for _ in range(300)))
        eventually(torture.hidden, within=20, what="an open transaction")
        slot.kill()
        assert torture.hidden() > 0

        slot.start()
        eventually(slot.is_up, within=30, what="the restarted process")
        eventually(lambda: torture.hidden() == 0, within=2, what="readers see all there is")

        eventually(torture.hidden, within=30, what="the restarted worker reading again")
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0
        torture.settle(within=30)
        torture.verify()


def _kill_one(torture: Scene) -> None:
    """Kill a working slot at a random moment, and start it again."""

    def working() -> list[SlotProcess]:
        return [slot for slot in torture.slots if slot.is_reading()]

    victim = torture.random.choice(eventually(working, within=30, what="a slot with partitions"))
    Event().wait(torture.random.choice(DELAYS) * torture.random.random())
    victim.kill()
    victim.start()


def test_supervised_workers_are_restarted_and_outlive_nobody(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture, _supervised(torture, slots=2) as supervisor:
        torture.feed.start(RATE)
        eventually(lambda: len(torture.reader.records) > RATE, within=60, what="facts flowing")
        victim, spared = supervisor.children()
        victim.kill()
        eventually(
            lambda: {*supervisor.children()} > {spared} and victim not in supervisor.children(),
            within=30,
            what="another worker in the place of the killed one",
        )
        torture.settle(within=60)
        workers = supervisor.children()
        supervisor.kill()
        # They hear that nobody is left to look after them.
        _, alive = psutil.wait_procs(workers, timeout=15)
        assert not alive
        torture.verify()


@contextmanager
def _supervised(torture: Scene, *, slots: int) -> Iterator[Any]:
    """`mesh-stream run` of the product."""
    slot = torture.slot(0)
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
        for each in (*process.children(), process):
            each.kill()
        process.wait()
