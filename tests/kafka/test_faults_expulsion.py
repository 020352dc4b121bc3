"""Members of a group that do not know that they are out."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.scene import Scene, scene

pytestmark = pytest.mark.kafka

RATE = 2_000


def test_workers_that_the_group_has_given_up_without_a_word_commit_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with scene(stack, tmp_path, seed) as torture:
        slots = [torture.slot(number) for number in range(2)]
        for slot in slots:
            slot.start()
        torture.feed.start(RATE)
        for _ in range(10):
            _expel_one(torture)
            Event().wait(torture.random.random() / 2)
        _progress(torture)
        torture.settle(within=60)
        torture.verify()
        assert all(slot.alive() for slot in slots)
        zombies = [
            slot.metric("mesh_transactions_total", outcome="zombie_aborted") for slot in slots
        ]
        assert sum(zombies) > 0, "nobody was expelled in the middle of a transaction"


def _expel_one(torture: Scene) -> None:
    group = torture.product.group
    members = eventually(
        lambda: broker.members(torture.admin, group), within=60, what="members with partitions"
    )
    broker.expel(torture.stack.bootstrap_servers, group, torture.random.choice(members))


def _progress(torture: Scene) -> None:
    before = len(torture.reader.records)
    eventually(lambda: len(torture.reader.records) > before, within=60, what="further facts")
