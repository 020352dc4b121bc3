from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from mesh_stream.errors import BrokerError
from mesh_stream.kafka import reader as readers
from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.reader import Reader
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.deadline import eventually
from tests.kafka.declaring import settings_of, unique

pytestmark = pytest.mark.kafka

WITHIN = 15.0


def new_topic(stack: Stack, partitions: int = 1) -> str:
    name = f"raw.{unique('reader')}"
    topics.create(admin(settings_of(stack)), name, partitions=partitions, replicas=1, settings={})
    return name


@contextmanager
def transacting(stack: Stack) -> Iterator[Producer]:
    """A producer with transactions; what is open at the end is aborted."""
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": unique("writer")}
    )
    producer.init_transactions(WITHIN)
    yield producer
    producer.purge()


def write(producer: Producer, topic: str, *values: bytes) -> None:
    """Begin a transaction and get these records to the broker."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(WITHIN) == 0


def read(reader: Reader, until: int) -> list[bytes | None]:
    """What is read up to the stable end that the topic has now."""
    found: list[bytes | None] = []
    deadline = time.monotonic() + WITHIN
    while not all(position >= until for position in reader.positions.values()):
        assert time.monotonic() < deadline, (reader.positions, found)
        found += [message.value() for message in reader.poll(0.1)]
    return found


def test_only_what_is_committed_is_read_and_the_end_is_reached_all_the_same(stack: Stack) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer, Reader(settings_of(stack), client_id="test") as reader:
        write(producer, topic, b"1", b"2")
        producer.commit_transaction(WITHIN)
        write(producer, topic, b"aborted", b"aborted")
        producer.abort_transaction(WITHIN)
        ends = {at: high for at, (_, high) in reader.bounds([topic]).items()}
        assert ends == {(topic, 0): 6}
        reader.start({(topic, 0): 0})
        assert not reader.has_reached(ends)
        assert read(reader, 6) == [b"1", b"2"]
        assert reader.has_reached(ends)


def test_the_end_is_the_stable_one_while_a_transaction_is_open(stack: Stack) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer, Reader(settings_of(stack), client_id="test") as reader:
        write(producer, topic, b"1")
        producer.commit_transaction(WITHIN)
        write(producer, topic, b"open")
        assert reader.bounds([topic]) == {(topic, 0): (0, 2)}
        reader.start({(topic, 0): 0})
        assert read(reader, 2) == [b"1"]
        producer.commit_transaction(WITHIN)
        assert reader.bounds([topic]) == {(topic, 0): (0, 4)}
        assert read(reader, 4) == [b"open"]


def test_it_reads_from_where_it_is_told_and_only_those_partitions(stack: Stack) -> None:
    topic = new_topic(stack, partitions=3)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for number in range(9):
        producer.produce(topic, str(number).encode(), partition=number % 3)
    producer.flush(WITHIN)
    with Reader(settings_of(stack), client_id="test") as reader:
        reader.start({(topic, 0): 2, (topic, 2): 1})
        assert sorted(read(reader, 3), key=str) == [b"5", b"6", b"8"]
        assert reader.positions == {(topic, 0): 3, (topic, 2): 3}


def test_a_topic_that_does_not_exist_is_an_error_with_its_name(stack: Stack) -> None:
    name = unique("none")
    with (
        Reader(settings_of(stack), client_id="test") as reader,
        pytest.raises(BrokerError, match=f"cannot read topic {name}"),
    ):
        reader.bounds([name])


def test_an_offset_that_is_gone_ends_the_reading_instead_of_jumping(stack: Stack) -> None:
    topic = new_topic(stack)
    with Reader(settings_of(stack), client_id="test") as reader:
        reader.start({(topic, 0): 1_000})
        with pytest.raises(BrokerError, match=rf"cannot read {topic}\[0\]"):
            eventually(lambda: reader.poll(0.1), within=WITHIN, what="the lost offset is told")


def test_a_topic_that_is_deleted_ends_the_reading(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "_IDLE_SECONDS", 0.5)
    topic, asking = new_topic(stack), admin(settings_of(stack))
    with Reader(settings_of(stack), client_id="test") as reader:
        reader.start({(topic, 0): 0})
        reader.poll(1.0)
        asking.delete_topics([topic])[topic].result(WITHIN)
        with pytest.raises(BrokerError, match=f"cannot read topic {topic}"):
            eventually(lambda: reader.poll(0.1), within=WITHIN, what="the deletion is told")


def nowhere() -> Settings:
    (port,) = choose([None])
    return Settings.load(
        {}, bootstrap_servers=f"127.0.0.1:{port}", registry_url="http://127.0.0.1:1"
    )


def test_a_broker_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "ANSWER_SECONDS", 0.5)
    with (
        Reader(nowhere(), client_id="test") as reader,
        pytest.raises(BrokerError, match="is the broker running"),
    ):
        reader.bounds(["raw.orders"])


def test_a_broker_that_stays_away_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(readers, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(readers, "_PROBE_SECONDS", 0.2)
    with Reader(nowhere(), client_id="test") as reader:
        reader.start({("raw.orders", 0): 0})
        with pytest.raises(BrokerError, match="could not be reached for 1 s"):
            eventually(lambda: reader.poll(0.1), within=WITHIN, what="patience ends")
    assert "waiting for it" in caplog.text
