"""Where events go: into the fold, or to the product's own topic first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.pipeline.pipeline import Pipeline
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.sinks import state_keys
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import Action, Between, Emit, Hopping, Product, Rule
from mesh_stream.testing import MemoryMessage, MemorySchemas, ProductDriver
from tests.pipeline.making import MILLIS, contract, message, port, transformation
from tests.pipeline.remembering import (
    HOUR,
    MINUTE,
    T0,
    Course,
    Move,
    add,
    events_from,
    record,
    remembering,
    state,
)

WINDOW = Hopping(HOUR, HOUR)


def splitting(event: dict[str, Any]) -> Iterator[Any]:
    for units in event["units"]:
        yield {"sku": event["sku"], "units": units, "at": T0}


def split(*, direct: bool = True, **parts: Any) -> ProductDriver:
    def fold(before: Any, event: Move) -> Any:
        if event.units < 0:
            raise ValueError("negative")
        return add(before, event)

    said = state(fold, repartitions=not direct, **parts)
    source = dataclasses.replace(port(transformation(splitting)), key="sku" if direct else None)
    warns = Rule("small", Between(None, 10), "units", Action.WARN)
    return ProductDriver(remembering(said, source, rules=[warns]))


# Direct


@pytest.mark.parametrize("parts", [{}, {"ttl": HOUR}, {"window": WINDOW}])
def test_the_events_of_one_record_are_added_all_or_none(parts: dict[str, Any]) -> None:
    one = split(**parts)
    with one.one_commit():
        one.send({"sku": "a", "units": [1, 2]})
        torn = one.send({"sku": "a", "units": [20, -1]})
        one.send({"sku": "a", "units": [4]})

    assert torn.rejected is not None
    assert (torn.rejected.rule, torn.tolerated) == ("transformation", [])
    assert [(fact["count"], fact["units"]) for fact in one.facts] == [(3, 7)]
    assert not one.tolerated
    assert one.send({"sku": "a", "units": []}).filtered == "no_records"


@pytest.mark.parametrize("key", [None, b"", b"b", b"\xff"])
def test_a_record_that_is_not_keyed_as_declared_is_wrong(key: bytes | None) -> None:
    product = remembering(state(repartitions=False))
    course = Course(product, {("raw.moves", 0): []})
    wrong = MemoryMessage("raw.moves", b'{"sku":"a","units":1}', key, None, (1, T0))
    course.logs["raw.moves", 0] = [wrong, record(Move("a", 1), 1)]
    course.finish()

    (rejected,) = course.done.letters
    assert (rejected.fault_class, rejected.rule) == ("contract", "key")
    assert "mend the source, or leave the input's `key` out" in rejected.reason
    assert [fact["count"] for fact in course.published()] == [1]


def test_what_is_rejected_does_not_move_the_watermark() -> None:
    one = split(window=WINDOW)
    one.send({"sku": "a", "units": [1]}, timestamp=T0 + MINUTE)
    one.send({"sku": "a", "units": [-1]}, timestamp=T0 + 5 * HOUR)

    assert one.send({"sku": "a", "units": [1]}, timestamp=T0).facts


def test_states_are_fetched_for_a_whole_run_at_once() -> None:
    run = [message(key=b"a"), message(key=None), message(key=b"b")]

    assert state_keys(run) == [STATE + b"a", STATE + b"b"]


# When what facts are made of arrived


def arrivals(course: Course) -> list[tuple[int, int]]:
    course.settle()
    return [(fact.event_time, fact.arrived) for fact in course.done.facts]


@pytest.mark.parametrize("parts", [{}, {"window": WINDOW}, {"ttl": HOUR}])
@pytest.mark.parametrize("repartitions", [False, True])
def test_a_fact_came_when_its_input_record_did_and_happened_when_its_event_did(
    repartitions: bool, parts: dict[str, Any]
) -> None:
    product = remembering(state(repartitions=repartitions, **parts))
    log = [record(Move("a", 1, T0), 0, timestamp=T0 + 7)]
    course = Course(product, {("raw.moves", 0): log})

    assert arrivals(course) == [(T0, T0 + 7)]


def test_a_fact_that_says_itself_when_it_happened_came_when_its_input_record_did() -> None:
    def dated(_key: Any, _window: Any, _state: Any) -> dict[str, Any]:
        return {"at": T0 - 5}

    product = remembering(
        state(fact=dated, repartitions=False), facts=contract(at=MILLIS), event_time="at"
    )
    course = Course(product, {("raw.moves", 0): [record(Move("a", 1, T0), 0, timestamp=T0 + 7)]})

    assert arrivals(course) == [(T0 - 5, T0 + 7)]


@pytest.mark.parametrize("repartitions", [False, True])
def test_a_window_came_with_the_newest_record_there_was_when_it_closed(repartitions: bool) -> None:
    said = state(window=WINDOW, emit=Emit.ON_CLOSE, repartitions=repartitions)
    log = [
        record(Move("a", 1, T0), 0, timestamp=T0 + 7),
        record(Move("a", 2, T0 + 2 * HOUR), 1, timestamp=T0 + 3 * HOUR),
    ]
    course = Course(remembering(said), {("raw.moves", 0): log})

    assert arrivals(course) == [(T0 + HOUR, T0 + 3 * HOUR)]


def test_a_window_that_a_notice_closes_came_with_the_notice() -> None:
    said = state(window=WINDOW, emit=Emit.ON_CLOSE)
    course = Course(remembering(said), {("raw.moves", 0): [record(Move("a", 1, T0), 0)]})
    course.settle()
    topic = str(course.topic)
    told = b'{"is":"notice","highest":{"raw.moves:0":%d}}' % (T0 + 9 * HOUR)
    notice = MemoryMessage(topic, told, None, None, (1, T0 + 10 * HOUR), 1)
    course.logs[topic, 0].append(notice)

    assert arrivals(course) == [(T0 + HOUR, T0 + 10 * HOUR)]


def test_an_event_from_before_arrivals_were_written_came_when_it_came_to_the_own_topic() -> None:
    event = b'{"is":"event","at":%d,"source":"raw.moves:0","offset":0,"highest":0,"event":%s}'
    course = arriving(event % (T0, b'{"sku":"a","units":1}'))

    assert [fact.arrived for fact in course.done.facts] == [T0]


@pytest.mark.parametrize(
    ("parts", "newest"), [({"window": WINDOW}, T0 + 5), ({"ttl": HOUR}, T0 + 5), ({}, -1)]
)
def test_the_newest_input_of_a_run_is_told_where_time_matters(
    parts: dict[str, Any], newest: int
) -> None:
    course = Course(remembering(state(repartitions=False, **parts)), {("raw.moves", 0): []})
    outcome = Outcome()
    times = [T0, T0 + 5, T0 + 2]
    run = [record(Move("a", 1, at), n, timestamp=T0 + 7) for n, at in enumerate(times)]

    course.paths.pipelines["raw.moves"].process(run, outcome)

    assert (outcome.arrived, outcome.newest_input) == (T0 + 7, newest)


def test_an_input_from_the_future_is_as_new_as_its_arrival() -> None:
    product = remembering(state(window=WINDOW, repartitions=False))
    course = Course(product, {("raw.moves", 0): []})
    outcome = Outcome()

    run = [record(Move("a", 1, T0 + MINUTE), 0, timestamp=T0)]
    course.paths.pipelines["raw.moves"].process(run, outcome)

    assert outcome.newest_input == T0


# Forward


def own(product: Product) -> tuple[Pipeline, Any]:
    paths = paths_of(product, schema_id=1, writers=MemorySchemas())
    return paths.pipelines["raw.moves"], paths.forwards["raw.moves"]


def test_events_go_on_with_their_key_their_time_and_what_their_source_knew() -> None:
    pipeline, forward = own(remembering(state(window=WINDOW)))
    outcome = Outcome()

    pipeline.process(
        [
            record(Move("a", 1, T0), 4, partition=3, timestamp=T0 + 7),
            record(Move("é", 2, T0 - 5), 5, partition=3, timestamp=T0 + 8),
        ],
        outcome,
    )

    assert [fact.key for fact in outcome.facts] == [b"a", "é".encode()]
    assert {fact.event_time for fact in outcome.facts} == {-1}
    assert [msgspec.json.decode(fact.value) for fact in outcome.facts] == [
        {"is": "event", "at": at, "source": "raw.moves:3", "offset": offset, "highest": highest,
         "event": {"sku": sku, "units": units, "at": at}, "arrived": arrived}
        for at, offset, highest, sku, units, arrived in
        [(T0, 4, NEVER, "a", 1, T0 + 7), (T0 - 5, 5, T0, "é", 2, T0 + 8)]
    ]  # fmt: skip
    assert (outcome.sources, forward.highest) == (2, {"raw.moves:3": T0})
    assert (outcome.arrived, outcome.newest_input) == (T0 + 8, T0)


def test_the_events_of_one_record_go_on_all_or_none() -> None:
    one = split(direct=False)

    for units in ([1, "two"], [1, None]):
        sent = one.send({"sku": "a", "units": units})
        assert sent.rejected is not None
        assert sent.rejected.rule == "transformation"
        assert (sent.facts, one.states) == ([], {})
    one.send({"sku": "a", "units": [1, 2]})
    assert [(fact["count"], fact["units"]) for fact in one.facts] == [(2, 3)]


def test_an_event_that_cannot_be_written_is_the_codes_fault() -> None:
    def odd(_record: dict[str, Any]) -> Any:
        return Move("a", object(), T0)  # type: ignore[arg-type]  # what it must not

    one = ProductDriver(remembering(state(), port(transformation(odd))))
    sent = one.send({})

    assert sent.rejected is not None
    assert (sent.rejected.fault_class, sent.rejected.rule) == ("code", "transformation")
    assert sent.rejected.message.topic() == "raw.orders"


# Repartitioned


def arriving(value: bytes, key: bytes | None = b"a") -> Course:
    course = Course(remembering(state(window=WINDOW)), {("raw.moves", 0): []})
    topic = str(course.topic)
    course.logs[topic, 0] = [MemoryMessage(topic, value, key, None, (1, T0))]
    course.settle()
    return course


def test_what_somebody_else_wrote_to_the_own_topic_is_a_dead_letter() -> None:
    event = b'{"is":"event","at":5,"source":"raw.moves:0","offset":0,"highest":0,"event":%s}'
    whole = event % b'{"sku":"a","units":1}'
    for value, key, rule in (
        (b"junk", b"a", "malformed"),
        (b'{"is":"other"}', b"a", "type"),
        (event % b"{}", b"a", "type"),
        (whole, None, "key"),
    ):
        assert [rejected.rule for rejected in arriving(value, key).done.letters] == [rule]
    assert arriving(whole).done.letters == []


def test_a_notice_is_no_event_and_moves_the_watermark() -> None:
    course = arriving(b'{"is":"notice","highest":{"raw.moves:0":7},"idle":["raw.b:0"]}', None)

    assert (course.done.filtered, course.done.letters) == (["watermark"], [])
    progress = course.fold.shards[0].watermark.progress()
    assert (progress.highest, progress.idle) == ({"raw.moves:0": 7}, ("raw.b:0",))


def test_inputs_of_several_topics_may_feed_one_fold() -> None:
    ports = [events_from("raw.a"), events_from("raw.b")]
    one = ProductDriver(remembering(state(), *ports), partitions=4)
    for n in range(8):
        one.send({"sku": "ab"[n % 2], "units": 1}, topic=["raw.a", "raw.b"][n // 4])

    assert {fact["sku"]: fact["count"] for fact in one.facts} == {"a": 4, "b": 4}
