from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.extent import begins, ends
from mesh_stream.kafka.probe import STEPS, Probe
from mesh_stream.local.stack import Stack
from tests.kafka.declaring import settings_of, unique

pytestmark = pytest.mark.kafka

WITHIN = 15.0


def new_topic(stack: Stack, partitions: int = 1) -> str:
    name = f"raw.{unique('probe')}"
    topics.create(admin(settings_of(stack)), name, partitions=partitions, replicas=1, settings={})
    return name


@pytest.fixture
def probe(stack: Stack) -> Iterator[Probe]:
    with Probe(settings_of(stack), client_id="test.probe") as probe:
        yield probe


@contextmanager
def transacting(stack: Stack) -> Iterator[Producer]:
    producer = Producer(
        {"bootstrap.servers": stack.bootstrap_servers, "transactional.id": unique("writer")}
    )
    producer.init_transactions(WITHIN)
    yield producer
    producer.purge()


def write(producer: Producer, topic: str, *values: bytes, keep: bool = True) -> None:
    """One transaction of these records, each ended by a marker."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(WITHIN) == 0
    if keep:
        producer.commit_transaction(WITHIN)
    else:
        producer.abort_transaction(WITHIN)


def soon() -> float:
    return time.monotonic() + WITHIN


def end_of(stack: Stack, topic: str) -> int:
    return ends(admin(settings_of(stack)), [(topic, 0)], within=WITHIN)[topic, 0]


def first(probe: Probe, topic: str, begin: int, end: int) -> bytes | None:
    found = probe.first({(topic, 0): (begin, end)}, deadline=soon())
    record = found[topic, 0]
    return None if record is None else record.value()


def newest(probe: Probe, topic: str, begin: int, end: int) -> list[bytes | None]:
    found = probe.newest({(topic, 0): (begin, end)}, deadline=soon())
    return [record.value() for record in found[topic, 0]]


def test_the_first_record_is_found_behind_what_no_reader_sees(stack: Stack, probe: Probe) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer:
        write(producer, topic, b"aborted", keep=False)
        write(producer, topic, b"1", b"2")
        end = end_of(stack, topic)
        assert first(probe, topic, 0, end) == b"1"
        assert first(probe, topic, 3, end) == b"2"


def test_between_a_record_and_the_end_may_be_nothing(stack: Stack, probe: Probe) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer:
        write(producer, topic, b"1")
        write(producer, topic, b"aborted", keep=False)
        end = end_of(stack, topic)
        assert end == 4
        assert first(probe, topic, 1, end) is None
        assert newest(probe, topic, 1, end) == []
        assert first(probe, topic, 4, end) is None


def test_the_newest_record_is_found_however_many_markers_follow_it(
    stack: Stack, probe: Probe
) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer:
        write(producer, topic, b"1", b"2")
        for _ in range(STEPS[1]):
            write(producer, topic, b"aborted", keep=False)
        end = end_of(stack, topic)
        assert end > STEPS[1] + STEPS[0]
        assert newest(probe, topic, 0, end)[-1] == b"2"
        write(producer, topic, b"3")
        assert newest(probe, topic, 0, end_of(stack, topic)) == [b"3"]


def test_nothing_from_behind_the_span_is_taken_for_part_of_it(stack: Stack, probe: Probe) -> None:
    topic = new_topic(stack)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for number in range(10):
        producer.produce(topic, str(number), partition=0)
    producer.flush(WITHIN)
    assert newest(probe, topic, 0, 6) == [b"2", b"3", b"4", b"5"]
    assert newest(probe, topic, 5, 6) == [b"5"]
    assert first(probe, topic, 6, 10) == b"6"


def test_an_open_transaction_hides_what_follows_and_holds_nobody_up(
    stack: Stack, probe: Probe
) -> None:
    topic = new_topic(stack)
    with transacting(stack) as producer:
        write(producer, topic, b"1")
        producer.begin_transaction()
        producer.produce(topic, b"open", partition=0)
        assert producer.flush(WITHIN) == 0
        end = end_of(stack, topic)
        assert end == 2
        began = time.monotonic()
        assert newest(probe, topic, 0, end) == [b"1"]
        assert first(probe, topic, 1, end) is None
        assert time.monotonic() - began < 5
        producer.abort_transaction(WITHIN)


def test_many_partitions_with_large_records_are_read_some_at_a_time(
    stack: Stack, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh_stream.kafka.probe._AT_ONCE", 12)
    many = 30
    topic = new_topic(stack, partitions=many)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for number in range(many):
        producer.produce(topic, bytes(100_000), str(number), number)
        producer.produce(topic, b"last", str(number), number)
    assert producer.flush(30) == 0
    spans = {(topic, number): (0, 2) for number in range(many)}
    found = probe.newest(spans, deadline=soon())
    assert [at for at in spans if found[at][-1].value() != b"last"] == []


def test_what_cannot_be_read_in_time_is_left_out(stack: Stack, probe: Probe) -> None:
    topic = new_topic(stack)
    assert probe.first({(topic, 0): (0, 1)}, deadline=time.monotonic() + 0.3) == {}
    assert begins(admin(settings_of(stack)), [(topic, 0)], within=WITHIN) == {(topic, 0): 0}
