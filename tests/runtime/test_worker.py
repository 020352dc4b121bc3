"""The loop's order of things while a commit is under way; the rest is tested on the real broker.

A broker that commits exactly when a test wants it to does not exist, so the two clients are stood
in for by what notes its calls.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from prometheus_client import CollectorRegistry

from mesh_stream.errors import BrokerError, FencedError
from mesh_stream.freshness.metrics import ProductMetrics
from mesh_stream.pipeline.deadletter import Provenance
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.product.product import Product
from mesh_stream.runtime.ledger import MOST_TURNS
from mesh_stream.runtime.pace import Pace
from mesh_stream.runtime.states import States
from mesh_stream.runtime.transaction import Transaction
from mesh_stream.runtime.worker import Worker
from mesh_stream.testing import MemorySchemas
from tests.pipeline.making import TOPIC, contract, port, product

WITHIN = 10.0
AT_ONCE = Pace(busiest=0.0, calmest=0.0, backoff=0.001)
FENCED = KafkaError(KafkaError._FENCED)
ABORTABLE = KafkaError(KafkaError.ILLEGAL_GENERATION, "the group has moved on", False, False, True)


class Clients:
    """One partition of records `{"id": "0"}`, `{"id": "1"}` and so on, and the topic written to."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.position = 0
        self.committed_offset = -1001
        self.polls = 0
        self.polls_until_failure = sys.maxsize
        self.producers = 0
        self.committing = False
        self.polled = threading.Condition()
        self.open: list[str] = []
        self.read_committed: list[str] = []
        self.offsets: list[TopicPartition] = []
        self.at_commit: Callable[[], None] = lambda: None
        self.at_produce: Callable[[], None] = lambda: None
        self.stop: Callable[[], None] = lambda: None

    # The consumer

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, **_: Any) -> None:
        self.on_assign = self.assign = on_assign
        self.on_revoke = on_revoke

    def consume(self, most: int, timeout: float) -> list[Message]:
        if self.on_assign is not None:
            assign, self.on_assign = self.on_assign, None
            assign(self, [TopicPartition(TOPIC, 0)])
        with self.polled:
            self.polls += 1
            self.polled.notify_all()
        if self.polls > self.polls_until_failure:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        if self.position == self.records:
            if self.committed_offset == self.records:
                self.stop()
            return []
        offset, self.position = self.position, self.position + 1
        value = b'{"id": "%d"}' % offset
        return [Message(topic=TOPIC, partition=0, offset=offset, value=value, timestamp=(1, 0))]

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, 0, self.committed_offset)]

    def get_watermark_offsets(self, partition: TopicPartition, **_: Any) -> tuple[int, int]:
        return 0, self.records

    def seek(self, partition: TopicPartition) -> None:
        self.position = partition.offset

    def incremental_assign(self, partitions: list[TopicPartition]) -> None: ...
    def consumer_group_metadata(self) -> str:
        return "metadata"

    def memberid(self) -> str:
        return "member"

    def close(self) -> None:
        assert not self.committing, "left the group while a commit was under way"

    # The producer

    def init_transactions(self, timeout: float) -> None:
        self.producers += 1
        self.open = []

    def begin_transaction(self) -> None:
        assert self.open == []

    def produce(self, topic: str, value: bytes, key: bytes | None) -> None:
        self.at_produce()
        self.open.append(value[-1:].decode())

    def poll(self, timeout: float) -> int:
        return 0

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], metadata: object, timeout: float
    ) -> None:
        self.offsets = offsets

    def commit_transaction(self, timeout: float) -> None:
        self.committing = True
        try:
            self.at_commit()
        finally:
            self.committing = False
        self.read_committed += self.open
        self.open = []
        self.committed_offset = self.offsets[0].offset

    def abort_transaction(self, timeout: float) -> None:
        self.open = []

    def purge(self, **_: Any) -> None: ...

    def await_poll(self, number: int) -> None:
        """Wait until the loop has polled so often."""
        with self.polled:
            assert self.polled.wait_for(lambda: self.polls >= number, WITHIN)


@pytest.fixture
def copied() -> Product:
    return product(contract(id="string"), port())


