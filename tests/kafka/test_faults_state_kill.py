"""Workers that remember, killed at any moment: kill -9, again and again, under load."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

RATE = 2_000
KILLS = 20
# From the middle of a batch to several commits.
DELAYS = (0.0, 0.02, 0.1, 0.5)


@pytest.mark.parametrize("kind", [Kind.DIRECT, Kind.WINDOWED])
def test_twenty_kills_at_random_moments_lose_and_double_no_event(
    stack: Stack, tmp_path: Path, seed: int, kind: Kind
) -> None:
    with tallying(stack, tmp_path, seed, kind) as torture:
        for number in range(3):
            torture.slot(number).start()
        torture.start(RATE)
        for _ in range(KILLS):
            _kill_one(torture)
        torture.settle(within=60)
        published = torture.verify()
    sys.stdout.write(f"{len(published)} published\n")

    # Otherwise nothing was proven. Who sends events on has a transaction open nearly always, and a
    # restart that finds one says so. A fold alone writes at its commits only, so that few kills hit
    # one; but what was in a killed worker's memory then has to be read back.
    said = "".join(slot.log.read_text() for slot in torture.slots)
    hit, read_back = "concurrent operation" in said, re.search(r"restored, [1-9]\d* rec", said)
    assert hit or (kind is Kind.DIRECT and read_back), "no kill cost a worker anything"


def _kill_one(torture: TallyScene) -> None:
    """Kill a working slot at a random moment, and start it again."""

    def working() -> list[SlotProcess]:
        return [slot for slot in torture.slots if slot.is_remembering()]

    victim = torture.random.choice(eventually(working, within=60, what="a slot at work"))
    Event().wait(torture.random.choice(DELAYS) * torture.random.random())
    victim.kill()
    victim.start()
