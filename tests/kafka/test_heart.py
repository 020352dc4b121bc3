"""What is on `mesh.status` of workers that live, idle, hang, stop, die and cannot say anything."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from mesh_stream.kafka import topics
from mesh_stream.local import stack as room
from mesh_stream.local.stack import Stack, ephemeral
from mesh_stream.runtime.heart import BEAT_SECONDS
from mesh_stream.runtime.status import STATUS_TOPIC, Status, decode
from tests.deadline import eventually
from tests.kafka.harness import broker
from tests.kafka.harness.scene import Scene, provision, scene
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import BEGAN_MS, Kind
from tests.kafka.harness.tally_scene import DAY_MS, tallying

pytestmark = pytest.mark.kafka

SOON = 5.0
"""An SRE sees a worker within so many seconds of its being there."""


class Seen:
    """The statuses of one product's slots, as whoever reads the topic sees them."""

    def __init__(self, stack: Stack, product: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": stack.bootstrap_servers, "group.id": "seen", "log_level": 0}
        )
        self._consumer.assign([TopicPartition(STATUS_TOPIC, 0, 0)])
        self._product = product
        self.all: list[Status] = []

    def look(self) -> list[Status]:
        """Every status so far."""
        while batch := self._consumer.consume(1_000, 0.05):
            values = [one.value() for one in batch if one.error() is None]
            statuses = [decode(value) for value in values if value is not None]
            self.all += [one for one in statuses if one.product == self._product]
        return self.all

    def newest(self, slot: int) -> Status | None:
        """The newest of a slot, or None."""
        return next((one for one in reversed(self.look()) if one.slot == slot), None)

    def until(
        self, slot: int, holds: Callable[[Status], Any], what: str, *, within: float = SOON
    ) -> Status:
        """The slot's first newest status that something holds for."""

        def newest() -> Status | None:
            found = self.newest(slot)
            return found if found is not None and holds(found) else None

        found = eventually(newest, within=within, what=what)
        assert found is not None
        return found

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def playing(stack: Stack, tmp_path: Path, seed: int) -> Iterator[Scene]:
    with scene(stack, tmp_path, seed) as torture:
        yield torture


@pytest.fixture
def seen(stack: Stack, playing: Scene) -> Iterator[Seen]:
    one = Seen(stack, playing.product.name)
    yield one
    one.close()


def started(playing: Scene, seen: Seen, number: int = 0) -> SlotProcess:
    slot = playing.slot(number)
    slot.start()
    eventually(slot.is_up, within=30, what="a process")
    seen.until(number, lambda said: said.began > 0, "a first status")
    seen.until(number, lambda said: said.state == "running", "a worker that runs", within=30)
    return slot


def good(playing: Scene, count: int) -> None:
    playing.feed.send(*(playing.feed.goods.next("good") for _ in range(count)))


def test_a_worker_is_seen_while_it_idles_and_tells_what_it_commits(
    playing: Scene, seen: Seen
) -> None:
    slot = started(playing, seen)
    before = seen.until(0, lambda said: len(said.positions) == 4, "all partitions")
    assert sum(before.positions.values()) == 0
    assert before.newest_event == before.newest_input == before.last_asked == 0
    sent = time.time() * 1000
    good(playing, 100)
    playing.feed.send(playing.feed.goods.next("skip"), playing.feed.goods.next("rule"))

    said = seen.until(0, lambda said: said.counts.consumed == 102, "what it has committed")

    counts = said.counts
    assert (counts.sources, counts.facts, counts.filtered, counts.rejected) == (100, 100, 1, 1)
    assert sum(said.positions.values()) == 102
    for moment in (said.newest_event, said.newest_input, said.last_asked):
        assert sent - 1_000 <= moment <= said.at
    assert said.metrics == slot._metrics
    for name in ("freshness", "upstream_age", "residence"):
        assert slot.metric(f"mesh_record_{name}_seconds_count") == 100
    assert slot.metric("mesh_slo_good_events_total", slo="records") == 100
    assert slot.metric("mesh_slo_bad_events_total", slo="records") == 0
    assert said.watermarks == {}
    idle = seen.until(0, lambda found: found.at > said.at, "another, while nothing comes")
    assert said.at + 1_000 * BEAT_SECONDS / 2 < idle.at < said.at + 1_000 * SOON
    assert (idle.counts, idle.began) == (said.counts, said.began)
    assert idle.progressed > said.at - 1_000


def test_windows_of_events_that_were_late_when_they_came_are_not_the_workers_fault(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.WINDOWED, partitions=2) as torture:
        seen = Seen(stack, torture.product.name)
        slot = torture.working()
        torture.send(500)
        torture.settle(within=60)
        facts = len(torture.facts())

        # By the events' own time all of that was years ago; they were sent just now.
        blamed = eventually(
            lambda: slot.metric("mesh_slo_bad_events_total", blame="upstream"),
            within=10,
            what="facts that are late",
        )
        assert blamed == slot.metric("mesh_slo_events_total") == facts
        assert slot.metric("mesh_record_residence_seconds_bucket", le="60.0") == facts
        assert slot.metric("mesh_record_upstream_age_seconds_bucket", le="86400.0") == 0

        topic = torture.product.repartition_topic
        said = seen.until(0, lambda said: len(said.watermarks) == 3, "the watermarks")
        seen.close()
        assert min(said.watermarks.values()) >= BEGAN_MS + DAY_MS
        for number, watermark in said.watermarks.items():
            labels = {"topic": topic, "partition": number}
            name = "mesh_input_watermark_timestamp_seconds"
            assert slot.metric(name, **labels) == watermark / 1000
        assert BEGAN_MS < said.newest_input < said.last_asked


