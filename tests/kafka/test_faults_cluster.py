"""Three brokers, any of which is killed or stopped under load: leaders and coordinators move.

Minutes long, and a gigabyte: run with `MESH_TORTURE_SECONDS`, as `test_faults_torture`.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local import stack as room
from tests.deadline import eventually
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

SECONDS = float(os.environ.get("MESH_TORTURE_SECONDS", "0"))
RATE = 1_000


@pytest.mark.skipif(not SECONDS, reason="minutes long; set MESH_TORTURE_SECONDS to run it")
def test_whatever_happens_to_brokers_every_record_counts_once(tmp_path: Path, seed: int) -> None:
    with (
        room.ephemeral(tmp_path / "stack", brokers=3) as stack,
        scene(stack, tmp_path, seed) as torture,
    ):
        slots = [torture.slot(number) for number in range(2)]
        for slot in slots:
            slot.start()
        torture.feed.start(RATE)
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            victim = torture.random.choice(stack.brokers).name
            how = torture.random.choice((signal.SIGKILL, signal.SIGTERM))
            try:
                room.kill(stack, victim, how)
                Event().wait(torture.random.random() * 5)
            finally:
                room.restart(stack, victim)
            _progress(torture)
        torture.settle(within=120)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def _progress(torture: Scene) -> None:
    before = len(torture.reader.records)
    eventually(
        lambda: len(torture.reader.records) > before + RATE, within=120, what="a second of facts"
    )
