"""The nouns of the path."""

from __future__ import annotations

from mesh_stream import filtered
from mesh_stream.pipeline.record import Filtered, where
from tests.pipeline.making import message


def test_a_record_is_named_by_topic_partition_and_offset() -> None:
    assert where(message(offset=42)) == "raw.orders[0]@42"


def test_a_filter_carries_its_reason() -> None:
    assert filtered("not_completed") == Filtered("not_completed")
    assert filtered("not_completed").reason == "not_completed"
