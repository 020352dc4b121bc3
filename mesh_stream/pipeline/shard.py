"""What one partition of a product remembers: changes not yet committed, over a store of what is.

    changes     of the transaction that is being filled
    frozen      of the one that is being committed
    cache       committed states, as objects, the recently used ones
    store       all committed states, as bytes

A look-up goes down in that order. Invariants: the store and the cache hold nothing that is not
committed; dropping what lies above them is all that an abort takes. What a look-up gives is always
what the bytes say, so that an event comes to the same whether a commit, a restart or nothing lies
between it and the one before. States are never changed in place: one whose type could be is kept as
bytes above the store, too, and decoded for every event.

Keys of entries begin with one byte that says what they are:

    s key              a state without windows, or a key's sessions
    w start key        the state of a hopping window
    d due key          when to look at a state that may expire; of the store alone
    m                  how far this partition has come (`Meta`)
    t fingerprint      what the type of the states looks like
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from mesh_stream.errors import CodeError
from mesh_stream.pipeline.record import Fact
from mesh_stream.pipeline.state_cache import Cache
from mesh_stream.pipeline.watermark import Progress, Watermark
from mesh_stream.pipeline.windows import ordered

META = b"m"
STATE, WINDOW, DUE, TYPE = b"s", b"w", b"d", b"t"
_MISSING = object()

Entries = Mapping[bytes, bytes | None]
"""Key -> value; None deletes."""


class Store(Protocol):
    """Committed entries, in the order of their keys: a folder on disk, or a dict in a test."""

    def get(self, key: bytes) -> bytes | None: ...  # noqa: D102
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...  # noqa: D102
    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries from `start` on, before `stop`."""
        ...

    def apply(self, changes: Entries, position: Any) -> None:
        """Make changes, all or none of them, and note where the changelog is."""
        ...


def meta_of(store: Store) -> Meta | None:
    """How far a partition has come, by its store; None where nothing was ever committed."""
    encoded = store.get(META)
    return None if encoded is None else msgspec.msgpack.decode(encoded, type=Meta)


class Meta(msgspec.Struct, frozen=True):
    """How far a partition has come; written with every transaction that moves it.

    Attributes:
        offset: The next offset of the input partition; equal to the group's committed one.
        input_id: The input topic's id on the broker: another topic of the same name has another.
        progress: Its watermark.
        commits: How many transactions have changed this partition. The offset alone does not tell
            two states apart: closing windows leaves it where it was.
    """

    offset: int
    input_id: str
    progress: Progress
    commits: int = 0


class Written(msgspec.Struct, frozen=True, gc=False):
    """An entry as it is kept; made for every event, so of the cheapest type there is.

    Attributes:
        encoded: Its bytes.
        entry: What they say.
        held: What is kept in memory: the entry, or its bytes where it could be changed.
    """

    encoded: bytes
    entry: Any
    held: Any


class Codec:
    """States as objects and as bytes.

    Args:
        entry_type: What the entries hold.
        origin: The fold, for messages.
        mutable: Whether such an object can be changed in place.
    """

    def __init__(self, entry_type: Any, *, origin: str, mutable: bool) -> None:
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(entry_type).decode
        self.mutable = mutable
        self._origin = origin

    def written(self, entry: Any) -> Written:
        """An entry as bytes that are known to be readable.

        Raises:
            CodeError: They are not: a state holds what its type does not say.
        """
        try:
            encoded = self.encode(entry)
            read = self.decode(encoded)
        except MemoryError:
            raise
        except Exception as error:
            raise CodeError(
                f"{self._origin} made a state that does not fit its own type: it could not be "
                f"written and read again ({type(error).__name__})",
                rule="state",
            ) from error
        return Written(encoded, read, encoded if self.mutable else read)


