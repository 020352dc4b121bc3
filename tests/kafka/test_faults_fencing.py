"""Producers fenced: by a second process of the same slot, and by the coordinator's own clock."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.scene import scene

pytestmark = pytest.mark.kafka

FENCED = 5
UNHURRIED = {"busiest": 0.5, "calmest": 0.5}


def test_of_two_processes_with_one_slot_number_one_gives_way_and_the_other_goes_on(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        older, younger = torture.slot(0), torture.slot(0)
        older.start()
        eventually(older.is_reading, within=60, what="the older process with partitions")
        torture.feed.start(500)
        younger.start()
        eventually(
            lambda: not (older.alive() and younger.alive()),
            within=60,
            what="one of the two gave way",
        )
        gone, stayed = (older, younger) if younger.alive() else (younger, older)
        assert gone.wait(1) == FENCED
        assert "another process runs the same slot" in gone.said()

        torture.settle(within=60)
        torture.verify()
        assert stayed.alive()
        # Each made one new producer at most before it was settled who goes.
        lost = [slot.said().count("producer lost, making another") for slot in (older, younger)]
        assert max(lost) <= 2
        assert stayed.said().count("producer lost, making another") <= 1

        stayed.signal(signal.SIGTERM)
        assert stayed.wait(15) == 0


def test_a_batch_that_outlasts_its_transaction_is_read_again_in_smaller_ones(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed, partitions=1) as torture:
        goods = torture.feed.goods
        torture.sibling("seconds").write_text("0.5")
        # The first record opens a transaction. What is there besides is one batch, of which the
        # slow ones take five seconds, and meets it open: it is not committed before half a second.
        torture.feed.send(*(goods.next("good") for _ in range(80)))
        torture.feed.send(*(goods.next("slow") for _ in range(10)))
        slot = torture.slot(0, kafka={"transaction.timeout.ms": 1_500}, pace=UNHURRIED)
        slot.start()

        torture.settle(within=90)
        torture.verify()
        assert slot.alive()
        assert slot.said().count("smaller batches follow") >= 1
