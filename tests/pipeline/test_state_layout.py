"""How states lie in a store, and whether they can still be read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mesh_stream.pipeline.entries import DUE, META, STATE, TYPE, WINDOW
from mesh_stream.pipeline.state_layout import (
    changes_that_matter,
    codec_of,
    description_of,
    index_of,
    type_entry,
)
from mesh_stream.pipeline.windows import ordered
from mesh_stream.product.product import Hopping, Session, State
from mesh_stream.testing import MemoryStore, ProductDriver
from tests.pipeline.remembering import HOUR, MINUTE, T0, Sum, remembering, state

SUM = Sum(1, 2, 3, 4)
WINDOW_OF = Hopping(HOUR, MINUTE)
EVERY_HOUR = f"windows of {HOUR} ms, every {HOUR} ms"


class Older(msgspec.Struct, frozen=True):
    count: int
    units: int
    first: int


class Other(msgspec.Struct, frozen=True):
    count: float
    units: int
    first: int
    last: int


class InPlace(msgspec.Struct):
    counts: dict[str, int]


@pytest.mark.parametrize(
    ("parts", "entry"),
    [
        ({}, SUM),
        ({"ttl": HOUR}, (T0, SUM)),
        ({"window": WINDOW_OF}, SUM),
        ({"window": Session(MINUTE)}, ((1, 2, SUM), (3, 4, SUM))),
    ],
)
def test_entries_come_back_from_their_bytes(parts: dict[str, Any], entry: Any) -> None:
    codec = codec_of(state(**parts))

    assert codec.decode(codec.written(entry).encoded) == entry
    assert not codec.mutable
    assert codec_of(state(state_type=InPlace, **parts)).mutable


def made_of(said: State, key: bytes, value: bytes | None) -> list[bytes]:
    index = index_of(said)
    return [] if index is None else list(index(key, value))


def due_of(said: State, key: bytes, entry: Any) -> list[bytes]:
    return made_of(said, key, None if entry is None else codec_of(said).written(entry).encoded)


@pytest.mark.parametrize(
    ("parts", "entry", "due"),
    [
        ({}, SUM, None),
        ({"window": WINDOW_OF}, SUM, None),
        ({"ttl": HOUR}, (T0, SUM), T0 + HOUR),
        (
            {"window": Session(MINUTE), "grace": 7},
            ((T0, T0 + 9, SUM), (T0 + HOUR, T0 + HOUR, SUM)),
            T0 + 9 + MINUTE + 7,
        ),
    ],
)
def test_a_restored_entry_is_looked_at_when_it_would_have_been(
    parts: dict[str, Any], entry: Any, due: int | None
) -> None:
    said = state(**parts)
    key = (WINDOW + ordered(T0) if parts.get("window") == WINDOW_OF else STATE) + b"k"

    assert due_of(said, key, entry) == ([] if due is None else [DUE + ordered(due) + key])
    assert due_of(said, key, None) == []
    assert made_of(said, META, b"anything") == []
    assert made_of(said, TYPE + b"1", b"anything") == []


@pytest.mark.parametrize("parts", [{"ttl": HOUR}, {"window": Session(MINUTE)}])
def test_what_a_store_has_beside_the_changelog_can_be_made_of_it(parts: dict[str, Any]) -> None:
    said = state(repartitions=False, **parts)
    driver = ProductDriver(remembering(said))
    driver.send({"sku": "a", "units": 1, "at": T0})
    store = driver._states._stores[0]  # type: ignore[union-attr]

    made = [due for key, value in store.entries.items() if key[:1] != DUE
            for due in made_of(said, key, value)]  # fmt: skip
    assert made == [key for key in store.entries if key[:1] == DUE]
    assert len(made) == 1


def kept(said: State) -> MemoryStore:
    store = MemoryStore()
    store.apply(dict([type_entry(said)]), None)
    return store


@pytest.mark.parametrize(
    ("then", "now", "found"),
    [
        ({}, {}, []),
        ({"ttl": HOUR}, {"ttl": MINUTE}, []),
        ({"grace": 5}, {"grace": 6, "late": "drop"}, []),
        ({}, {"state_type": Older}, []),
        (
            {},
            {"ttl": HOUR},
            ["the layout was one state a key and is one state a key, with its age"],
        ),
        (
            {"window": WINDOW_OF},
            {"window": Hopping(HOUR, HOUR)},
            [f"the layout was windows of {HOUR} ms, every {MINUTE} ms and is {EVERY_HOUR}"],
        ),
        (
            {"window": Session(5)},
            {"window": Session(6)},
            ["the layout was sessions with gaps of 5 ms and is sessions with gaps of 6 ms"],
        ),
        ({}, {"key": "at"}, ["the key was sku (str) and is at (str)"]),
        ({}, {"key_type": int}, ["the key was sku (str) and is sku (int)"]),
        ({}, {"key": None}, ["the key was sku (str) and is none"]),
        ({}, {"state_type": Other}, ["count was written as int and would be read as float"]),
        ({"state_type": Older}, {}, ["last is new and has no default"]),
    ],
)
def test_what_changed_since_is_told_where_it_matters(
    then: dict[str, Any], now: dict[str, Any], found: list[str]
) -> None:
    assert changes_that_matter(kept(state(**then)), state(**now)) == found


def test_every_type_that_was_ever_written_counts() -> None:
    store = kept(state(state_type=Older))
    store.apply(dict([type_entry(state(state_type=Other))]), None)
    store.apply({STATE + b"k": b"x", META: b"y", WINDOW + b"k": b"z"}, None)

    assert set(changes_that_matter(store, state())) == {
        "count was written as float and would be read as int",
        "last is new and has no default",
    }
    assert changes_that_matter(MemoryStore(), state()) == []


def test_a_description_names_the_type_and_is_plain_data() -> None:
    key, value = type_entry(state())

    assert key[:1] == TYPE
    assert msgspec.json.decode(value) == description_of(state())
    assert type_entry(state(state_type=Older))[0] != key
    assert type_entry(state(grace=9))[0] == key


def test_a_state_that_is_a_scalar_may_expire() -> None:
    def fold(before: int | None, _event: Any) -> int:
        return (before or 0) + 1

    def fact(key: str, _window: Any, count: int) -> dict[str, Any]:
        return {"sku": key, "start": None, "end": None, "count": count, "units": 0}

    driver = ProductDriver(remembering(state(fold, fact=fact, state_type=int, ttl=HOUR)))
    for _ in range(2):
        driver.send({"sku": "a", "units": 1, "at": T0})

    assert driver.states == {"a": 2}
