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

RATE = 1_000
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
        kills = 0
        while kills < KILLS or (kills < 3 * KILLS and not _has_cost(torture, kind)):
            _kill_one(torture)
            kills += 1
        torture.settle(within=60)
        published = torture.verify()
    sys.stdout.write(f"{kills} kills, {len(published)} published\n")

    assert _has_cost(torture, kind), "no kill cost a worker anything: nothing was proven"


def _has_cost(torture: TallyScene, kind: Kind) -> bool:
    """Whether a kill hit a transaction, or what was in a worker's memory.

    Who sends events on has a transaction open nearly always, and a restart that finds one says so.
    A fold alone writes at its commits only, so that few kills hit one; but what was in a killed
    worker's memory then has to be read back.
    """
    said = "".join(slot.log.read_text() for slot in torture.slots)
    hit, read_back = "concurrent operation" in said, re.search(r"restored, [1-9]\d* rec", said)
    return hit or (kind is Kind.DIRECT and read_back is not None)


def _kill_one(torture: TallyScene) -> None:
    """Kill a working slot at a random moment, and start it again."""

    def working() -> list[SlotProcess]:
        # One that has committed nothing yet has nothing to lose.
        return [slot for slot in torture.slots if slot.metric("mesh_records_consumed_total")]

    victim = torture.random.choice(eventually(working, within=60, what="a slot at work"))
    Event().wait(torture.random.choice(DELAYS) * torture.random.random())
    victim.kill()
    victim.start()
