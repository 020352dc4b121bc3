"""A run of events comes to the states that its events come to one by one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.paths import Paths, paths_of
from mesh_stream.pipeline.record import Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import codec_of, type_entry
from mesh_stream.product.folding import Folding, as_it_comes
from mesh_stream.product.product import Action, Between, Product, Rule
from mesh_stream.testing import MemorySchemas, MemoryStore
from tests.pipeline.making import (
    MILLIS,
    TOPIC,
    contract,
    message,
    port,
    transformation,
)
from tests.pipeline.remembering import T0, function, remembering, state
from tests.pipeline.ways import one_by_one, together, without_the_ordinary


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


KNOWN = st.dictionaries(
    st.sampled_from(["a", "b", "5", "7"]), st.tuples(st.integers(-9, 30), st.booleans())
)
IN_STORE = dict.fromkeys(("a", "5"), (9, True))


def begun(
    made: Product, known: Mapping[str, tuple[int, bool]] | None = None
) -> tuple[Paths, Shard]:
    """Its paths, with the one partition that it has; the first fact is made and forgotten.

    Args:
        made: The product.
        known: Key -> the units that the store has of it, and whether an earlier version of the
            product wrote that: its bytes say the same, and are others. They are looked up one by
            one: the store was hardly asked lately.
    """
    said = made.state
    assert said is not None
    paths = paths_of(made, schema_id=7, writers=MemorySchemas())
    assert paths.fold is not None

    def shard(known: Mapping[str, tuple[int, bool]]) -> Shard:
        kept, entry, store = codec_of(said), type_entry(said), MemoryStore()
        for key, (units, is_old) in known.items():
            more = {"of_old": 1} if is_old else {}
            store.apply({STATE + key.encode(): kept.encode({"units": units, **more})}, None)
        one = Shard(store, kept, sources=[f"{TOPIC}:0"], cached=4, type_entry=entry)
        one.begin(1_000)
        return one

    paths.fold.shards[0] = shard({})
    key = 5 if said.key_type is int else "a"
    first = message(msgspec.json.encode(Event(key, 1)), key=str(key).encode())
    paths.pipelines[TOPIC].process([first], Outcome())
    assert paths.fold.shards[0].facts
    paths.fold.shards[0] = shard(known or {})
    return paths, paths.fold.shards[0]


@pytest.mark.parametrize("transforms", [False, True])
@pytest.mark.parametrize("key_type", [str, int])
@pytest.mark.parametrize(("fold", "kind"), [(balance, Balance), (fill, Box)])
@given(script=EVENTS, known=KNOWN)
@example(script=[(key, 1, "nothing", None) for key in ("a", 5)], known=IN_STORE)
@example(script=[(key, 1, "", None) for key in ("a", 5)], known=IN_STORE)
def test_a_run_comes_to_the_state_that_its_records_come_to(
    fold: Any,
    kind: type,
    key_type: type,
    transforms: bool,
    script: list[tuple[Any, ...]],
    known: dict[str, tuple[int, bool]],
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
        paths, shard = begun(summing(fold, kind, key_type, transforms=transforms), known)
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
    stored = dict.fromkeys(("b", "2"), (20, False))
    paths, shard = begun(summing(fold, kind, key_type, transforms=transforms), stored)
    pipeline = without_the_ordinary(paths.pipelines[TOPIC], monkeypatch)
    keys: list[Any] = ["a", "b", "a"] if key_type is str else [1, 2, 1]
    does = ["", "", "nothing"]
    run = [
        message(msgspec.json.encode(Event(key, 3, what)), key=str(key).encode())
        for key, what in zip(keys, does, strict=True)
    ]

    found = together(pipeline, run)

    assert (found["sources"], len(shard.facts)) == (3, 2)
    assert [shard.get(key).units for key in shard.changes] == [3, 23]
