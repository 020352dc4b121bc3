"""A run of records comes to what its records come to one by one, which go the ordinary way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.errors import DependencyError, HaltError
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.pipeline.pipeline import Interrupted, Pipeline
from mesh_stream.pipeline.record import Outcome, SourceContext, filtered
from mesh_stream.product.product import Action, Between, Holds, Limits, NotNull, Rule
from mesh_stream.testing import MemoryMessage, MemorySchemas
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
from tests.pipeline.remembering import T0
from tests.pipeline.ways import one_by_one, together, without_the_ordinary


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


def test_a_dependency_that_is_away_is_asked_once_for_a_run() -> None:
    asked = []

    def ask(one: Order) -> Any:
        asked.append(one.does)
        return sell(one)

    pipeline = selling(ask)
    asked.clear()

    with pytest.raises(Interrupted):
        pipeline.process(orders([order(), order(does="away"), order()]), Outcome())

    assert asked == ["", "away"]


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
