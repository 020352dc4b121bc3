"""Time that events have, sources that are silent, ahead, or new."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.tallies import Kind, Moves
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

HOUR_MS = 3_600_000
QUIET_SECONDS = 2.0


def test_a_silent_source_holds_nobody_back_for_ever_and_one_that_is_ahead_makes_none_late(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    silence = {"idle": "4_seconds"}
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=3, state=silence) as torture:
        slots = [torture.working(0), torture.slot(1)]
        slots[1].start()
        goods = _moves(torture)
        began = goods.clock
        behind = [goods.next() for _ in range(3_000)]
        goods.clock = began + HOUR_MS
        ahead = [goods.next() for _ in range(3_000)]
        # Nothing will ever come from the third.
        while not torture.facts():
            assert ahead, "no window was closed past the silent source"
            torture.feed.send(*(ahead.pop(0) for _ in range(50)), partition=1)
            torture.feed.send(*(behind.pop(0) for _ in range(50)), partition=0)
            Event().wait(0.2)
        torture.feed.send(*ahead, partition=1)
        torture.feed.send(*behind, partition=0)
        goods.clock += HOUR_MS
        torture.settle(within=60)
        torture.verify()


def test_events_from_the_future_or_without_time_close_nothing(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=2) as torture:
        torture.working()
        goods, now = _moves(torture), int(time.time() * 1000)
        torture.send(300)
        for number in range(2):
            torture.feed.send(goods.next("early", at=now + 2 * HOUR_MS), partition=number)
            torture.feed.send(goods.next("early", at=1 << 60), partition=number)
            torture.feed.send(goods.next("untimed"), partition=number, timestamp=-1)
        torture.send(300)
        eventually(lambda: torture.lag() == 0, within=60, what="all input committed")
        torture.settle(within=60)
        torture.verify()


def test_partitions_that_an_input_gets_are_counted_and_waited_for(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    at_once = {"topic.metadata.refresh.interval.ms": 500}
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=2) as torture:
        slots = [torture.working(0, kafka=at_once), torture.slot(1, kafka=at_once)]
        slots[1].start()
        goods = _moves(torture)
        torture.send(500)
        broker.grow_topic(torture.admin, torture.raw, 3)
        torture.feed.look_again()
        goods.clock += HOUR_MS
        torture.feed.send(goods.next("good", at=goods.clock), partition=2)
        eventually(lambda: torture.lag() == 0, within=60, what="the new partition read")
        for number in range(2):
            at = goods.clock + 2 * HOUR_MS
            torture.feed.send(goods.next("good", at=at), partition=number)
        eventually(
            lambda: len(torture.facts()) >= len(torture.expected().closed),
            within=30,
            what="windows closed up to where the new source is",
        )
        _expect_quiet(torture)
        assert len(torture.facts()) == len(torture.expected().closed)

        goods.clock += 2 * HOUR_MS
        torture.settle(within=60)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def test_workers_with_nothing_to_do_write_nothing(stack: Stack, tmp_path: Path, seed: int) -> None:
    with tallying(
        stack, tmp_path, seed, Kind.WINDOWED, partitions=2, state={"idle": "1_second"}
    ) as torture:
        torture.working(0)
        torture.working(1)
        torture.send(300, "good")
        eventually(lambda: torture.lag() == 0, within=60, what="all input committed")
        _expect_quiet(torture)


def _moves(torture: TallyScene) -> Moves:
    assert isinstance(torture.feed.goods, Moves)
    return torture.feed.goods


def _expect_quiet(torture: TallyScene) -> None:
    """Sooner or later nothing is written any more, and that stays so."""

    def ends() -> dict[tuple[str, int], int]:
        found = broker.ends(torture.admin, torture.written, stable=False)
        return found | broker.committed(
            torture.stack.bootstrap_servers, torture.product.group, torture.fold_topic
        )

    def is_quiet() -> bool:
        before = ends()
        Event().wait(QUIET_SECONDS)
        return ends() == before

    eventually(is_quiet, within=30, what="workers that write nothing")
