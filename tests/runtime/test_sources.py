"""What a worker tells others of the sources that it reads."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from mesh_stream.pipeline.events import Notice
from mesh_stream.pipeline.sinks import Forward
from mesh_stream.runtime import sources as room
from mesh_stream.runtime.partitions import Partition, Partitions
from mesh_stream.runtime.sources import Sources
from mesh_stream.runtime.transaction import Transaction

OWN = "mesh.stock.repartition"
P, Q = ("raw.stock", 0), ("raw.stock", 1)
IDLE = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Behind:
    """Partitions that may have records which nobody has read."""

    def __init__(self) -> None:
        self.lags: dict[Partition, int] = {}

    def lag(self, partition: Partition) -> int:
        return self.lags.get(partition, 0)


class Forwarding:
    def __init__(self) -> None:
        self.highest: dict[str, int] = {}


class Told:
    def __init__(self) -> None:
        self.notices: list[tuple[int, Notice]] = []

    def tell(self, topic: str, number: int, encoded: bytes) -> None:
        assert topic == OWN
        self.notices.append((number, msgspec.json.decode(encoded, type=Notice)))


class Made:
    """The sources of a worker, with time in the test's hands."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.behind, self.forward = clock, Behind(), Forwarding()
        forwards = {P[0]: cast("Forward", self.forward)}
        self.sources = Sources("stock", forwards, {P[0]: "id"}, IDLE)
        self.sources.take(P)
        self.sources.take(Q)

    def has_news(self) -> bool:
        return self.sources.has_news(cast("Partitions", self.behind))

    def tell(self) -> list[tuple[int, Notice]]:
        told = Told()
        self.sources.tell(cast("Transaction", told), OWN, 2, cast("Partitions", self.behind))
        return told.notices

    def pass_time(self, seconds: float) -> None:
        """Time passes, and the worker looks at its sources all along."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(until, self.clock.now + 0.5)
            self.has_news()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    clock = Clock()
    monkeypatch.setattr(room, "time", cast("Any", clock))
    return Made(clock)


def test_every_partition_is_told_how_far_the_sources_are_and_only_once(made: Made) -> None:
    assert not made.has_news()
    made.forward.highest = {"raw.stock:0": 7}
    assert made.has_news()

    notice = Notice({"raw.stock:0": 7})
    assert made.tell() == [(0, notice), (1, notice)]

    made.pass_time(1)
    assert not made.has_news()
    assert made.tell() == []


def test_what_was_told_in_a_transaction_that_was_not_committed_is_told_again(made: Made) -> None:
    made.forward.highest = {"raw.stock:0": 7}
    assert made.tell()
    made.sources.untell()
    made.pass_time(1)
    assert made.has_news()
    assert made.tell()


def test_a_source_is_idle_when_it_brought_nothing_for_long_and_nothing_waits(made: Made) -> None:
    made.behind.lags[Q] = 3
    made.pass_time(IDLE - 1)
    made.sources.heard([P])
    made.pass_time(IDLE)
    assert not made.has_news()

    made.pass_time(1)
    assert made.tell()[0][1].idle == ("raw.stock:0",)
    made.behind.lags[Q] = 0
    made.pass_time(1)
    assert made.tell()[0][1].idle == ("raw.stock:0", "raw.stock:1")
    made.sources.heard([P])
    made.pass_time(1)
    assert made.tell()[0][1].idle == ("raw.stock:1",)


def test_a_worker_that_stood_still_does_not_take_its_sources_for_silent(made: Made) -> None:
    made.clock.now += 10 * IDLE

    assert not made.has_news()
    made.pass_time(IDLE - 1)
    assert not made.has_news()
    made.pass_time(2)
    assert made.has_news()
