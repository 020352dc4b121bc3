"""A run of records comes to what its records come to one by one, which go the ordinary way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import DependencyError, HaltError
from mesh_stream.pipeline.paths import Paths, paths_of
from mesh_stream.pipeline.pipeline import Interrupted, Pipeline
from mesh_stream.pipeline.record import Outcome, SourceContext, filtered
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import codec_of, type_entry
from mesh_stream.product.folding import Folding, as_it_comes
from mesh_stream.product.product import Action, Between, Holds, Limits, NotNull, Product, Rule
from mesh_stream.testing import MemoryMessage, MemorySchemas, MemoryStore
from tests.pipeline.making import (
    LINE,
    MILLIS,
    TOPIC,
    contract,
    contract_of,
    message,
    port,
    product,
    transformation,
)
from tests.pipeline.remembering import T0, function, remembering, state


def told(outcome: Outcome) -> dict[str, Any]:
    """What became of records. When they came is told of a run by its last one only: left out."""
    found = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
    del found["arrived"]
    return found | {"rejected": [(one[0].offset(), *one[1:]) for one in outcome.rejected]}


def together(pipeline: Pipeline, run: Sequence[MemoryMessage]) -> dict[str, Any]:
    """A run at once: the quick way as far as it goes."""
    outcome = Outcome()
    if run:
        pipeline.process(run, outcome)
    return told(outcome)


def one_by_one(pipeline: Pipeline, run: Sequence[MemoryMessage]) -> dict[str, Any]:
    """The same by the ordinary way."""
    outcome = Outcome()
    for record in run:
        pipeline.process([record], outcome)
    return told(outcome)


def without_the_ordinary(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A pipeline in which the quick way has to do."""

    def refuse(message: MemoryMessage, _outcome: Outcome) -> None:
        raise AssertionError(f"went the ordinary way: {message.value()!r}")

    monkeypatch.setattr(pipeline, "_take", refuse)
    return pipeline


# Without a state


class Order(msgspec.Struct, frozen=True):
    """An input record."""

    id: str
    units: int
    does: str = ""


class Sold(msgspec.Struct, frozen=True):
    """What becomes a fact."""

    id: str
    units: int
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class SoldToo(msgspec.Struct, rename={"amount": "units", "units": "boxes"}):
    """What becomes the same fact, by other attributes."""

    id: str
    amount: int
    units: int = 1
    at: int = T0


def sell(order: Order) -> Any:
    match order.does:
        case "raise":
            raise ValueError("not this one")
        case "nothing":
            return None
        case "leave out":
            return filtered("not_this_one")
        case "twice":
            return [Sold(order.id, order.units), Sold(order.id, -order.units)]
        case "one by one":
            return (Sold(order.id, units) for units in range(order.units))
        case "other type":
            return SoldToo(order.id, order.units)
        case "misfit":
            return Sold(order.id, "many")  # type: ignore[arg-type]  # what it must not
        case "no record":
            return 5
        case "away":
            raise DependencyError("not there now")
    return Sold(order.id, order.units)


def sell_by_source(order: Order, source: SourceContext) -> Any:
    return None if source.offset == 3 else sell(order)


def good(record: Any) -> bool:
    if record.units == 17:
        raise LookupError("unlucky")
    return bool(record.units != 18)


SALES = contract(id="string", units="long", at=MILLIS)
SALES_RULES = [
    Rule("not_negative", Between(0, None), "units"),
    Rule("known", NotNull(), "id"),
    Rule("not_much", Between(None, 25), "units", Action.WARN),
    Rule("good", Holds(good), None),
]
DOES = [
    *("", "", "", "", "raise", "nothing", "leave out", "twice", "one by one", "other type"),
    *("misfit", "no record"),
]


def order(units: int = 1, does: str = "", sku: str = "a") -> bytes:
    return json.dumps({"id": sku, "units": units, "does": does}).encode()


