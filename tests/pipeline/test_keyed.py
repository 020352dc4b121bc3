"""What is all in one function does as the parts do that it is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_stream.product.product import Action, Between, Product, Rule
from mesh_stream.testing import ProductDriver
from tests.pipeline.making import MILLIS, contract, port, transformation
from tests.pipeline.remembering import T0, remembering, state


class Event(msgspec.Struct, frozen=True):
    """What happened, and what is to become of it."""

    sku: Any
    units: int
    does: str = ""


class Balance(msgspec.Struct, frozen=True):
    """A state."""

    units: int


class Box(msgspec.Struct):
    """A state that is changed in place."""

    units: int = 0


def balance(before: Balance | None, event: Event) -> Any:
    if event.does == "raise":
        raise ValueError("not this one")
    if event.does == "forget":
        return None
    if event.does == "nothing":
        return before
    if event.does == "misfit":
        return Balance("many")  # type: ignore[arg-type]  # what it must not
    if event.does == "dict":
        return {"units": event.units}
    return Balance(event.units + (before.units if before else 0))


def fill(before: Box | None, event: Event) -> Any:
    box = before or Box()
    if event.does != "nothing":
        box.units += event.units
    if event.does == "raise":
        raise ValueError("after it was changed")
    return None if event.does == "forget" else box


def dated(key: Any, _window: Any, kept: Balance | Box) -> dict[str, Any]:
    if kept.units == 13:
        raise LookupError("unlucky")
    return {"sku": str(key), "units": kept.units, "at": T0}


class Text(str):
    """No key: what it is formatted as is its own affair."""


ODD_KEYS = {"text of another kind": Text("a"), "half a pair": "\ud800"}
RULES = [
    Rule("not_negative", Between(0, None), "units"),
    Rule("not_much", Between(None, 40), "units", Action.WARN),
]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "ä", 5, None, True, "text of another kind", "half a pair"]),
        st.integers(-9, 30),
        st.sampled_from(["", "", "", "raise", "forget", "nothing", "misfit", "dict"]),
        st.sampled_from([None, None, None, b"", b"a", b"5", b"\xff"]),
    ),
    max_size=12,
)


def summing(fold: Any, kind: type, key_type: type, *, one_by_one: bool) -> Product:
    """The product; the events of a list are added by the parts, of which there may be several."""

    def passed(record: dict[str, Any]) -> Any:
        sku = ODD_KEYS.get(record["sku"], record["sku"])
        event = Event(sku, record["units"], record["does"])
        return event if one_by_one else [event]

    said = state(
        fold, fact=dated, repartitions=False, event_type=Event, state_type=kind, key_type=key_type
    )
    source = dataclasses.replace(port(transformation(passed)), key="sku", event_time=None)
    facts = contract(sku="string", units="long", at=MILLIS)
    return remembering(said, source, facts=facts, rules=RULES, event_time="at")


@pytest.mark.parametrize("key_type", [str, int])
@pytest.mark.parametrize(("fold", "kind"), [(balance, Balance), (fill, Box)])
@given(script=EVENTS, together=st.booleans())
def test_the_short_way_is_the_long_way(
    fold: Any, kind: type, key_type: type, script: list[tuple[Any, ...]], together: bool
) -> None:
    drivers = [
        ProductDriver(summing(fold, kind, key_type, one_by_one=short)) for short in (True, False)
    ]

    def play(driver: ProductDriver) -> list[Any]:
        told = []
        for sku, units, does, key in script:
            record = {"sku": sku, "units": units, "does": does}
            told.append(driver.send(record, key=str(sku).encode() if key is None else key))
        return told

    results = []
    for driver in drivers:
        if together:
            with driver.one_commit():
                told = play(driver)
        else:
            told = play(driver)
        results.append((told, driver.published, driver.rejected, driver.states, driver.tolerated))

    assert results[0] == results[1]
