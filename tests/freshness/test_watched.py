"""One product under watch: what is read of its partitions, and what that amounts to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh_stream.errors import RegistryError
from mesh_stream.freshness.sli import Evidence, Waiting
from mesh_stream.freshness.watched import Extent, Spans, Watched
from mesh_stream.pipeline.avro_input import SchemaId
from mesh_stream.product.loader import load_mesh
from mesh_stream.product.product import Product
from mesh_stream.runtime.report import WorkerState
from mesh_stream.runtime.status import Status
from mesh_stream.testing.memory import MemoryMessage, MemorySchemas

ROOT = Path(__file__).parent.parent.parent
RAW, OUT = ("raw.orders", 0), ("orders.orders-completed.v1", 0)
NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def products() -> Mapping[str, Product]:
    return load_mesh(ROOT / "products").products


@pytest.fixture
def watched(products: Mapping[str, Product]) -> Watched:
    return Watched(products["orders-completed"], MemorySchemas())


def extent(raw: int, *, committed: int | None = None, begin: int = 0, out: int = 0) -> Extent:
    done = {} if committed is None else {RAW: committed}
    return Extent(done, {RAW: begin, OUT: 0}, {RAW: raw, OUT: out})


def record(offset: int, arrived: float, happened: float | None = None) -> MemoryMessage:
    fields: dict[str, Any] = {"status": "completed"}
    if happened is not None:
        fields["occurred_at"] = int(happened * 1000)
    value = json.dumps(fields).encode()
    stamp = (1, int(arrived * 1000))
    return MemoryMessage(RAW[0], value, record_timestamp=stamp, record_offset=offset)


def fact(offset: int, published: float) -> MemoryMessage:
    stamp = (1, int(published * 1000))
    return MemoryMessage(OUT[0], b"", record_timestamp=stamp, record_offset=offset)


def status(**moments: float) -> dict[int, Status]:
    milliseconds: dict[str, Any] = {name: int(at * 1000) for name, at in moments.items()}
    running = WorkerState.RUNNING
    return {0: Status("orders-completed", "1", 0, running, int(NOW * 1000), 0, **milliseconds)}


def see(watched: Watched, reached: Extent, *messages: MemoryMessage, at: float = NOW) -> Evidence:
    """Answer one look with those of the records that it asks for."""
    wanted: Spans = watched.spans(reached)
    for partition, span in wanted.heads.items():
        if span[0] < span[1]:
            within = (m for m in messages if m.topic() == RAW[0] and m.offset() >= span[0])
            watched.take_head(span, partition, next(within, None), at)
    for asked, take in ((wanted.tails, watched.take_tail), (wanted.facts, watched.take_facts)):
        for partition, (begin, end) in asked.items():
            found = [m for m in messages if m.topic() == partition[0] and begin <= m.offset() < end]
            take((begin, end), partition, found, at)
    return watched.evidence({}, at)


def test_the_record_at_the_committed_offset_waits(watched: Watched) -> None:
    records = [record(n, NOW - 50 + n) for n in range(5)]
    found = see(watched, extent(5, committed=2), *records)
    assert found.waiting == Waiting(NOW - 48, NOW - 48)
    assert found.last_asked == found.newest_input == NOW - 49
    assert see(watched, extent(5, committed=5), *records).waiting is None


def test_of_a_group_that_has_committed_nothing_everything_waits(watched: Watched) -> None:
    found = see(watched, extent(2), record(0, NOW - 9), record(1, NOW - 8))
    assert found.waiting == Waiting(NOW - 9, NOW - 9)
    assert found.last_asked is None


def test_what_has_not_moved_is_not_read_again(watched: Watched) -> None:
    here = extent(5, committed=2)
    see(watched, here, *(record(n, NOW - 50 + n) for n in range(5)))
    again = watched.spans(here)
    assert [end - begin for begin, end in again.heads.values()] == [0]
    assert [end - begin for begin, end in again.tails.values()] == [0]
    assert [end - begin for begin, end in again.facts.values()] == [0]
    # More has come, but the record that waits is the same.
    assert watched.spans(extent(9, committed=2)).heads[RAW] == (9, 9)
    assert watched.spans(extent(9, committed=3)).heads[RAW] == (3, 9)
    assert watched.spans(extent(9, committed=3)).tails[RAW] == (2, 3)


def test_where_only_markers_follow_only_what_comes_behind_them_is_read(watched: Watched) -> None:
    assert see(watched, extent(4, committed=2)).waiting is None
    assert watched.spans(extent(4, committed=2)).heads[RAW] == (4, 4)
    assert watched.spans(extent(6, committed=2)).heads[RAW] == (4, 6)


def test_records_that_retention_took_wait_no_longer(watched: Watched) -> None:
    reached = extent(9, committed=2, begin=6)
    assert reached.start(RAW) == 6
    assert watched.spans(reached).heads[RAW] == (6, 9)


def test_an_offset_behind_the_end_is_of_a_topic_that_was_made_anew(watched: Watched) -> None:
    see(watched, extent(5, committed=5), *(record(n, NOW - 50 + n) for n in range(5)))
    reached = extent(1, committed=5)
    assert reached.start(RAW) == 0
    found = see(watched, reached, record(0, NOW - 1))
    assert found.waiting == Waiting(NOW - 1, NOW - 1)
    assert found.newest_input is None


def test_the_record_that_is_due_first_counts_of_several_partitions(watched: Watched) -> None:
    other = (RAW[0], 1)
    reached = Extent({}, {RAW: 0, other: 0}, {RAW: 1, other: 1})
    spans = watched.spans(reached)
    watched.take_head(spans.heads[RAW], RAW, record(0, NOW - 100), NOW)
    # It happened long ago, but has just come: it is not due before the other.
    late = record(0, NOW - 1, happened=NOW - 9_000)
    watched.take_head(spans.heads[other], other, late, NOW)
    assert watched.evidence({}, NOW).waiting == Waiting(NOW - 100, NOW - 100)


def test_the_newest_fact_is_the_youngest_that_was_seen(watched: Watched) -> None:
    assert see(watched, extent(0, out=2), fact(0, NOW - 5), fact(1, NOW - 9)).newest_fact == NOW - 5
    assert see(watched, extent(0, out=3), fact(2, NOW - 7)).newest_fact == NOW - 5
    watched.forget(OUT[0])
    assert see(watched, extent(0, out=3), fact(2, NOW - 7)).newest_fact == NOW - 7


class AwayRegistry(MemorySchemas):
    """A registry that cannot be asked."""

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        raise RegistryError("it is away")


def test_a_fact_that_was_guessed_is_read_again_and_does_not_stick(
    products: Mapping[str, Product],
) -> None:
    watched = Watched(products["orders-completed"], AwayRegistry())
    guessed = replace(fact(0, NOW - 5), payload=b"\x00\x00\x00\x00\x07x")
    reached = extent(0, out=1)
    assert see(watched, reached, guessed).newest_fact == NOW - 5
    assert watched.spans(reached).facts[OUT] == (0, 1)
    assert see(watched, reached, fact(0, NOW - 60)).newest_fact == NOW - 60


def test_a_worker_tells_what_was_asked_for_and_what_it_said_is_remembered(watched: Watched) -> None:
    see(watched, extent(5, committed=5), record(4, NOW - 1))
    told = status(last_asked=NOW - 30, newest_event=NOW - 40, newest_input=NOW - 35)
    found = watched.evidence(told, NOW)
    # Later records were filtered: it would know.
    assert (found.last_asked, found.newest_fact) == (NOW - 30, NOW - 40)
    assert found.newest_input == NOW - 1
    # Another process in its place has not yet seen anything.
    assert watched.evidence(status(), NOW + 1).last_asked == NOW - 30


def test_facts_that_say_no_time_count_by_what_the_worker_says(
    products: Mapping[str, Product],
) -> None:
    product = products["orders-completed"]
    timeless = replace(product, output=replace(product.output, event_time=None))
    watched = Watched(timeless, MemorySchemas())
    assert see(watched, extent(0, out=1), fact(0, NOW - 5)).newest_fact == NOW - 5
    assert watched.evidence(status(newest_event=NOW - 70), NOW).newest_fact == NOW - 70


def test_since_when_a_fact_is_asked_for_begins_anew_with_each(watched: Watched) -> None:
    def since(asked: float, newest: float) -> float | None:
        told = status(last_asked=asked, newest_event=newest)
        return watched.evidence(told, NOW).asked_since

    assert since(NOW - 90, NOW - 95) == NOW - 90
    assert since(NOW - 80, NOW - 95) == NOW - 90
    # A fact: what was asked before it is answered.
    assert since(NOW - 70, NOW - 75) == NOW - 70
    assert since(NOW - 60, NOW - 75) == NOW - 60
    assert since(NOW - 50, NOW - 75) == NOW - 60


def test_events_on_their_way_wait_since_their_record_arrived(
    products: Mapping[str, Product],
) -> None:
    product = products["revenue-hourly"]
    assert product.state is not None
    product = replace(product, state=replace(product.state, repartitions=True))
    watched = Watched(product, MemorySchemas())
    own = (product.repartition_topic, 0)
    assert own[0] in watched.needs
    spans = watched.spans(Extent({}, {own: 0}, {own: 1}))
    value = {"is": "event", "at": (NOW - 70) * 1000, "arrived": (NOW - 60) * 1000}
    text = json.dumps({key: int(v) if isinstance(v, float) else v for key, v in value.items()})
    event = MemoryMessage(own[0], text.encode(), record_timestamp=(1, int(NOW * 1000)))
    watched.take_head(spans.heads[own], own, event, NOW)
    assert spans.tails == {}
    assert watched.evidence({}, NOW).waiting == Waiting(NOW - 60, NOW - 70)
