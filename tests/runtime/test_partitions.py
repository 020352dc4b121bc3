"""Positions: every record counts once, whatever the client library still has in its queues."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import BrokerError, NotProvisionedError, RegistryError
from mesh_stream.runtime import partitions as room
from mesh_stream.runtime.partitions import Partitions

P = ("raw.orders", 0)


class Stuck:
    """A consumer that is never closed, as one that has locked itself out."""

    def close(self) -> None:
        threading.Event().wait()


def test_a_consumer_that_cannot_be_closed_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "LEAVE_SECONDS", 0.05)

    Partitions("orders", Stuck(), stopping=lambda: False).leave()  # type: ignore[arg-type]  # as far as it is asked

    assert "orders: the client library does not let go of the group" in caplog.text


class Record:
    """A record as far as sorting reads it."""

    def __init__(self, offset: int, partition: int = 0) -> None:
        self._partition, self._offset = partition, offset

    def topic(self) -> str:
        return P[0]

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset


class Broker:
    """A consumer whose broker says what the test wants, and that notes what it is told."""

    def __init__(self, *, committed: int = -1001, low: int = 0, high: int = 1000) -> None:
        self.offset, self.low, self.high = committed, low, high
        self.told: list[tuple[str, int]] = []
        self.failures: list[KafkaError] = []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.failures:
            raise KafkaException(self.failures.pop(0))
        return [TopicPartition(tp.topic, tp.partition, self.offset) for tp in partitions]

    def get_watermark_offsets(self, tp: TopicPartition, **_: Any) -> tuple[int, int]:
        return self.low, self.high

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.told += [("assign", tp.offset) for tp in partitions]

    def seek(self, tp: TopicPartition) -> None:
        self.told.append(("seek", tp.offset))

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.told += [("pause", tp.partition) for tp in partitions]

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.told += [("resume", tp.partition) for tp in partitions]


def partitions(broker: Broker, *, stopping: bool = False) -> Partitions:
    return Partitions("orders-completed", broker, stopping=lambda: stopping)  # type: ignore[arg-type]  # as much of a consumer as is used


def assigned(broker: Broker) -> Partitions:
    found = partitions(broker)
    found.assign([TopicPartition(*P)], within=1)
    return found


def offsets(runs: dict[Any, list[Any]]) -> list[int]:
    return [record.offset() for record in runs.get(P, [])]


def test_a_partition_never_committed_starts_at_its_beginning() -> None:
    broker = Broker(low=7)

    assert assigned(broker).positions == {P: 7}
    assert broker.told == [("assign", 7)]


def test_a_committed_partition_goes_on_at_the_committed_offset() -> None:
    broker = Broker(committed=42)

    assert assigned(broker).positions == {P: 42}
    assert broker.told == [("assign", 42)]


def test_a_position_that_retention_removed_is_refused_with_the_gap() -> None:
    with pytest.raises(NotProvisionedError, match="retention removed 8 records"):
        assigned(Broker(committed=42, low=50))


def test_a_position_past_the_end_means_a_topic_created_anew() -> None:
    with pytest.raises(NotProvisionedError, match="created anew"):
        assigned(Broker(committed=42, high=3))


def test_an_unstable_offset_is_asked_for_again_until_it_is_stable() -> None:
    broker = Broker(committed=42)
    broker.failures = [KafkaError(KafkaError._TIMED_OUT), KafkaError(KafkaError._TIMED_OUT)]

    assert assigned(broker).positions == {P: 42}


def test_a_stop_ends_the_asking() -> None:
    broker = Broker()
    broker.failures = [KafkaError(KafkaError._TIMED_OUT)] * 3

    with pytest.raises(BrokerError, match="stopped while waiting"):
        partitions(broker, stopping=True).assign([TopicPartition(*P)], within=60)


def test_a_record_of_a_partition_that_is_not_ours_is_dropped() -> None:
    ours = assigned(Broker(committed=0))

    assert list(ours.accept([Record(0), Record(5, partition=1)])) == [P]  # type: ignore[list-item]


def test_a_record_after_revocation_is_dropped() -> None:
    ours = assigned(Broker(committed=0))
    ours.accept([Record(0)])  # type: ignore[list-item]
    ours.drop([TopicPartition(*P)])

    assert ours.accept([Record(1)]) == {}  # type: ignore[list-item]
    assert ours.to_commit({}) == []


@given(
    start=st.integers(0, 50),
    batches=st.lists(st.lists(st.integers(0, 60), max_size=40).map(sorted), max_size=8),
)
def test_no_offset_is_accepted_twice_and_none_out_of_order(
    start: int, batches: list[list[int]]
) -> None:
    """Stale records that are delivered again, in any mixture, never count again."""
    ours = assigned(Broker(committed=start))
    accepted: list[int] = []

    for batch in batches:
        accepted += offsets(ours.accept([Record(offset) for offset in batch]))  # type: ignore[misc]

    assert accepted == sorted(set(accepted))
    assert all(offset >= start for offset in accepted)
    if accepted:
        assert ours.to_commit({})[0].offset == accepted[-1] + 1


def test_a_rewind_goes_back_to_the_committed_offset_and_commits_nothing() -> None:
    broker = Broker(committed=10)
    ours = assigned(broker)
    ours.accept([Record(10), Record(11)])  # type: ignore[list-item]

    assert ours.rewind(within=1) == {P: 10}

    assert broker.told[-1] == ("seek", 10)
    assert ours.to_commit({}) == []
    assert offsets(ours.accept([Record(10)])) == [10]  # type: ignore[list-item]


def test_a_partitions_end_moves_the_position_over_what_no_reader_sees() -> None:
    ours = assigned(Broker(committed=2))

    assert ours.reached_end(*P, 8)

    assert [(tp.partition, tp.offset) for tp in ours.to_commit({})] == [(0, 8)]
    assert not ours.reached_end(*P, 8)


def test_a_held_partition_is_paused_at_its_record_and_takes_nothing() -> None:
    broker = Broker(committed=0)
    ours = assigned(broker)
    ours.accept([Record(0), Record(1)])  # type: ignore[list-item]

    ours.hold(P, 1, RegistryError("down"), backoff=60)

    assert ("pause", 0) in broker.told
    assert ours.accept([Record(2)]) == {}  # type: ignore[list-item]
    assert not ours.reached_end(*P, 9)
    assert ours.to_commit({})[0].offset == 1


def test_a_held_partition_is_read_again_from_its_record_and_waits_longer_each_time() -> None:
    broker = Broker(committed=0)
    ours = assigned(broker)

    ours.hold(P, 5, RegistryError("down"), backoff=0)
    ours.retry_due()

    assert broker.told[-2:] == [("seek", 5), ("resume", 0)]
    first = ours.suspects[P]
    ours.hold(P, 5, RegistryError("still down"), backoff=0.25)
    assert ours.held[P].since == first.since


def test_a_fault_that_outlasts_the_patience_is_named() -> None:
    ours = assigned(Broker(committed=0))
    fault = RegistryError("down")
    ours.hold(P, 0, fault, backoff=60)

    assert ours.exhausted(60) is None
    assert ours.exhausted(-1) is fault


def test_lag_counts_to_the_end_the_client_has_heard_of() -> None:
    ours = assigned(Broker(committed=990, high=1000))

    assert ours.lag(P) == 10
