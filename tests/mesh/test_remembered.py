from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from mesh_stream.mesh.remembered import (
    Memory,
    Remembered,
    Span,
    as_written,
    changes,
    states,
    wanted,
)
from mesh_stream.pipeline.entries import META, STATE, TYPE, WINDOW, Meta
from mesh_stream.pipeline.state_layout import type_entry
from mesh_stream.pipeline.watermark import Progress
from mesh_stream.pipeline.windows import ordered
from mesh_stream.product.product import State
from tests.product.folds import product

HOUR = 3_600_000
STOCK = msgspec.msgpack.encode({"sku": "a", "on_hand": 4})


def state(folder: Path, said: str = "{key: sku}") -> State:
    found = product(folder, f"state: {said}").state
    assert found is not None
    return found


def memory(*entries: tuple[int, bytes, bytes | None], key: bytes | None = None) -> Memory:
    found = Memory()
    for partition, entry, value in entries:
        found.take(partition, entry, value, wanted(key, None))
    return found


def test_the_newest_value_of_a_key_is_what_is_remembered() -> None:
    found = memory((0, STATE + b"a", b"1"), (0, STATE + b"a", b"2"), (1, STATE + b"a", b"3"))
    assert found.entries == {(0, STATE + b"a"): b"2", (1, STATE + b"a"): b"3"}
    assert found.records == 3


def test_a_deletion_forgets_a_key_also_one_that_never_was() -> None:
    found = memory((0, STATE + b"a", b"1"), (0, STATE + b"a", None), (0, STATE + b"b", None))
    assert found.entries == {}


def test_of_others_than_the_key_asked_for_nothing_is_held() -> None:
    late = WINDOW + ordered(5) + b"a"
    found = memory(
        (0, STATE + b"a", b"1"), (0, STATE + b"ab", b"2"), (0, late, b"3"),
        (0, WINDOW + ordered(5) + b"b", b"4"), key=b"a",
    )  # fmt: skip
    assert found.entries == {(0, STATE + b"a"): b"1", (0, late): b"3"}


def test_one_window_is_chosen_by_its_start_and_sessions_are_left_for_later() -> None:
    chosen = wanted(None, 5)
    assert chosen(WINDOW + ordered(5) + b"a")
    assert not chosen(WINDOW + ordered(6) + b"a")
    assert chosen(STATE + b"a")


def test_how_far_partitions_have_come_is_kept_whatever_is_asked_for(tmp_path: Path) -> None:
    meta = Meta(7, "id", Progress({"raw:0": 5}))
    key, description = type_entry(state(tmp_path))
    found = memory((3, META, msgspec.msgpack.encode(meta)), (3, key, description), key=b"x")
    assert found.metas == {3: meta}
    assert found.types == {description}
    assert key.startswith(TYPE)


def test_states_come_by_key_and_then_by_window_whatever_their_partition(tmp_path: Path) -> None:
    declared = state(tmp_path, "{key: sku, window: {tumbling: 1_hour}}")
    entries = [(0, 2, b"b"), (1, 5, b"a"), (1, -1, b"a"), (2, 3, b"a")]
    found = memory(
        *((number, WINDOW + ordered(start * HOUR) + key, STOCK) for number, start, key in entries)
    )
    shown = list(states(found, declared))
    assert [(one.key, one.span) for one in shown] == [
        ("a", Span(start * HOUR, (start + 1) * HOUR)) for start in (-1, 3, 5)
    ] + [("b", Span(2 * HOUR, 3 * HOUR))]
    assert all(one.state.on_hand == 4 for one in shown)


def test_a_change_of_type_is_told_by_what_was_written_of_it(tmp_path: Path) -> None:
    declared = state(tmp_path)
    _, description = type_entry(declared)
    assert changes(Memory(types={description}), declared) == []
    windowed = state(tmp_path / "other", "{key: sku, window: {tumbling: 1_hour}}")
    (reason,) = changes(Memory(types={description}), windowed)
    assert reason.startswith("the layout was one state a key and is windows of")


@pytest.mark.parametrize("value", [b"\xc1", b"\xa3new", b""])
def test_what_does_not_fit_its_type_is_shown_as_it_is(tmp_path: Path, value: bytes) -> None:
    found = memory((0, STATE + b"a", STOCK), (0, STATE + b"b", value))
    good, bad = states(found, state(tmp_path))
    assert (good.fits, bad.fits) == (True, False)
    held = "new" if value == b"\xa3new" else value
    assert bad == Remembered(0, "b", None, None, held, fits=False)


def test_of_a_window_of_another_type_only_the_start_is_known() -> None:
    found = memory((0, WINDOW + ordered(5) + b"\xff", STOCK))
    (shown,) = as_written(found)
    assert shown == Remembered(
        0, "\ufffd", Span(5, None), None, {"sku": "a", "on_hand": 4}, fits=False
    )