@dataclass(slots=True)
class _Frozen:
    """The changes of the transaction that is being committed."""

    changes: dict[bytes, Written | None]
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
        cached: Most objects in the cache.
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
        self._cache = Cache(cached)
        self._absent: set[bytes] = set()
        self._type_entry = type_entry
        self._typed = store.get(type_entry[0]) is not None
        self.facts: dict[bytes, Fact] = {}
        """Entry key -> the newest fact that it is the source of."""
        self._changes: dict[bytes, Written | None] = {}
        self._dues: dict[bytes, bytes | None] = {}
        self._frozen: _Frozen | None = None
        self._undo: list[tuple[dict[bytes, Any], bytes, Any]] | None = None
        self._meta = self._base = meta_of(store)
        self.watermark = Watermark(sources, self._meta.progress if self._meta else Progress())
        self.unseen = True
        """Whether there may be something due that nobody has looked for."""
        self.get: Callable[[bytes], Any] = self._read if codec.mutable else self._held
        """The state under a key as of now, or None."""
        self.arrived = -1
        """When the newest record arrived that came here, of those since it is here; -1: none."""

    def __bool__(self) -> bool:
        """Whether anything is to be committed."""
        return bool(self._changes or self.facts or self._dues)

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

    def _read(self, key: bytes) -> Any:
        held = self._held(key)
        return None if held is None else self.codec.decode(held)

    def holds(self, key: bytes, entry: Any) -> bool:
        """Whether what `get` gave is still what it was, where it could have been changed."""
        return not self.codec.mutable or self.codec.encode(entry) == self._held(key)

    def _held(self, key: bytes) -> Any:
        change: Any = self._changes.get(key, _MISSING)
        if change is _MISSING and self._frozen is not None:
            change = self._frozen.changes.get(key, _MISSING)
        if change is not _MISSING:
            return None if change is None else change.held
        found = self._cache.get(key)
        if found is None and key not in self._absent:
            found = self._load(key, self.store.get(key))
        return found

    def _load(self, key: bytes, value: bytes | None) -> Any:
        if value is None:
            return None
        found = value if self.codec.mutable else self.codec.decode(value)
        self._cache.put(key, found)
        return found

    def prefetch(self, keys: Iterable[bytes]) -> None:
        """Bring states into the cache, all at once, that are about to be asked for."""
        unknown = self._cache.lacks(set(keys).difference(self._changes))
        if self._frozen is not None:
            unknown = unknown.difference(self._frozen.changes)
        missing = list(unknown)
        self._absent.clear()
        for key, value in zip(missing, self.store.get_many(missing), strict=True):
            if self._load(key, value) is None:
                self._absent.add(key)

    def change(self, key: bytes, entry: Written, fact: Fact) -> None:
        """Change the state under a key, and publish what it has become: `put` and `publish`."""
        if self._undo is None:
            self._changes[key] = entry
            self.facts[key] = fact
        else:
            self.put(key, entry)
            self.publish(key, fact)

    def put(self, key: bytes, entry: Written | None) -> None:
        """Change the state under a key to what the codec wrote; None forgets it."""
        if self._undo is not None:
            self._undo.append((self._changes, key, self._changes.get(key, _MISSING)))
        self._changes[key] = entry

    def publish(self, key: bytes, fact: Fact) -> None:
        """Publish a fact with the transaction, instead of what was to be published for the key."""
        if self._undo is not None:
            self._undo.append((self.facts, key, self.facts.get(key, _MISSING)))
        self.facts[key] = fact

    def withdraw(self, key: bytes) -> None:
        """Publish nothing for a key: what it is of has become part of something else."""
        if key in self.facts:
            if self._undo is not None:
                self._undo.append((self.facts, key, self.facts[key]))
            del self.facts[key]

    # Several changes that are one

    def begin_unit(self) -> None:
        """What follows is undone by `undo_unit`, until `end_unit`."""
        self._undo = []

    def end_unit(self) -> None:
        """What was done since `begin_unit` stays."""
        self._undo = None

    def undo_unit(self) -> None:
        """Undo every change since `begin_unit`."""
        undo, self._undo = self._undo or [], None
        for changed, key, before in reversed(undo):
            if before is _MISSING:
                changed.pop(key, None)
            else:
                changed[key] = before

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
        found.update(key for key in self._changes if WINDOW <= key < stop)
        if self._frozen is not None:
            found.update(key for key in self._frozen.changes if WINDOW <= key < stop)
        return [key for key in sorted(found) if self.get(key) is not None][:limit]

    def _scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Entries of the store, and so many more as may be gone already above it."""
        frozen = len(self._frozen.entries) if self._frozen is not None else 0
        above = len(self._changes) + len(self._dues) + frozen
        return self.store.scan(start, stop, limit + above)

    # Transactions

    def freeze(self, *, offset: int | None, input_id: str) -> Flush:
        """Close the changes so far: they are what the transaction commits.

        Args:
            offset: The next offset of the input partition; None where it has not moved.
            input_id: The input topic's id.
        """
        assert self._frozen is None
        entries = {
            key: None if entry is None else entry.encoded for key, entry in self._changes.items()
        }
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
        self._frozen = _Frozen(self._changes, {**entries, **self._dues}, self._meta)
        self._changes, self._dues, self.facts = {}, {}, {}
        return Flush(facts, entries)

    def commit(self, position: object) -> None:
        """What was frozen is committed: it is the store's now.

        Args:
            position: Where the store stands in the changelog; handed to it.

        Raises:
            PlatformError: The store cannot be written.
        """
        frozen, self._frozen = self._frozen, None
        if frozen is None:
            return
        self.store.apply(frozen.entries, position)
        held = {key: kept.held for key, kept in frozen.changes.items() if kept is not None}
        self._cache.update(held, gone=frozen.changes.keys() - held.keys())
        self._absent.clear()
        self._base = frozen.meta
        self._typed = self._typed or self._type_entry[0] in frozen.entries
        self.unseen = True

    def rollback(self) -> None:
        """Forget whatever is not frozen."""
        self._changes, self._dues, self.facts, self._undo = {}, {}, {}, None
        self._meta = self._frozen.meta if self._frozen is not None else self._base
        self.watermark.restore(self._meta.progress if self._meta is not None else Progress())
        self.unseen = True

    def thaw(self) -> None:
        """What was frozen is not committed, and forgotten with all that came after it."""
        self._frozen = None
        self.rollback()