# Too large, but for what becomes of it.
_WIDE = json.dumps({"id": "a", "units": 1, "more": "x" * 400}).encode()
VALUES = st.one_of(
    st.builds(
        order,
        st.integers(-2, 28),
        st.sampled_from(DOES),
        st.sampled_from(["a", "ä", "x" * 60]),
    ),
    st.sampled_from([None, b"", b"{", b"null", b"[]", b'{"id": 1}', _WIDE]),
)
KEYS = st.sampled_from([None, b"", b"k", b"\xff"])
TIMES = st.sampled_from([(1, T0), (1, T0 + 5), (0, -1), (1, -1)])
RUNS = st.lists(st.tuples(VALUES, KEYS, TIMES), max_size=12)


def selling(
    call: Callable[..., Any] = sell, *, key: str | None = None, event_time: str | None = None
) -> Pipeline:
    """A pipeline that has made its first fact."""
    made = product(
        SALES,
        port(transformation(call, Order, context=call is sell_by_source)),
        rules=SALES_RULES,
        key=key,
        event_time=event_time,
        limits=Limits(input_bytes=200, record_bytes=60, fanout=3),
    )
    pipeline = paths_of(made, schema_id=7, writers=MemorySchemas()).pipelines[TOPIC]
    pipeline.process([message(order())], Outcome())
    return pipeline


def orders(values: Sequence[bytes]) -> list[MemoryMessage]:
    return [message(value, offset=offset) for offset, value in enumerate(values)]


@pytest.mark.parametrize("call", [sell, sell_by_source])
@pytest.mark.parametrize(("key", "event_time"), [(None, None), ("id", "at")])
@given(run=RUNS)
def test_a_run_is_its_records(
    call: Callable[..., Any], key: str | None, event_time: str | None, run: list[tuple[Any, ...]]
) -> None:
    one, other = (selling(call, key=key, event_time=event_time) for _ in range(2))
    records = [
        message(value, key=key, timestamp=at, offset=offset)
        for offset, (value, key, at) in enumerate(run)
    ]

    assert together(one, records) == one_by_one(other, records)


def test_records_that_become_one_fact_or_none_go_the_quick_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = without_the_ordinary(selling(), monkeypatch)
    run = orders([order(2), order(does="nothing"), order(does="leave out"), order(3)])

    found = together(pipeline, run)

    assert (found["consumed"], found["sources"], len(found["facts"])) == (4, 2, 2)
    assert found["filtered"] == {"unspecified": 1, "not_this_one": 1}


def test_a_record_with_an_odd_one_before_it_goes_the_quick_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, ordinary = selling(), []
    take = pipeline._take

    def note(record: Any, outcome: Outcome) -> None:
        ordinary.append(record.offset())
        take(record, outcome)

    monkeypatch.setattr(pipeline, "_take", note)
    odd = order(-1)

    found = together(pipeline, orders([order(), odd, order(), odd, order(), order()]))

    assert ordinary == [1, 3]
    assert (found["sources"], [one[0] for one in found["rejected"]]) == (4, [1, 3])


def test_a_run_of_odd_records_is_asked_for_the_quick_way_less_and_less() -> None:
    calls = []

    def odd(one: Order) -> Any:
        calls.append(one.units)
        return sell(one)

    pipeline = selling(odd)
    calls.clear()

    together(pipeline, orders([order(-1)] * 100))

    assert len(calls) <= 100 + 7


def test_the_type_of_the_first_fact_need_not_be_the_usual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = product(SALES, port(transformation(sell, Order)))
    pipeline = paths_of(made, schema_id=7, writers=MemorySchemas()).pipelines[TOPIC]
    together(pipeline, orders([order(does="other type")]))
    together(pipeline, orders([order()] * 2))

    found = together(without_the_ordinary(pipeline, monkeypatch), orders([order()] * 2))

    assert len(found["facts"]) == 2


def test_a_dependency_that_is_away_stops_the_run_where_it_is() -> None:
    pipeline, outcome = selling(), Outcome()
    run = orders([order(), order(), order(does="away"), order()])

    with pytest.raises(Interrupted) as caught:
        pipeline.process(run, outcome)

    assert (caught.value.done, outcome.consumed, len(outcome.facts)) == (2, 2, 2)


