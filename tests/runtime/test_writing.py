from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec
import pytest

from mesh_stream.errors import StoreError
from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.shard import Shard
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
        self.applied = 0
        self.position: Any = None

    def apply(self, changes: Any, position: Any) -> None:
        self.begun.set()
        assert self.let.wait(DEADLINE)
        if self.fault is not None:
            raise self.fault
        super().apply(changes, position)
        self.applied, self.position = self.applied + 1, position


def shard(store: Slow, *, cached: int = 2) -> Shard:
    codec = Codec(State, origin="fold", mutable=False)
    return Shard(store, codec, sources=["a"], cached=cached, type_entry=(b"t", b"{}"))


def change(one: Shard, number: int, key: bytes = KEY) -> None:
    one.put(key, one.codec.written(State(number)))
    one.freeze(offset=number, input_id="id")


def forget_what_is_cached(one: Shard) -> None:
    one.cache.forget(KEY)


def test_the_loop_goes_on_with_the_newest_states_while_they_are_written() -> None:
    store = Slow()
    one, writing = shard(store), Writing("p", wait=0)
    change(one, 1)

    writing.add({one: POSITION})

    assert store.begun.wait(DEADLINE)
    forget_what_is_cached(one)
    assert one.get(KEY) == State(1)
    assert store.get(KEY) is None
    change(one, 2)
    one.thaw()
    assert one.get(KEY) == State(1)
    store.let.set()
    writing.finish()
    assert kept(store) == State(1)
    forget_what_is_cached(one)
    assert one.get(KEY) == State(1)


def test_one_set_of_changes_is_on_its_way_at_a_time() -> None:
    store = Slow()
    one, writing = shard(store), Writing("p", wait=0)
    change(one, 1)
    writing.add({one: POSITION})
    change(one, 2)
    store.begun.clear()

    second = threading.Thread(target=writing.add, args=({one: POSITION},))
    second.start()
    # Not while the first waits, which holds what comes before.
    assert KEY not in store.entries
    store.let.set()
    second.join(DEADLINE)

    assert not second.is_alive()
    writing.finish()
    assert kept(store) == State(2)


def kept(store: Slow, key: bytes = KEY) -> State:
    return msgspec.msgpack.decode(store.entries[key] or b"", type=State)


def test_of_a_state_that_changes_often_the_newest_is_written_once() -> None:
    store = Slow()
    store.let.set()
    one, writing = shard(store, cached=10), Writing("p", wait=3600)
    for number in range(3):
        change(one, number)
        writing.add({one: Position(number, 0.0)})
        writing.look()
    assert not store.begun.is_set()
    forget_what_is_cached(one)
    assert one.get(KEY) == State(2)

    writing.finish()

    assert (kept(store), store.position, store.applied) == (State(2), Position(2, 0.0), 1)


def test_what_waits_is_written_once_it_is_as_much_as_half_of_the_cache() -> None:
    store = Slow()
    store.let.set()
    one, writing = shard(store, cached=6), Writing("p", wait=3600)
    change(one, 1)
    writing.add({one: POSITION})
    assert not store.begun.is_set()

    change(one, 2, STATE + b"another")
    writing.add({one: POSITION})

    assert store.begun.wait(DEADLINE)


def test_what_waits_is_written_when_it_is_time_though_nothing_more_comes() -> None:
    store = Slow()
    store.let.set()
    one, writing = shard(store, cached=10), Writing("p", wait=0.05)
    change(one, 1)
    writing.add({one: POSITION})

    def written() -> bool:
        writing.look()
        return KEY in store.entries

    eventually(written, within=DEADLINE, what="it was written")


def test_what_is_committed_while_others_are_written_is_written_after_them() -> None:
    store = Slow()
    one, writing = shard(store, cached=10), Writing("p", wait=0)
    change(one, 1)
    writing.add({one: POSITION})
    assert store.begun.wait(DEADLINE)
    change(one, 2)
    one.committed()
    forget_what_is_cached(one)
    assert one.get(KEY) == State(2)

    store.let.set()
    writing.finish()
    assert kept(store) == State(1)
    forget_what_is_cached(one)
    assert one.get(KEY) == State(2)
    one.commit(POSITION)
    assert kept(store) == State(2)


def test_what_could_not_be_written_is_there_to_be_read_and_to_be_written_again() -> None:
    store = Slow()
    store.let.set()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store, cached=10), Writing("p", wait=0)
    change(one, 1)
    writing.add({one: POSITION})
    with pytest.raises(StoreError, match="the disk is full"):
        writing.finish()
    forget_what_is_cached(one)
    assert one.get(KEY) == State(1)

    store.fault = None
    change(one, 2, STATE + b"another")
    writing.add({one: POSITION})
    writing.finish()

    assert (kept(store), kept(store, STATE + b"another")) == (State(1), State(2))


def test_a_store_that_cannot_be_written_is_told_of_before_more_is() -> None:
    store = Slow()
    store.let.set()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store), Writing("p", wait=0)
    change(one, 1)
    writing.add({one: POSITION})
    change(one, 2)

    with pytest.raises(StoreError, match="the disk is full"):
        writing.add({one: POSITION})


def test_a_look_tells_of_it_too_but_waits_for_nothing() -> None:
    store = Slow()
    store.fault = StoreError("the disk is full")
    one, writing = shard(store), Writing("p", wait=0)
    change(one, 1)
    writing.add({one: POSITION})
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
    one, writing = shard(store), Writing("orders", wait=0)
    change(one, 1)
    writing.add({one: POSITION})

    with caplog.at_level(logging.WARNING):
        writing.let_finish()
        writing.let_finish()

    assert [record.getMessage() for record in caplog.records] == ["orders: the disk is full"]