def run(product: Product, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh_stream.runtime.transaction.Producer", lambda _settings: clients)
    paths = paths_of(product, schema_id=1, writers=MemorySchemas())
    worker = Worker(
        product,
        states=States(product, paths, None),
        provenance=Provenance.of(product, contract_version=1, schema_id=1),
        consumer=clients,  # type: ignore[arg-type]  # as much of it as is used
        transaction=Transaction({"transaction.timeout.ms": 15_000}, stopping=lambda: False),
        witness=ProductMetrics(product, CollectorRegistry()),
        pace=AT_ONCE,
    )
    clients.stop = worker.stop
    worker.run()


def test_the_next_records_are_read_while_a_commit_is_under_way(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=3)
    seen: list[int] = []

    def commit() -> None:
        # Every commit but the last ends only once the loop has polled again.
        clients.await_poll(len(seen) + 2)
        seen.append(clients.polls)

    clients.at_commit = commit
    run(copied, clients, monkeypatch)

    assert clients.read_committed == ["0", "1", "2"]
    assert clients.committed_offset == 3


def test_nothing_is_produced_before_the_commit_before_it_has_ended(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=3)
    held: list[list[str]] = []

    def commit() -> None:
        clients.await_poll(len(held) + 2)
        # The next record is processed by now, or about to be; what it becomes must wait.
        threading.Event().wait(0.05)
        held.append(list(clients.open))

    clients.at_commit = commit
    run(copied, clients, monkeypatch)

    assert held == [["0"], ["1"], ["2"]]


def test_records_read_during_a_commit_that_fails_are_read_again_and_count_once(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=3)
    failures = [KafkaException(ABORTABLE)]

    def commit() -> None:
        if clients.open == ["1"] and failures:
            clients.await_poll(3)
            raise failures.pop()

    clients.at_commit = commit
    run(copied, clients, monkeypatch)

    assert failures == []
    assert clients.read_committed == ["0", "1", "2"]
    assert clients.committed_offset == 3


class Backlog(Clients):
    """With as many records as are asked for; their last digits stand for them."""

    def consume(self, most: int, timeout: float) -> list[Message]:
        batch = super().consume(most, timeout)
        more = min(most - 1, self.records - self.position) if batch else 0
        for offset in range(self.position, self.position + more):
            value = b'{"id": "%d"}' % offset
            batch.append(
                Message(topic=TOPIC, partition=0, offset=offset, value=value, timestamp=(1, 0))
            )
        self.position += more
        return batch

    def digits(self, upto: int) -> list[str]:
        return [str(number % 10) for number in range(upto)]


def test_a_few_turns_are_read_while_a_commit_is_under_way_and_input_waits(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Backlog(records=3_000)
    polls: list[int] = []

    def commit() -> None:
        if not polls:
            clients.await_poll(1 + MOST_TURNS)
            threading.Event().wait(0.1)
            polls.append(clients.polls)

    clients.at_commit = commit
    run(copied, clients, monkeypatch)

    assert polls == [1 + MOST_TURNS]
    assert clients.read_committed == clients.digits(3_000)
    assert clients.committed_offset == 3_000


def test_what_waits_for_a_commit_that_fails_is_read_again_and_counts_once(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Backlog(records=3_000)
    failures = [KafkaException(FENCED), KafkaException(ABORTABLE)]
    produced_at = 0

    def produce() -> None:
        nonlocal produced_at
        produced_at = clients.polls

    def commit() -> None:
        if failures:
            clients.await_poll(produced_at + 2)
            raise failures.pop()

    clients.at_produce, clients.at_commit = produce, commit
    run(copied, clients, monkeypatch)

    assert failures == []
    assert clients.read_committed == clients.digits(3_000)
    assert clients.committed_offset == 3_000


def test_what_waits_is_committed_before_its_partition_is_given_up(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoked: list[int] = []

    class Revoking(Backlog):
        def consume(self, most: int, timeout: float) -> list[Message]:
            if self.polls == 3 and not revoked:
                revoked.append(self.position)
                self.on_revoke(self, [TopicPartition(TOPIC, 0)])
                self.stop()
            return super().consume(most, timeout)

    clients = Revoking(records=3_000)
    clients.at_commit = lambda: None if revoked else clients.await_poll(3)
    run(copied, clients, monkeypatch)

    (position,) = revoked
    assert clients.committed_offset == position
    assert clients.read_committed == clients.digits(position)


def test_a_stop_waits_for_the_commit_that_is_under_way_and_commits_what_was_read_meanwhile(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=9)

    def commit() -> None:
        clients.await_poll(2)
        clients.stop()

    clients.at_commit = commit
    run(copied, clients, monkeypatch)

    assert clients.read_committed == [str(n) for n in range(clients.position)]
    assert clients.committed_offset == clients.position < 9


def test_a_worker_that_fails_waits_for_the_commit_that_is_under_way(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=9)
    clients.polls_until_failure = 1

    def commit() -> None:
        clients.await_poll(2)
        threading.Event().wait(0.1)

    clients.at_commit = commit
    with pytest.raises(BrokerError):
        run(copied, clients, monkeypatch)

    assert clients.read_committed == ["0"]


def test_a_second_fencing_that_an_assignment_meets_makes_no_other_producer(
    copied: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(records=9)

    def commit() -> None:
        raise KafkaException(FENCED)

    def produce() -> None:
        if clients.producers == 2:
            # The group gives partitions out again, by the poll that comes after this commit began.
            clients.on_assign = clients.assign

    clients.at_produce = produce

    clients.at_commit = commit
    with pytest.raises(FencedError, match="another process runs the same slot"):
        run(copied, clients, monkeypatch)

    # One to begin with, and one after the first fencing; a third would fence the other process.
    assert clients.producers == 2
