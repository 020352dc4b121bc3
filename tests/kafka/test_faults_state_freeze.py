"""Workers that remember and stand still for too long: they must not commit, and forget nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import Kind
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

UNHURRIED = {"busiest": 0.5, "calmest": 0.5}
# Longer than any freeze here.
FOREVER = {"busiest": 600.0, "calmest": 600.0}


def test_a_thawed_worker_that_commits_before_it_hears_of_its_loss_is_refused(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT) as torture:
        frozen, successor = torture.working(0), torture.slot(1)
        torture.send(300)
        eventually(lambda: torture.lag() == 0, within=60, what="the first records committed")
        torture.feed.send(torture.feed.goods.next("gate"))
        eventually(torture.sibling("at-the-gate").exists, within=20, what="a record at the gate")
        frozen.signal(signal.SIGSTOP)
        torture.sibling("open").touch()

        _take_over(torture, successor)
        frozen.signal(signal.SIGCONT)

        _expect_zombie(torture, frozen)


def test_a_thawed_worker_that_hears_of_its_loss_first_aborts(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT) as torture:
        frozen, successor = torture.working(0, pace=FOREVER), torture.slot(1)
        torture.send(300)
        # Dead letters are produced at once, states and facts when they are committed.
        torture.send(1, "malformed")
        eventually(torture.hidden, within=30, what="an open transaction")
        frozen.signal(signal.SIGSTOP)

        _take_over(torture, successor)
        frozen.signal(signal.SIGCONT)

        _expect_zombie(torture, frozen)


def test_a_batch_that_outlasts_its_transaction_or_the_groups_patience_is_read_again(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=1) as torture:
        goods = torture.feed.goods
        torture.sibling("seconds").write_text("0.3")
        # The first record opens a transaction. What is there besides is one batch, of which the
        # slow ones take three seconds, and meets it open: it is not committed before half a second.
        torture.send(80)
        torture.feed.send(*(goods.next("slow") for _ in range(10)))
        slot = torture.working(0, kafka={"transaction.timeout.ms": 1_500}, pace=UNHURRIED)
        eventually(lambda: torture.lag() == 0, within=90, what="the slow ones committed")
        assert slot.said().count("smaller batches follow") >= 1
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0

        slot = torture.working(0, kafka={"max.poll.interval.ms": 1_500})
        torture.send(200)
        torture.feed.send(goods.next("gate"))
        eventually(torture.sibling("at-the-gate").exists, within=20, what="a record at the gate")
        eventually(
            lambda: not broker.members(torture.admin, torture.product.group),
            within=30,
            what="the group without the worker",
        )
        torture.sibling("open").touch()
        torture.send(100)
        torture.settle(within=60)
        torture.verify()
        assert slot.alive()


def _take_over(torture: TallyScene, successor: SlotProcess) -> None:
    """Have another slot read all that the frozen one had, and more."""
    successor.start()
    torture.send(300)
    eventually(lambda: torture.lag() == 0, within=60, what="the successor committed everything")


def _expect_zombie(torture: TallyScene, thawed: SlotProcess) -> None:
    """The thawed one aborts, both go on, and every event is counted once."""
    eventually(
        lambda: thawed.metric("mesh_transactions_total", outcome="zombie_aborted") == 1,
        within=20,
        what="the zombie's transaction aborted, and counted",
    )
    torture.send(300)
    eventually(
        lambda: len(broker.members(torture.admin, torture.product.group)) == 2,
        within=30,
        what="both with partitions",
    )
    thawed.signal(signal.SIGTERM)
    assert thawed.wait(15) == 0
    torture.settle(within=60)
    torture.verify()