def test_a_rule_that_stops_all_stops_the_quick_way() -> None:
    rules = [Rule("not_negative", Between(0, None), "units", Action.FAIL)]
    made = product(SALES, port(transformation(sell, Order)), rules=rules)
    pipeline = paths_of(made, schema_id=7, writers=MemorySchemas()).pipelines[TOPIC]
    pipeline.process([message(order())], Outcome())

    with pytest.raises(HaltError, match=r"raw.orders\[0\]@1 breaks the rule not_negative"):
        pipeline.process(orders([order(), order(-1), order()]), Outcome())


def test_facts_of_any_schema_go_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = contract_of(
        {"name": "id", "type": "string"},
        {"name": "lines", "type": {"type": "array", "items": LINE}},
    )
    made = product(facts, port(), key="id")
    one, other = (
        paths_of(made, schema_id=7, writers=MemorySchemas()).pipelines[TOPIC] for _ in range(2)
    )
    line = {"sku": "s", "price": "1.50", "due": "2026-01-01T00:00:00Z"}
    run = orders([json.dumps({"id": "a", "lines": [line] * count}).encode() for count in range(5)])
    one.process(run[:1], Outcome())

    quick = together(without_the_ordinary(one, monkeypatch), run)

    assert quick["sources"] == 5
    assert quick == one_by_one(other, run)


# With a state


class Event(msgspec.Struct, frozen=True):
    """What happened, and what is to become of it."""

    sku: Any
    units: int
    does: str = ""


class Balance(msgspec.Struct, frozen=True):
    """A state."""

    units: int


class Loose(msgspec.Struct, frozen=True):
    """What can be read as a state."""

    units: Any
    more: int = 1


class Box(msgspec.Struct):
    """A state that is changed in place."""

    units: int = 0


def balance(before: Balance | None, event: Event) -> Any:
    match event.does:
        case "raise":
            raise ValueError("not this one")
        case "forget":
            return None
        case "nothing":
            return before
        case "misfit":
            return Balance("many")  # type: ignore[arg-type]  # what it must not
        case "dict":
            return {"units": event.units}
        case "loose":
            return Loose(event.units)
        case "again" if before:
            return Balance(before.units)
    return Balance(event.units + (before.units if before else 0))


def fill(before: Box | None, event: Event) -> Any:
    box = before or Box()
    if event.does not in ("nothing", "again"):
        box.units += event.units
    if event.does == "raise":
        raise ValueError("after it was changed")
    if event.does in ("again", "loose"):
        return Box(box.units) if event.does == "again" else Loose(box.units)
    return None if event.does == "forget" else box


def dated(key: Any, _window: Any, kept: Balance | Box) -> dict[str, Any]:
    if kept.units == 13:
        raise LookupError("unlucky")
    units = kept.units if isinstance(kept, Balance | Box) else 1
    return {"sku": str(key), "units": units, "at": T0}


class Text(str):
    """No key: what it is formatted as is its own affair."""


ODD_KEYS = {"text of another kind": Text("a"), "half a pair": "\ud800"}
RULES = [
    Rule("not_negative", Between(0, None), "units"),
    Rule("not_much", Between(None, 40), "units", Action.WARN),
]
DOES_TO_STATES = [
    *("", "", "", "raise", "forget", "nothing", "again", "misfit", "dict", "loose", "plain")
]
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(["a", 5]), st.sampled_from(["b", "ä", 7, None, True, *ODD_KEYS])),
        st.integers(-9, 30),
        st.sampled_from(DOES_TO_STATES),
        st.sampled_from([None] * 9 + [b"", b"a", b"5", b"\xff"]),
    ),
    max_size=16,
)


def passed(record: dict[str, Any]) -> Any:
    """An event, or what will be read as one."""
    sku = ODD_KEYS.get(record["sku"], record["sku"])
    event = Event(sku, record["units"], record["does"])
    return {**record, "sku": sku} if event.does == "plain" else event


