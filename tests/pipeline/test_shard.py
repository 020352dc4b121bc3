"""What one partition remembers, against a model of dicts."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_stream.errors import CodeError
from mesh_stream.pipeline.entries import DUE, META, STATE, WINDOW, Meta
from mesh_stream.pipeline.record import Fact
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_codec import Codec
from mesh_stream.pipeline.watermark import Progress
from mesh_stream.pipeline.windows import ordered
from mesh_stream.testing import MemoryStore

TYPE = (b"tprint", b"{}")


class Frozen(msgspec.Struct, frozen=True):
    n: int


class Mutable(msgspec.Struct):
    n: int


def codec(kind: Any = Frozen) -> Codec:
    return Codec(kind, origin="src/transformations/a.py:fold", mutable=kind is Mutable)


def shard(store: MemoryStore | None = None, kind: Any = Frozen, cached: int = 2) -> Shard:
    return Shard(
        store if store is not None else MemoryStore(),
        codec(kind),
        sources=["a"],
        cached=cached,
        type_entry=TYPE,
    )


def put(one: Shard, key: bytes, entry: Any) -> None:
    one.put(key, None if entry is None else one.codec.written(entry))


def commit(one: Shard, offset: int | None = 1) -> Any:
    flush = one.freeze(offset=offset, input_id="id")
    one.commit(None)
    return flush


def fact(name: str) -> Fact:
    return Fact(name.encode(), None, 0)


KEYS = [STATE + bytes([n]) for n in range(5)]
STARTS = [WINDOW + ordered(n) + b"k" for n in range(5)]


@pytest.mark.parametrize("kind", [Frozen, Mutable])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), turns=st.integers(1, 80))
def test_it_is_a_dict_with_transactions(kind: Any, seed: int, turns: int) -> None:
    choose = random.Random(seed)
    store = MemoryStore()
    one = shard(store, kind)
    committed: dict[bytes, int] = {}
    frozen: dict[bytes, int] | None = None
    now: dict[bytes, int] = {}
    facts: dict[bytes, Fact] = {}
    # What the store holds, what is on its way there, and whether more is committed than that.
    stored: dict[bytes, int] = {}
    leaving: dict[bytes, int] | None = None
    waits = False
    for turn in range(turns):
        key = choose.choice(KEYS + STARTS)
        match choose.randrange(15):
            case 0 | 1 | 2:
                put(one, key, kind(turn))
                one.publish(key, fact(str(turn)))
                now[key], facts[key] = turn, fact(str(turn))
            case 3:
                put(one, key, None)
                now.pop(key, None)
            case 4:
                if choose.random() < 0.5:
                    one.prefetch(choose.sample(KEYS, 3))
                else:
                    one.begin(
                        choose.randint(1, 99),
                        choose.choice([None, partial(choose.sample, KEYS, 3)]),
                    )
            case 5:
                one.begin_unit()
                for _ in range(choose.randint(1, 3)):
                    other = choose.choice(KEYS)
                    put(one, other, choose.choice([None, kind(-turn)]))
                    one.publish(other, fact("undone"))
                    one.withdraw(choose.choice(KEYS))
                one.undo_unit()
            case 6:
                one.begin_unit()
                put(one, key, kind(1000 + turn))
                one.withdraw(key)
                one.end_unit()
                now[key] = 1000 + turn
                facts.pop(key, None)
            case 7 if frozen is None:
                flush = one.freeze(offset=turn, input_id="id")
                assert sorted(flush.facts, key=str) == sorted(facts.values(), key=str)
                frozen, facts = dict(now), {}
            case 8 if leaving is None:
                one.commit(None)
                committed, frozen = (committed, None) if frozen is None else (frozen, None)
                stored, waits = dict(committed), False
            case 11 if frozen is not None:
                one.committed()
                committed, frozen, waits = frozen, None, True
            case 12:
                if leaving is None or choose.random() < 0.2:
                    one.leave()
                    leaving, waits = dict(committed), False
                if choose.random() < 0.7:
                    one.write(None)
                    stored = leaving
                    if choose.random() < 0.7:
                        one.written()
                        leaving = None
            case 9:
                one.thaw()
                now, frozen, facts = dict(committed), None, {}
            case 10:
                # The process was killed; what the store lacks, it has from the changelog again.
                one = shard(store, kind)
                committed, leaving, waits = dict(stored), None, False
                now, frozen, facts = dict(committed), None, {}
            case 13 | 14:
                one.begin(99)
            case _:
                one.rollback()
                now, facts = dict(committed if frozen is None else frozen), {}
        for key in (*KEYS, *STARTS):
            found = one.get(key)
            assert (None if found is None else found.n) == now.get(key)
            if found is not None and kind is Mutable:
                found.n = -1
                assert not one.holds(key, found)
        there = {
            key: msgspec.msgpack.decode(value, type=kind).n
            for key, value in store.entries.items()
            if key[:1] in (STATE, WINDOW)
        }
        assert there == stored
        if waits or leaving is not None:
            continue
        # Windows are looked for in their order, committed or not, but not those that are gone.
        upto, limit = choose.randint(-1, 5), choose.randint(1, 6)
        expected = [key for key in STARTS[: upto + 1] if key in now]
        assert one.windows(upto, limit) == expected[:limit]


# Rules


def test_what_was_written_is_what_is_read() -> None:
    class Loose(msgspec.Struct, frozen=True):
        n: float

    one = Shard(
        MemoryStore(),
        Codec(Loose, origin="f", mutable=False),
        sources=[],
        cached=2,
        type_entry=TYPE,
    )

    put(one, KEYS[0], Loose(1))

    # As after a restart: a float, although the fold gave an int.
    assert type(one.get(KEYS[0]).n) is float


@pytest.mark.parametrize("wrong", [Frozen("a"), Frozen(1 << 64), Frozen(object()), object()])  # type: ignore[arg-type]
def test_a_state_that_could_not_be_read_again_is_the_codes_fault(wrong: Any) -> None:
    with pytest.raises(CodeError, match="a state that does not fit its own type") as caught:
        codec().written(wrong)

    assert caught.value.rule == "state"
    assert "fold" in caught.value.reason


def test_the_newest_fact_of_a_key_is_published_once() -> None:
    one = shard()
    one.publish(KEYS[0], fact("old"))
    one.publish(KEYS[1], fact("other"))
    one.publish(KEYS[0], fact("new"))

    assert commit(one).facts == [fact("new"), fact("other")]
    assert commit(one).facts == []


def test_a_key_that_was_absent_is_there_once_it_is_committed() -> None:
    one = shard()
    one.prefetch(KEYS)
    assert one.get(KEYS[0]) is None

    put(one, KEYS[0], Frozen(1))
    commit(one)
    one.rollback()

    assert one.get(KEYS[0]) == Frozen(1)


def test_what_is_forgotten_does_not_come_back_from_the_cache() -> None:
    one = shard(cached=100)
    put(one, KEYS[0], Frozen(1))
    commit(one)
    assert one.get(KEYS[0]) == Frozen(1)
    put(one, KEYS[0], None)
    commit(one)

    assert one.get(KEYS[0]) is None


def test_a_cache_keeps_what_is_used_and_no_more_than_its_limit() -> None:
    class Counting(MemoryStore):
        asked = 0

        def get(self, key: bytes) -> bytes | None:
            self.asked += 1
            return super().get(key)

    store = Counting()
    one = shard(store, cached=4)
    for key in KEYS:
        put(one, key, Frozen(1))
        commit(one)
    store.asked = 0

    for key in KEYS[1:]:
        one.begin(2)
        one.get(KEYS[0])
        one.get(key)
    assert 0 < store.asked <= 5
    asked = store.asked
    one.get(KEYS[0])
    assert store.asked == asked


def test_a_runs_states_are_brought_at_once_while_the_runs_before_had_to_ask_for_many() -> None:
    brought = []

    def keys() -> list[bytes]:
        brought.append(True)
        return KEYS[:1]

    one = shard(cached=100)
    for run in (16, 16):
        one.begin(run, keys)
    # Nothing was there for the first; the second asked for one of 16.
    assert len(brought) == 1

    for key in KEYS[1:4]:
        one.get(key)
    one.begin(16, keys)
    assert len(brought) == 2


def test_prefetching_asks_the_store_once_for_what_is_not_known() -> None:
    asked: list[list[bytes]] = []

    class Asked(MemoryStore):
        def get_many(self, keys: Any) -> list[bytes | None]:
            asked.append(sorted(keys))
            return super().get_many(keys)

        def get(self, key: bytes) -> bytes | None:
            assert key[:1] != STATE
            return super().get(key)

    one = shard(Asked(), cached=100)
    put(one, KEYS[0], Frozen(1))
    one.freeze(offset=1, input_id="id")
    put(one, KEYS[1], Frozen(1))
    one.prefetch([*KEYS, *KEYS])

    assert asked == [sorted(KEYS[2:])]
    assert [one.get(key) for key in KEYS[2:]] == [None] * 3


def test_what_was_not_there_is_found_once_it_is_written() -> None:
    one = shard()
    one.prefetch(KEYS)
    put(one, KEYS[0], Frozen(1))
    commit(one)
    one.cache.forget(KEYS[0])

    assert one.get(KEYS[0]) == Frozen(1)


def test_the_position_and_the_watermark_are_committed_with_the_states() -> None:
    store = MemoryStore()
    one = shard(store)
    assert (one.offset, one.input_id) == (None, "")
    one.watermark.reached("a", 7)
    put(one, KEYS[0], Frozen(1))

    flush = commit(one, offset=12)

    assert flush.entries.keys() == {KEYS[0], META, TYPE[0]}
    meta = msgspec.msgpack.decode(flush.entries[META] or b"", type=Meta)
    assert meta == Meta(12, "id", Progress({"a": 7}), 1)
    again = shard(store)
    assert (again.offset, again.input_id, again.watermark.highest) == (12, "id", {"a": 7})
    # The type is told once.
    assert commit(again, offset=13).entries.keys() == {META}
    # What only time changed does not move the position.
    put(again, KEYS[0], None)
    meta = msgspec.msgpack.decode(commit(again, None).entries[META] or b"", type=Meta)
    assert (meta.offset, meta.commits) == (13, 3)


def test_transactions_that_were_not_committed_do_not_count() -> None:
    one = shard()
    commit(one, offset=1)
    put(one, KEYS[0], Frozen(1))
    one.freeze(offset=2, input_id="id")
    assert one.commits == 2

    one.thaw()
    assert one.commits == 1
    commit(one, offset=2)
    assert one.commits == 2


def test_the_type_is_told_again_where_the_transaction_that_told_it_was_not_committed() -> None:
    one = shard()
    one.freeze(offset=1, input_id="id")
    one.thaw()

    assert TYPE[0] in commit(one).entries


def test_an_abort_takes_the_watermark_back_to_what_was_committed() -> None:
    one = shard()
    one.watermark.reached("a", 5)
    commit(one)
    one.watermark.reached("a", 9)
    one.freeze(offset=2, input_id="id")
    one.watermark.reached("a", 11)

    one.rollback()
    assert one.watermark.highest == {"a": 9}
    one.thaw()
    assert one.watermark.highest == {"a": 5}
    assert one.offset == 1


def test_a_state_is_looked_at_once_when_its_time_has_come() -> None:
    one = shard()
    one.look_at(KEYS[0], 10)
    one.look_at(KEYS[1], 5)
    assert one.due(100, 9) == []

    # Kept in the store, and not in the changelog.
    assert not [key for key in commit(one).entries if key[:1] == DUE]
    assert one.due(4, 9) == []
    assert one.due(10, 1) == [KEYS[1]]
    assert one.due(10, 9) == [KEYS[0]]
    assert one.due(10, 9) == []
    one.freeze(offset=2, input_id="id")
    assert one.due(10, 9) == []
    one.thaw()
    assert one.due(10, 9) == [KEYS[1], KEYS[0]]
    commit(one)
    assert one.due(10, 9) == []


def test_it_says_whether_anything_is_to_be_committed() -> None:
    one = shard()
    assert not one
    one.look_at(KEYS[0], 1)
    assert one
    commit(one)
    one.publish(KEYS[0], fact("a"))
    assert one
    one.rollback()
    put(one, KEYS[0], None)
    assert one


def test_the_type_is_told_with_the_first_position() -> None:
    one = shard()
    one.publish(KEYS[0], fact("a"))

    assert commit(one, None).entries == {}
    assert commit(one, 1).entries.keys() == {META, TYPE[0]}
