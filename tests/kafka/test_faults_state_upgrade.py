"""Products that change while they run: what is remembered is kept, or the change is refused."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mesh_stream.local.stack import Stack
from tests.deadline import eventually
from tests.kafka.harness.slot import SlotProcess
from tests.kafka.harness.tallies import COMMON, TALLY, Kind, write_tallies
from tests.kafka.harness.tally_scene import TallyScene, tallying

pytestmark = pytest.mark.kafka

RATE = 500
REFUSED = 2

FACT = """

class Counted(msgspec.Struct, frozen=True):
    account: str
    count: int
    a: int
    b: int
    broken: int


def fact(key, window, state):
    return Counted(state.account, state.count, state.a, state.b, state.broken)
"""
MORE = TALLY.replace("broken: int = 0", "broken: int = 0\n    seen: tuple[str, ...] = ()") + FACT
"""A field more, with a default; one that went and came back would be another."""
OTHER = TALLY.replace("count: int\n", "count: str\n").replace(
    "count=-1 if", "count='-1' if"
).replace("was.count + 1", "str(int(was.count) + 1)").replace(
    "Tally(event.account, 0)", "Tally(event.account, '0')"
) + FACT.replace("state.count", "int(state.count)")
"""The same facts; but what was remembered as a number is read as text."""


def test_a_state_with_a_field_more_goes_on_counting_and_so_does_the_one_without_again(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT) as torture:
        newer = _version(torture, tmp_path / "newer", COMMON + MORE)
        slots = [torture.working(number) for number in range(2)]
        torture.start(RATE)
        # Slot by slot, as it is deployed; both versions run meanwhile.
        for products in (newer, torture.products):
            for number, slot in enumerate(slots):
                eventually(slot.is_remembering, within=60, what="a slot at work")
                slot.signal(signal.SIGTERM)
                assert slot.wait(15) in (0, 3), slot.said()
                slots[number] = _started(torture, number, products)
        eventually(slots[1].is_remembering, within=60, what="the old version at work again")
        torture.settle(within=60)
        torture.verify()
        assert all(slot.alive() for slot in slots)


def test_a_state_that_would_be_misread_is_refused_and_the_one_before_goes_on(
    stack: Stack, tmp_path: Path, seed: int
) -> None:
    with tallying(stack, tmp_path, seed, Kind.DIRECT, partitions=2) as torture:
        other = _version(torture, tmp_path / "other", COMMON + OTHER)
        slot = torture.working()
        torture.send(100)
        eventually(lambda: torture.lag() == 0, within=60, what="the first events committed")
        slot.signal(signal.SIGTERM)
        assert slot.wait(15) == 0
        torture.send(100)

        refused = _started(torture, 0, other)
        assert refused.wait(60) == REFUSED, refused.said()
        said = refused.said()
        assert "cannot be read any more: count was written as int and would be read as str" in said
        assert f"mesh-stream reset {torture.product.name}" in said

        torture.working()
        torture.settle(within=60)
        torture.verify()


def _version(torture: TallyScene, root: Path, code: str) -> Path:
    """Another version of the product, in a folder of its own; returns the folder of products."""
    write_tallies(root, torture.product.name, torture.kind, code=code)
    return root


def _started(torture: TallyScene, number: int, products: Path) -> SlotProcess:
    slot = torture.slot(number)
    slot.environment["MESH_PRODUCTS"] = str(products)
    slot.start()
    return slot
