from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec
import pytest

from mesh_stream.errors import StoreError
from mesh_stream.pipeline.shard import STATE, Shard
from mesh_stream.pipeline.state_codec import Codec
from mesh_stream.runtime.store import Position
from mesh_stream.runtime.writing import Writing
from mesh_stream.testing import MemoryStore
from tests.deadline import eventually

DEADLINE = 10.0
KEY = STATE + b"k"
POSITION = Position(7, 0.0)


class State(msgspec.Struct, frozen=True):
    n: int


class Slow(MemoryStore):
    """Writes once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.let = threading.Event(), threading.Event()
        self.fault: StoreError | None = None

    def apply(self, changes: Any, position: Any) -> None:
        self.begun.set()
        assert self.let.wait(DEADLINE)
        if self.fault is not None:
            raise self.fault
        super().apply(changes, position)


def shard(store: Slow) -> Shard:
    codec = Codec(State, origin="fold", mutable=False)
    return Shard(store, codec, sources=["a"], cached=2, type_entry=(b"t", b"{}"))


def change(one: Shard, number: int) -> None:
    one.put(KEY, one.codec.written(State(number)))
    one.freeze(offset=number, input_id="id")


def forget_what_is_cached(one: Shard) -> None:
    one.cache.forget(KEY)


def test_the_loop_goes_on_with_the_newest_states_while_they_are_written() -> None:
    store = Slow()
    one, writing = shard(store), Writing("p")
    change(one, 1)

    writing.begin({one: POSITION})

    assert store.begun.wait(DEADLINE)
    forget_what_is_cached(one)
    assert one.get(KEY) == State(1)
    assert store.get(KEY) is None
    change(one, 2)
    one.thaw()
    assert one.get(KEY) == State(1)
    store.let.set()
    writing.finish()
    assert msgspec.msgpack.decode(store.entries[KEY], type=State) == State(1)
    forget_what_is_cached(one)
    assert one.get(KEY) == State(1)


def test_one_set_of_changes_is_on_its_way_at_a_time() -> None:
    store = Slow()
    one, writing = shard(store), Writing("p")
    change(one, 1)
    writing.begin({one: POSITION})
    change(one, 2)
    store.begun.clear()

    second = threading.Thread(target=writing.begin, args=({one: POSITION},))
    second.start()
    # Not while the first waits, which holds what comes before.
    assert KEY not in store.entries
    store.let.set()
    second.join(DEADLINE)

    assert not second.is_alive()
    writing.finish()
    assert msgspec.msgpack.decode(store.entries[KEY], type=State) == State(2)


def test_a_store_that_cannot_be_written_is_told_of_before_more_is() -> None:
    store = Slow()
    store.let.set()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store), Writing("p")
    change(one, 1)
    writing.begin({one: POSITION})
    change(one, 2)

    with pytest.raises(StoreError, match="the disk is full"):
        writing.begin({one: POSITION})


def test_a_look_tells_of_it_too_but_waits_for_nothing() -> None:
    store = Slow()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store), Writing("p")
    change(one, 1)
    writing.begin({one: POSITION})
    writing.look()

    store.let.set()

    def told() -> bool:
        try:
            writing.look()
        except StoreError:
            return True
        return False

    eventually(told, within=DEADLINE, what="it could not be written")


def test_who_gives_a_store_up_only_waits_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    store = Slow()
    store.let.set()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store), Writing("orders")
    change(one, 1)
    writing.begin({one: POSITION})

    with caplog.at_level(logging.WARNING):
        writing.let_finish()
        writing.let_finish()

    assert [record.getMessage() for record in caplog.records] == ["orders: the disk is full"]
