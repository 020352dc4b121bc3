"""What one partition of a product remembers: changes not yet committed, over a store of what is.

    cache       states as of now, the recently used ones
    changes     of the transaction that is being filled
    frozen      of the one that is being committed
    committed   of those before that the store is yet to get
    leaving     what is on its way to the store
    store       committed states

A look-up goes down in that order. Invariants: the store holds nothing that is not committed; what
an abort takes is dropping the changes, and their keys from the cache. Every floor holds bytes, and
a look-up decodes them: so an event comes to the same whether a commit, a restart or nothing lies
between it and the one before, and nothing that a fold does to a state changes it in here. It is
faster, too: of a hundred thousand states as objects, each look-up waits for the memory of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mesh_stream.pipeline.entries import DUE, META, WINDOW, Entries, Meta, Store, meta_of
from mesh_stream.pipeline.record import Fact
from mesh_stream.pipeline.state_cache import Cache
from mesh_stream.pipeline.state_codec import Codec, Written
from mesh_stream.pipeline.watermark import Progress, Watermark
from mesh_stream.pipeline.windows import ordered

_MISSING = object()

# Asking the store for one state takes about twice what it takes for one of many.
_FEW = 8


@dataclass(slots=True)
class _Frozen:
    """The changes of the transaction that is being committed."""

    entries: dict[bytes, bytes | None]
    meta: Meta | None


@dataclass(slots=True)
class Flush:
    """What a transaction has to hold before it is committed.

    Attributes:
        facts: One for each key, or key and window, that changed.
        entries: For the changelog.
    """

    facts: list[Fact] = field(default_factory=list)
    entries: Entries = field(default_factory=dict)


class Shard:
    """One partition's states.

    Args:
        store: Its committed entries.
        codec: How they are read and written.
        sources: Who brings its events.
        cached: Most states in the cache.
        type_entry: Key and value that describe the type of the states.
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        sources: Iterable[str],
        cached: int,
        type_entry: tuple[bytes, bytes],
    ) -> None:
        self.store = store
        self.codec = codec
        self.cache = Cache(cached)
        self._absent: set[bytes] = set()
        self._run = self._missed = 1
        """How many records the run has, and for how many states the store had to be asked."""
        self._type_entry = type_entry
        self._typed = store.get(type_entry[0]) is not None
        self.facts: dict[bytes, Fact] = {}
        """Entry key -> the newest fact that it is the source of."""
        self.changes: dict[bytes, bytes | None] = {}
        self._dues: dict[bytes, bytes | None] = {}
        self._frozen: _Frozen | None = None
        self._committed: dict[bytes, bytes | None] = {}
        """What is committed and the store is yet to get."""
        self._leaving: dict[bytes, bytes | None] = {}
        """What is on its way there."""
        self._most_waiting = max(1, cached // 2)
        self.undo: list[tuple[dict[bytes, Any], bytes, Any]] | None = None
        """What undoes the changes of a unit, newest last; None outside of one."""
        self._meta = self._base = meta_of(store)
        self.watermark = Watermark(sources, self._meta.progress if self._meta else Progress())
        self.unseen = True
        """Whether there may be something due that nobody has looked for."""
        self.arrived = -1
        """When the newest record arrived that came here, of those since it is here; -1: none."""

    def __bool__(self) -> bool:
        """Whether anything is to be committed."""
        return bool(self.changes or self.facts or self._dues)

    @property
    def offset(self) -> int | None:
        """The next offset of the input partition, as of the last commit; None before the first."""
        return None if self._base is None else self._base.offset

    @property
    def commits(self) -> int:
        """How many transactions have changed the partition; with the frozen one, if there is."""
        return 0 if self._meta is None else self._meta.commits

    @property
    def input_id(self) -> str:
        """The id of the input topic, as of the last commit; empty before the first."""
        return "" if self._base is None else self._base.input_id

    # States

    def get(self, key: bytes) -> Any:
        """The state under a key as of now, or None."""
        held = self.held(key)
        return None if held is None else self.codec.decode(held)

    def holds(self, key: bytes, entry: Any) -> bool:
        """Whether what `get` gave is still what it was, where it could have been changed."""
        return not self.codec.mutable or self.codec.encode(entry) == self.held(key)

    def held(self, key: bytes) -> bytes | None:
        """The bytes of the state under a key as of now, brought into memory if need be."""
        found = self.cache.find(key)
        if found is not None:
            return found
        for changes in self._levels():
            if key in changes:
                return self._load(key, changes[key])
        if key in self._absent:
            return None
        self._missed += 1
        return self._load(key, self.store.get(key))

    def _levels(self) -> Iterable[Entries]:
        """What lies above the store, the newest first."""
        yield self.changes
        if self._frozen is not None:
            yield self._frozen.entries
        yield self._committed
        yield self._leaving

    def _load(self, key: bytes, value: bytes | None) -> bytes | None:
        if value is not None:
            self.cache.young[key] = value
        return value

    def begin(self, run: int, keys: Callable[[], Iterable[bytes]] | None = None) -> None:
        """A run of records is about to come.

        Args:
            run: How many.
            keys: Says which states they are about. Those are brought into the cache all at once
                where the last run had to ask for more than a few of its own.
        """
        is_cold = self._missed * _FEW > self._run
        self._run, self._missed = run, 0
        self.cache.make_room()
        if is_cold and keys is not None:
            self.prefetch(keys())

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Bring states into the cache, all at once, that are about to be asked for."""
        missing = list(self.cache.lacks(set(keys)).difference(*self._levels()))
        self._missed += len(missing)
        self._absent.clear()
        for key, value in zip(missing, self.store.get_many(missing), strict=True):
            if self._load(key, value) is None:
                self._absent.add(key)

    def put(self, key: bytes, entry: Written | None) -> None:
        """Change the state under a key to what the codec wrote; None forgets it."""
        if self.undo is not None:
            self.undo.append((self.changes, key, self.changes.get(key, _MISSING)))
        if entry is None:
            self.changes[key] = None
            self.cache.forget(key)
        else:
            self.changes[key] = self.cache.young[key] = entry.encoded

    def publish(self, key: bytes, fact: Fact) -> None:
        """Publish a fact with the transaction, instead of what was to be published for the key."""
        if self.undo is not None:
            self.undo.append((self.facts, key, self.facts.get(key, _MISSING)))
        self.facts[key] = fact

    def withdraw(self, key: bytes) -> None:
        """Publish nothing for a key: what it is of has become part of something else."""
        if key in self.facts:
            if self.undo is not None:
                self.undo.append((self.facts, key, self.facts[key]))
            del self.facts[key]

    # Several changes that are one

    def begin_unit(self) -> None:
        """What follows is undone by `undo_unit`, until `end_unit`."""
        self.undo = []

    def end_unit(self) -> None:
        """What was done since `begin_unit` stays."""
        self.undo = None

    def undo_unit(self) -> None:
        """Undo every change since `begin_unit`."""
        undo, self.undo = self.undo or [], None
        for changed, key, before in reversed(undo):
            if before is _MISSING:
                changed.pop(key, None)
            else:
                changed[key] = before
            if changed is self.changes:
                self.cache.forget(key)

    # Times at which states are to be looked at

    def look_at(self, key: bytes, due: int) -> None:
        """Have a state looked at when the watermark is there."""
        self._dues[DUE + ordered(due) + key] = b""

    def due(self, upto: int, limit: int) -> list[bytes]:
        """At most `limit` keys of states that are to be looked at by now; each is told once.

        Only committed ones: what is looked at a commit later is looked at all the same.
        """
        found = self._scan(DUE, DUE + ordered(upto + 1), limit)
        frozen = self._frozen.entries if self._frozen is not None else {}
        taken = [key for key, _ in found if key not in self._dues and key not in frozen][:limit]
        self._dues.update(dict.fromkeys(taken))
        return [key[9:] for key in taken]

    def windows(self, upto: int, limit: int) -> list[bytes]:
        """At most `limit` keys of hopping windows' states that begin by then, earliest first.

        Also those that are not committed yet: a key's windows are to close in their order.
        """
        stop = WINDOW + ordered(upto + 1)
        found = {key for key, _ in self._scan(WINDOW, stop, limit)}
        for changes in self._levels():
            found.update(key for key in changes if WINDOW <= key < stop)
        return [key for key in sorted(found) if self.held(key) is not None][:limit]

    def _scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Entries of the store, and so many more as may be gone already above it."""
        assert not self._committed
        assert not self._leaving
        frozen = len(self._frozen.entries) if self._frozen is not None else 0
        above = len(self.changes) + len(self._dues) + frozen
        return self.store.scan(start, stop, limit + above)

    # Transactions

    def freeze(self, *, offset: int | None, input_id: str) -> Flush:
        """Close the changes so far: they are what the transaction commits.

        Args:
            offset: The next offset of the input partition; None where it has not moved.
            input_id: The input topic's id.
        """
        assert self._frozen is None
        entries, dues = self.changes, self._dues
        if offset is None and self._meta is not None:
            offset = self._meta.offset
        if offset is not None:
            commits = self.commits + 1
            self._meta = Meta(offset, input_id, self.watermark.progress(), commits)
            entries[META] = msgspec.msgpack.encode(self._meta)
            if not self._typed:
                key, description = self._type_entry
                entries[key] = description
        facts = list(self.facts.values())
        self._frozen = _Frozen({**entries, **dues} if dues else entries, self._meta)
        self.changes, self._dues, self.facts = {}, {}, {}
        self.cache.make_room()
        return Flush(facts, entries)

    def commit(self, position: object) -> None:
        """What was frozen is committed: it is the store's now.

        Args:
            position: Where the store stands in the changelog; handed to it.

        Raises:
            PlatformError: The store cannot be written.
        """
        self.committed()
        self.leave()
        self.write(position)
        self.written()

    def committed(self) -> None:
        """What was frozen is committed; the store is yet to get it."""
        frozen, self._frozen = self._frozen, None
        if frozen is not None:
            if self._committed:
                self._committed.update(frozen.entries)
            else:
                self._committed = frozen.entries
            self._base = frozen.meta
            self._typed = self._typed or self._type_entry[0] in frozen.entries

    @property
    def is_full(self) -> bool:
        """Whether as much waits for the store as may: half of what the cache may hold."""
        return len(self._committed) >= self._most_waiting

    def leave(self) -> None:
        """Put what waits for the store on its way; `write` and `written` follow."""
        if self._leaving:
            # It could not be written.
            self._leaving.update(self._committed)
        else:
            self._leaving = self._committed
        self._committed = {}

    def write(self, position: object) -> None:
        """Write what is on its way; any thread may, while the shard's goes on. As `commit`."""
        if self._leaving:
            self.store.apply(self._leaving, position)

    def written(self) -> None:
        """What was on its way is the store's now."""
        if self._leaving:
            self._leaving = {}
            self._absent.clear()
            self.unseen = True

    def rollback(self) -> None:
        """Forget whatever is not frozen."""
        self._forget(self.changes)
        self.changes, self._dues, self.facts, self.undo = {}, {}, {}, None
        self._meta = self._frozen.meta if self._frozen is not None else self._base
        self.watermark.restore(self._meta.progress if self._meta is not None else Progress())
        self.unseen = True

    def thaw(self) -> None:
        """What was frozen is not committed, and forgotten with all that came after it."""
        if self._frozen is not None:
            self._forget(self._frozen.entries)
        self._frozen = None
        self.rollback()

    def _forget(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            self.cache.forget(key)
