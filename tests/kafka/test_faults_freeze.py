"""Workers frozen until their partitions are another's: zombies that must not commit."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.goods import Good
from tests.kafka.harness.scene import Scene, scene
from tests.kafka.harness.slot import SlotProcess

pytestmark = pytest.mark.kafka

# Longer than any freeze here.
FOREVER = {"busiest": 600.0, "calmest": 600.0}
# Enough for three batches: when a record of the third is at the gate, no commit has been started
# whose offsets would hold up the successor until the transaction times out.
UNHURRIED = {"busiest": 1.0, "calmest": 1.0}


def test_a_thawed_worker_that_commits_before_it_hears_of_its_loss_is_refused(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        frozen, successor = torture.slot(0, pace=UNHURRIED), torture.slot(1)
        _read_some(torture, frozen)
        torture.feed.send(*_some(torture), torture.feed.goods.next("gate"), *_some(torture))
        eventually(torture.sibling("at-the-gate").exists, within=20, what="a record at the gate")
        frozen.signal(signal.SIGSTOP)
        torture.sibling("open").touch()

        _take_over(torture, successor)
        frozen.signal(signal.SIGCONT)

        _expect_zombie(torture, frozen)


def test_a_thawed_worker_that_hears_of_its_loss_first_aborts(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        frozen, successor = torture.slot(0, pace=FOREVER), torture.slot(1)
        frozen.start()
        eventually(frozen.is_reading, within=30, what="the worker with partitions")
        torture.feed.send(*_some(torture))
        eventually(torture.hidden, within=20, what="an open transaction")
        frozen.signal(signal.SIGSTOP)

        _take_over(torture, successor)
        frozen.signal(signal.SIGCONT)

        _expect_zombie(torture, frozen)


def test_a_worker_frozen_beyond_its_transaction_is_fenced_and_goes_on(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        frozen = torture.slot(0, pace=FOREVER, kafka={"transaction.timeout.ms": 2_500})
        successor = torture.slot(1)
        frozen.start()
        eventually(frozen.is_reading, within=30, what="the worker with partitions")
        torture.feed.send(*_some(torture))
        eventually(torture.hidden, within=20, what="an open transaction")
        frozen.signal(signal.SIGSTOP)

        _take_over(torture, successor)
        eventually(lambda: torture.hidden() == 0, within=20, what="the transaction timed out")
        frozen.signal(signal.SIGCONT)
        successor.signal(signal.SIGTERM)
        assert successor.wait(15) == 0
        torture.feed.send(*_some(torture))

        eventually(torture.hidden, within=30, what="the thawed one at work again")
        frozen.signal(signal.SIGTERM)
        assert frozen.wait(15) == 0
        torture.settle(within=30)
        torture.verify()


def _some(torture: Scene) -> list[Good]:
    return [torture.feed.goods.next() for _ in range(300)]


def _read_some(torture: Scene, slot: SlotProcess) -> None:
    slot.start()
    torture.feed.send(*_some(torture))
    eventually(lambda: torture.lag() == 0, within=30, what="the first records committed")


def _take_over(torture: Scene, successor: SlotProcess) -> None:
    """Have another slot read all that the frozen one had, and more."""
    successor.start()
    torture.feed.send(*_some(torture))
    eventually(lambda: torture.lag() == 0, within=30, what="the successor committed everything")


def _expect_zombie(torture: Scene, thawed: SlotProcess) -> None:
    """The thawed one aborts, both go on, and every record is there once."""
    eventually(
        lambda: thawed.metric("mesh_transactions_total", outcome="zombie_aborted") == 1,
        within=20,
        what="the zombie's transaction aborted, and counted",
    )
    torture.feed.send(*_some(torture))
    thawed.signal(signal.SIGTERM)
    assert thawed.wait(15) == 0
    torture.settle(within=30)
    torture.verify()
