from __future__ import annotations

from pathlib import Path

import pytest

from mesh_stream.kafka import topics
from mesh_stream.kafka.client import admin
from mesh_stream.kafka.raw_file import Checked, Reading
from mesh_stream.kafka.raw_topic import TopicRefusedError, concerns, raw_topic
from mesh_stream.kafka.topics import Topic
from mesh_stream.local.stack import Stack
from tests.kafka.declaring import settings_of, unique

PRODUCTS = Path(__file__).parents[2] / "products"
DAY = 86_400_000
NOW = 1_800_000_000_000
KEYED = Reading(key="order_id")
TIMED = Reading(key="order_id", event_time="occurred_at")


def topic(**settings: str) -> Topic:
    dotted = {name.replace("_", "."): text for name, text in settings.items()}
    return Topic("raw.orders", 4, 1, dotted)


def from_days_ago(days: float) -> Checked:
    return Checked(records=2, bytes=20, oldest=NOW - int(days * DAY), newest=NOW)


@pytest.mark.kafka
def test_a_topic_that_exists_is_described(stack: Stack) -> None:
    asking, name = admin(settings_of(stack)), f"raw.{unique('topic')}"
    topics.create(asking, name, partitions=3, replicas=1, settings={})
    assert raw_topic(asking, name, products=PRODUCTS).partitions == 3


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_refused_with_what_creates_it(stack: Stack) -> None:
    with pytest.raises(TopicRefusedError, match="mesh-stream apply --create-inputs") as raised:
        raw_topic(admin(settings_of(stack)), f"raw.{unique('none')}", products=PRODUCTS)
    assert raised.value.exit_code == 2


@pytest.mark.kafka
@pytest.mark.parametrize(
    "name",
    [
        "orders.orders-completed.v1",
        "orders.orders-completed.v12",
        "dlq.orders.orders-completed",
        "mesh.orders-completed.changelog",
        "__consumer_offsets",
    ],
)
def test_topics_that_workers_write_are_no_raw_topics(stack: Stack, name: str) -> None:
    with pytest.raises(TopicRefusedError, match="written by workers alone"):
        raw_topic(admin(settings_of(stack)), name, products=PRODUCTS)


@pytest.mark.kafka
def test_a_source_may_have_versions_in_its_topics_names(stack: Stack) -> None:
    asking, name = admin(settings_of(stack)), f"shop.{unique('orders')}.v2"
    topics.create(asking, name, partitions=1, replicas=1, settings={})
    assert raw_topic(asking, name, products=PRODUCTS).name == name


def test_a_compacted_topic_takes_no_records_without_a_key() -> None:
    compacted = topic(cleanup_policy="compact")
    with pytest.raises(TopicRefusedError, match="--key"):
        list(concerns(compacted, Reading(), Checked(), now=NOW))
    assert list(concerns(compacted, KEYED, Checked(), now=NOW)) == []


def test_old_records_on_a_topic_that_forgets_are_a_concern() -> None:
    (sentence,) = concerns(topic(retention_ms=str(7 * DAY)), TIMED, from_days_ago(5_000), now=NOW)
    assert sentence.startswith("topic raw.orders keeps records for 7 days (retention.ms=604800000)")
    assert "the oldest of these is 5,000 days old" in sentence
    assert "or leave --event-time out" in sentence


@pytest.mark.parametrize(
    ("there", "reading", "checked"),
    [
        (topic(retention_ms=str(7 * DAY)), TIMED, from_days_ago(6.9)),
        (topic(retention_ms=str(7 * DAY)), KEYED, from_days_ago(5_000)),
        (topic(retention_ms="-1"), TIMED, from_days_ago(5_000)),
        (topic(retention_ms=str(DAY), cleanup_policy="compact"), TIMED, from_days_ago(5_000)),
        (topic(retention_ms=str(DAY)), TIMED, Checked()),
        (Topic("raw.orders", 1, 1, None), TIMED, from_days_ago(5_000)),
    ],
)
def test_records_that_stay_are_none(there: Topic, reading: Reading, checked: Checked) -> None:
    assert list(concerns(there, reading, checked, now=NOW)) == []


def test_a_topic_that_stamps_records_itself_makes_event_time_vain() -> None:
    stamping = topic(message_timestamp_type="LogAppendTime", retention_ms=str(DAY))
    (sentence,) = concerns(stamping, TIMED, from_days_ago(5_000), now=NOW)
    assert "--event-time has no effect" in sentence
    assert list(concerns(stamping, KEYED, Checked(), now=NOW)) == []
