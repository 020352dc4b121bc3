"""Restoring, against a changelog in memory that hides and shows what the test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from mesh_stream.errors import StateLostError
from mesh_stream.pipeline.entries import META, Meta
from mesh_stream.pipeline.watermark import Progress
from mesh_stream.runtime import restore
from mesh_stream.runtime.restore import Restorer, Restoring
from mesh_stream.runtime.store import Store

WITHIN = 20.0
TOPIC = "mesh.stock.changelog"


END = KafkaError(KafkaError._PARTITION_EOF)


class Changelog:
    """One partition's records, and a consumer of it.

    Attributes:
        records: Key and value, or None for what no reader sees, such as a marker.
        low: The first offset.
        visible: How many of them an undecided transaction lets be read; None: all.
        away: How often the broker does not answer yet.
        opened: How many consumers there are.
    """

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes | None] | None] = []
        self.low = 0
        self.visible: int | None = None
        self.away = 0
        self.opened = 0
        self.stopped = threading.Event()
        self.stopped.set()
        self._at = 0

    def write(self, *records: tuple[bytes, bytes | None]) -> None:
        """One transaction: records, and its marker."""
        self.records += [*records, None]

    def meta(self, offset: int, commits: int) -> tuple[bytes, bytes]:
        return META, msgspec.msgpack.encode(Meta(offset, "id", Progress(), commits))

    # What a restorer asks of a consumer

    def __call__(self) -> Any:
        self.opened += 1
        return self

    def get_watermark_offsets(
        self, _: TopicPartition, *, timeout: float = 0, cached: bool = False
    ) -> tuple[int, int]:
        self.stopped.wait(WITHIN)
        if self.away:
            self.away -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return self.low, len(self.records) if cached else self._end()

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = places[0].offset

    def unassign(self) -> None: ...

    def consume(self, count: int, _timeout: float) -> list[Message]:
        found: list[Message] = []
        while self._at < self._end() and len(found) < count:
            if (record := self.records[self._at]) is not None:
                key, value = record
                found.append(Message(offset=self._at, key=key, value=value))
            self._at += 1
        return found or [Message(offset=self._at, error=END)]

    def close(self) -> None:
        self.opened -= 1

    def _end(self) -> int:
        return len(self.records) if self.visible is None else self.visible


@pytest.fixture
def changelog() -> Changelog:
    return Changelog()


@pytest.fixture
def restorer(changelog: Changelog) -> Iterator[Restorer]:
    made = Restorer("stock", TOPIC, changelog, lambda _records: None, patience=5.0)
    yield made
    changelog.stopped.set()
    made.close()


Begin = Callable[..., Restoring]


@pytest.fixture
def begin(tmp_path: Path, restorer: Restorer) -> Iterator[Begin]:
    """Has a partition restored to what the group has committed."""
    stores: list[Store] = []

    def begin(committed: int | None, commits: int = 0) -> Restoring:
        number = len(stores)
        stores.append(Store.open(tmp_path / str(number), identity="stock", max_age=60))
        task = Restoring(number, stores[-1], committed, lambda _key, _value: (), commits)
        restorer.begin(task)
        return task

    yield begin
    for store in stores:
        store.close()


def finished(task: Restoring) -> Restoring:
    assert task.finished.wait(WITHIN)
    if task.failure is not None:
        raise task.failure
    return task


def test_a_store_has_what_the_changelog_says_and_stands_at_its_end(
    changelog: Changelog, begin: Begin
) -> None:
    changelog.write((b"sa", b"1"), (b"sb", b"1"), changelog.meta(3, 1))
    changelog.write((b"sa", None), changelog.meta(5, 2))

    task = finished(begin(5, 2))

    assert (task.store.get(b"sa"), task.store.get(b"sb")) == (None, b"1")
    assert task.store.position is not None
    assert (task.store.position.changelog, task.records) == (7, 5)


def test_a_product_that_never_ran_has_nothing_to_restore(begin: Begin) -> None:
    assert finished(begin(None)).records == 0


def test_states_that_moved_no_offset_are_waited_for_while_something_is_undecided(
    changelog: Changelog, begin: Begin
) -> None:
    changelog.write((b"wa", b"1"), changelog.meta(3, 1))
    changelog.visible = len(changelog.records)
    # A window closed: nothing was read for it.
    changelog.write((b"wa", None), changelog.meta(3, 2))

    task = begin(3, 2)
    assert not task.finished.wait(restore.SETTLED_SECONDS + 1)
    changelog.visible = None

    assert finished(task).store.get(b"wa") is None


@pytest.mark.parametrize(
    ("committed", "commits", "said"),
    [
        (9, 3, r"up to offset 5 in 2 transactions, but the .* is 9, of 3 transactions"),
        (3, 1, r"up to offset 5 in 2 transactions, but the .* is 3, of 1 transactions"),
        (5, 3, r"up to offset 5 in 2 transactions, but the .* is 5, of 3 transactions"),
        (5, 0, r"up to offset 5, but the group's committed offset, 5, was set by hand"),
        (0, 0, r"up to offset 5, but the group's committed offset, 0, was set by hand"),
        (None, 0, r"up to offset 5, but the group has no offset"),
    ],
)
def test_what_does_not_fit_is_refused(
    changelog: Changelog, begin: Begin, committed: int | None, commits: int, said: str
) -> None:
    changelog.write(changelog.meta(3, 1))
    changelog.write(changelog.meta(5, 2))

    with pytest.raises(StateLostError, match=said):
        finished(begin(committed, commits))


def test_an_empty_changelog_and_a_shortened_one_are_refused(
    changelog: Changelog, begin: Begin
) -> None:
    with pytest.raises(StateLostError, match="it is empty, but the group has committed offset 7"):
        finished(begin(7, 2))
    changelog.write(changelog.meta(7, 2))
    changelog.low = 1
    with pytest.raises(StateLostError, match="its first 1 records are gone"):
        finished(begin(7, 2))


def test_a_broker_on_its_way_back_is_waited_for(changelog: Changelog, begin: Begin) -> None:
    changelog.write(changelog.meta(7, 2))
    changelog.away = 3

    assert finished(begin(7, 2)).records == 1


def test_one_that_has_not_begun_is_given_up_without_waiting_for_those_before_it(
    changelog: Changelog, begin: Begin
) -> None:
    changelog.stopped.clear()
    first, second = begin(None), begin(None)
    while not first._begun:
        time.sleep(0.001)

    assert second.give_up(WITHIN)
    assert not first.give_up(0.01)
    changelog.stopped.set()
    assert first.give_up(WITHIN)
    assert second.finished.wait(WITHIN)
    assert second.store.position is None


def test_no_consumer_is_kept_for_the_next_time(changelog: Changelog, begin: Begin) -> None:
    finished(begin(None))
    finished(begin(None))
    deadline = time.monotonic() + WITHIN
    while changelog.opened and time.monotonic() < deadline:
        time.sleep(0.001)

    assert changelog.opened == 0


def test_a_topic_holds_records_if_a_reader_sees_one_or_retention_removed_some(
    changelog: Changelog, restorer: Restorer
) -> None:
    assert not restorer.holds_records(TOPIC, 1)
    # An aborted transaction leaves its marker.
    changelog.records = [None, None]
    assert not restorer.holds_records(TOPIC, 1)
    changelog.records.append((b"k", b"v"))
    assert restorer.holds_records(TOPIC, 1)
    changelog.records, changelog.low = [None, None], 2
    assert restorer.holds_records(TOPIC, 1)
    assert changelog.opened == 0