def summing(fold: Any, kind: type, key_type: type, *, transforms: bool) -> Product:
    """The product; its events are as they come, or what a transformation makes of a record."""
    said = state(
        fold, fact=dated, repartitions=False, event_type=Event, state_type=kind, key_type=key_type
    )
    folding = Folding(function(fold), function(dated), None, Event, kind)
    made = transformation(passed) if transforms else as_it_comes(folding)
    source = dataclasses.replace(port(made), key="sku", event_time=None)
    facts = contract(sku="string", units="long", at=MILLIS)
    return remembering(said, source, facts=facts, rules=RULES, event_time="at")


def begun(made: Product) -> tuple[Paths, Shard]:
    """Its paths, with the one partition that it has; the first fact is made and forgotten."""
    said = made.state
    assert said is not None
    paths = paths_of(made, schema_id=7, writers=MemorySchemas())
    assert paths.fold is not None

    def shard() -> Shard:
        kept, entry = codec_of(said), type_entry(said)
        return Shard(MemoryStore(), kept, sources=[f"{TOPIC}:0"], cached=4, type_entry=entry)

    paths.fold.shards[0] = shard()
    key = 5 if said.key_type is int else "a"
    first = message(msgspec.json.encode(Event(key, 1)), key=str(key).encode())
    paths.pipelines[TOPIC].process([first], Outcome())
    assert paths.fold.shards[0].facts
    paths.fold.shards[0] = shard()
    return paths, paths.fold.shards[0]


@pytest.mark.parametrize("transforms", [False, True])
@pytest.mark.parametrize("key_type", [str, int])
@pytest.mark.parametrize(("fold", "kind"), [(balance, Balance), (fill, Box)])
@given(script=EVENTS)
def test_a_run_comes_to_the_state_that_its_records_come_to(
    fold: Any, kind: type, key_type: type, transforms: bool, script: list[tuple[Any, ...]]
) -> None:
    run = [
        message(
            json.dumps({"sku": sku, "units": units, "does": does}).encode(),
            key=str(sku).encode() if key is None else key,
            timestamp=(1, T0 + offset),
            offset=offset,
        )
        for offset, (sku, units, does, key) in enumerate(script)
    ]

    results = []
    for way in (together, one_by_one):
        paths, shard = begun(summing(fold, kind, key_type, transforms=transforms))
        outcome = way(paths.pipelines[TOPIC], run)
        kept = {key: shard.get(key) for key in shard.changes}
        results.append((outcome, shard.changes, shard.facts, kept, shard.arrived))

    assert results[0] == results[1]


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """An event that is written as a list."""

    sku: Any
    units: int
    does: str = ""


def split(record: dict[str, Any]) -> Any:
    pair = [record["sku"], record["units"]]
    return pair if record["does"] else Pair(*pair)


def test_a_list_is_several_events_even_where_an_event_can_be_read_from_it() -> None:
    made = summing(balance, Balance, str, transforms=True)
    assert made.state is not None
    said = dataclasses.replace(made.state, event_type=Pair)
    source = dataclasses.replace(made.inputs[0], transformation=transformation(split))
    paths, _ = begun(dataclasses.replace(made, state=said, inputs=(source,)))
    listed = msgspec.json.encode(Event("a", 3, "listed"))

    found = together(paths.pipelines[TOPIC], [message(listed, key=b"a")] * 2)

    assert [one[1:3] for one in found["rejected"]] == [("code", "transformation")] * 2


@pytest.mark.parametrize("key_type", [str, int])
@pytest.mark.parametrize(("fold", "kind"), [(balance, Balance), (fill, Box)])
@pytest.mark.parametrize("transforms", [False, True])
def test_good_events_go_the_quick_way(
    fold: Any, kind: type, key_type: type, transforms: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, shard = begun(summing(fold, kind, key_type, transforms=transforms))
    pipeline = without_the_ordinary(paths.pipelines[TOPIC], monkeypatch)
    keys: list[Any] = ["a", "b", "a"] if key_type is str else [1, 2, 1]
    does = ["", "", "nothing"]
    run = [
        message(msgspec.json.encode(Event(key, 3, what)), key=str(key).encode())
        for key, what in zip(keys, does, strict=True)
    ]

    found = together(pipeline, run)

    assert (found["sources"], len(shard.changes), len(shard.facts)) == (3, 2, 2)