def test_the_last_word_of_one_that_stops_is_stopped(playing: Scene, seen: Seen) -> None:
    slot = started(playing, seen)
    slot.signal(signal.SIGTERM)
    assert slot.wait(10) == 0

    last = seen.until(0, lambda said: said.state == "stopped", "its last word")
    assert last is seen.newest(0)
    assert last.positions == {}


def test_the_last_status_of_one_that_is_killed_stays_and_the_next_process_is_another(
    playing: Scene, seen: Seen
) -> None:
    slot = started(playing, seen)
    good(playing, 10)
    seen.until(0, lambda said: said.counts.facts == 10, "ten facts")
    slot.kill()
    last = seen.newest(0)
    assert last is not None

    assert last.state == "running"
    slot.start()
    after = seen.until(0, lambda said: said.began > last.began, "the next process", within=30)
    assert after.counts.facts == 0
    found = seen.until(0, lambda said: len(said.positions) == 4, "its partitions", within=30)
    assert sum(found.positions.values()) == 10


def test_of_partitions_that_move_to_another_slot_only_that_one_speaks(
    playing: Scene, seen: Seen
) -> None:
    started(playing, seen, 0)
    seen.until(0, lambda said: len(said.positions) == 4, "all partitions")
    started(playing, seen, 1)

    seen.until(1, lambda said: len(said.positions) == 2, "half of them", within=30)
    seen.until(0, lambda said: len(said.positions) == 2, "the other half", within=30)
    one, other = seen.newest(0), seen.newest(1)
    assert one is not None
    assert other is not None
    assert len({*one.positions, *other.positions}) == 4


def test_a_loop_that_hangs_is_seen_to_hang(playing: Scene, seen: Seen) -> None:
    started(playing, seen)
    playing.feed.send(playing.feed.goods.next("gate"))
    eventually(playing.sibling("at-the-gate").exists, within=10, what="a loop that hangs")
    hanging = time.time() * 1000

    def stands_still(said: Status) -> bool:
        return said.at > hanging + 3_000 and said.progressed < hanging + 500

    seen.until(0, stands_still, "a loop that stands still", within=10)
    playing.sibling("open").touch()
    seen.until(0, lambda said: said.progressed > hanging + 3_000, "a loop that turns", within=10)


def test_a_frozen_process_says_nothing_and_goes_on_when_it_thaws(
    playing: Scene, seen: Seen
) -> None:
    slot = started(playing, seen)
    slot.signal(signal.SIGSTOP)
    frozen = time.time() * 1000
    try:
        deadline = time.monotonic() + 2 * BEAT_SECONDS
        eventually(lambda: time.monotonic() > deadline, within=10, what="two beats missed")
        newest = seen.newest(0)
        assert newest is not None
        assert newest.at < frozen + 500
    finally:
        slot.signal(signal.SIGCONT)
    seen.until(0, lambda said: said.progressed > frozen + 1_000, "a worker that is back", within=30)


def test_it_speaks_again_when_its_broker_is_back(stack: Stack, playing: Scene, seen: Seen) -> None:
    slot = started(playing, seen)
    name = stack.brokers[0].name
    try:
        room.kill(stack, name)
        said = "cannot tell its status on mesh.status"
        eventually(lambda: said in slot.said(), within=20, what="a warning")
    finally:
        room.restart(stack, name)
    back = time.time() * 1000

    seen.until(
        0, lambda said: said.at > back and said.state == "running", "a worker that runs", within=60
    )
    good(playing, 10)
    seen.until(0, lambda said: said.counts.facts == 10, "ten facts", within=30)
    assert slot.said().count("cannot tell its status") == 1


def test_a_worker_without_the_topic_works_and_speaks_once_it_is_there(
    tmp_path: Path, seed: int
) -> None:
    with ephemeral(tmp_path / "stack") as own, scene(own, tmp_path, seed) as torture:
        broker.delete_topic(torture.admin, STATUS_TOPIC)
        slot = torture.slot(0)
        slot.start()
        torture.feed.send(*(torture.feed.goods.next() for _ in range(200)))
        torture.settle(within=60)
        torture.verify()
        eventually(lambda: "cannot tell its status" in slot.said(), within=10, what="a warning")
        assert topics.describe(torture.admin, [STATUS_TOPIC]) == {}

        provision(own, torture.products, torture.product, torture.admin)
        seen = Seen(own, torture.product.name)
        try:
            seen.until(0, lambda said: said.state == "running", "its status", within=20)
        finally:
            seen.close()
        assert slot.said().count("cannot tell its status") == 1
        slot.signal(signal.SIGTERM)
        assert slot.wait(10) == 0
