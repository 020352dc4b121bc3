from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from mesh_stream.errors import BrokerError
from mesh_stream.kafka import topics, writer
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.writer import RawRecord, Sent, send
from mesh_stream.local.ports import choose
from mesh_stream.local.stack import Stack
from mesh_stream.settings import Settings
from tests.kafka.declaring import settings_of, unique
from tests.kafka.reading import messages

pytestmark = pytest.mark.kafka

DAY = 86_400_000


def new_topic(stack: Stack, partitions: int = 1, **settings: str) -> str:
    name = f"raw.{unique('writer')}"
    dotted = {key.replace("_", "."): text for key, text in settings.items()}
    topics.create(
        admin(settings_of(stack)), name, partitions=partitions, replicas=1, settings=dotted
    )
    return name


def nowhere() -> Settings:
    (port,) = choose([None])
    return Settings.load(
        {},
        bootstrap_servers=f"127.0.0.1:{port}",
        registry_url="http://127.0.0.1:1",
    )


def test_records_arrive_as_they_were_given(stack: Stack) -> None:
    topic, sent = new_topic(stack), Sent()
    given = [
        RawRecord(b"a", b"1", 1_291_191_960_000),
        RawRecord(None, b"2", 1_291_191_960_001),
        RawRecord(b"\xff\xfe", None, 1_291_191_960_002),
        RawRecord(b"", b"", 1_291_191_960_003),
    ]
    send(settings_of(stack), topic, given, sent)
    arrived = [(m.key(), m.value(), m.timestamp()[1]) for m in messages(stack, topic)]
    assert arrived == [(record.key, record.value, record.timestamp) for record in given]
    assert sent == Sent(given=4, delivered=4)


def test_a_record_may_go_to_a_topic_of_its_own(stack: Stack) -> None:
    topic, other, sent = new_topic(stack), new_topic(stack), Sent()
    given = [RawRecord(b"a", b"1"), RawRecord(b"a", b"2", topic=other), RawRecord(b"a", b"3")]
    send(settings_of(stack), topic, given, sent)
    assert [message.value() for message in messages(stack, topic)] == [b"1", b"3"]
    assert [message.value() for message in messages(stack, other)] == [b"2"]
    assert sent == Sent(given=3, delivered=3)


def test_without_a_timestamp_it_is_the_time_of_sending(stack: Stack) -> None:
    topic, before = new_topic(stack), time.time() * 1000
    send(settings_of(stack), topic, [RawRecord(b"a", b"1")], Sent())
    (message,) = messages(stack, topic)
    assert before - 1 <= message.timestamp()[1] <= time.time() * 1000


def test_a_key_s_records_stay_in_order_however_many(stack: Stack) -> None:
    topic, sent = new_topic(stack, partitions=3), Sent()
    given = [RawRecord(f"k{n % 7}".encode(), str(n).encode()) for n in range(150_000)]
    send(settings_of(stack), topic, given, sent)
    assert sent.delivered == 150_000
    last: dict[bytes | None, int] = {}
    for message in messages(stack, topic):
        number = int(message.value() or b"")
        assert last.get(message.key(), -1) < number
        last[message.key()] = number
    assert len(last) == 7


def test_a_rate_spaces_records_out_and_what_is_overdue_goes_at_once(stack: Stack) -> None:
    topic = new_topic(stack)
    given: list[float] = []

    def records() -> Iterator[RawRecord]:
        for number in range(21):
            given.append(time.monotonic())
            if number == 5:
                threading.Event().wait(0.5)
            yield RawRecord(None, b"x")

    began = time.monotonic()
    send(settings_of(stack), topic, records(), Sent(), rate=20)
    assert time.monotonic() - began >= 20 / 20
    # The fifth was held up for half a second; the ten that were due meanwhile are not spaced out.
    assert given[15] - given[6] < 0.4


def test_a_stop_ends_an_endless_feed_and_keeps_what_was_sent(stack: Stack) -> None:
    topic, sent, stop = new_topic(stack), Sent(), threading.Event()

    def records() -> Iterator[RawRecord]:
        while True:
            if sent.given == 100:
                stop.set()
            yield RawRecord(None, b"x")

    send(settings_of(stack), topic, records(), sent, stop=stop)
    assert sent.given == sent.delivered == len(list(messages(stack, topic))) == 100


def test_a_stop_does_not_wait_for_the_next_record_to_be_due(stack: Stack) -> None:
    topic, sent, stop = new_topic(stack), Sent(), threading.Event()
    endless = iter(lambda: RawRecord(None, b"x"), None)
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    send(settings_of(stack), topic, endless, sent, rate=0.01, stop=stop)
    assert time.monotonic() - began < 20
    assert sent.delivered == 1


def test_a_refused_record_is_a_failure_with_its_cause_and_nothing_follows(stack: Stack) -> None:
    topic, sent = new_topic(stack, message_timestamp_before_max_ms=str(DAY)), Sent()
    now = time.time_ns() // 1_000_000

    def records() -> Iterator[RawRecord]:
        yield RawRecord(None, b"good", now)
        deadline = time.monotonic() + 10
        while not sent.delivered and time.monotonic() < deadline:
            # The client reports deliveries when it is given something.
            yield RawRecord(None, b"filler", now)
        yield RawRecord(None, b"old", now - 2 * DAY)
        while time.monotonic() < deadline:
            yield RawRecord(None, b"after", now)

    with pytest.raises(
        BrokerError, match=r"cannot send to raw\.writer.*Invalid timestamp"
    ) as raised:
        send(settings_of(stack), topic, records(), sent)
    assert "message.timestamp.before.max.ms" in str(raised.value)
    there = [message.value() for message in messages(stack, topic)]
    # What was on its way when the refusal was noticed may have arrived unheard: that is `unsure`.
    assert sent.delivered <= len(there) <= sent.delivered + sent.unsure < sent.given
    assert b"old" not in there


def test_a_record_beyond_the_topic_s_limit_says_which_limit(stack: Stack) -> None:
    topic, sent = new_topic(stack, max_message_bytes="1000"), Sent()
    with pytest.raises(BrokerError, match=r"max\.message\.bytes"):
        send(settings_of(stack), topic, [RawRecord(None, random.randbytes(25_000))], sent)
    assert sent.delivered == 0


def test_where_reading_fails_what_was_read_before_is_delivered(stack: Stack) -> None:
    topic, sent = new_topic(stack), Sent()

    def records() -> Iterator[RawRecord]:
        yield RawRecord(None, b"1")
        yield RawRecord(None, b"2")
        raise LookupError("the third is wrong")

    with pytest.raises(LookupError):
        send(settings_of(stack), topic, records(), sent)
    assert sent == Sent(given=2, delivered=2)
    assert [message.value() for message in messages(stack, topic)] == [b"1", b"2"]


def test_no_broker_is_a_failure_in_time_and_the_records_are_in_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "DELIVERY_SECONDS", 1.0)
    sent = Sent()
    with pytest.raises(BrokerError, match="is the broker running"):
        send(nowhere(), "raw.orders", [RawRecord(None, b"x")] * 3, sent)
    assert (sent.given, sent.delivered, sent.unsure) == (3, 0, 3)
