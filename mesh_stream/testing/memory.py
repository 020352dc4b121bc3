"""What stands for the broker, the registry and the disk where there are none: in tests.

Records, writer schemas, a store, and the states of a product with the topic that leads to them: the
part that `runtime/` plays for a worker, with the same fold, the same shards and the same order of
freeze and commit, and without its threads.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import msgspec

from mesh_stream.pipeline.avro_input import SchemaId
from mesh_stream.pipeline.entries import STATE, WINDOW, Entries
from mesh_stream.pipeline.events import Notice, key_from_text, source_of
from mesh_stream.pipeline.paths import Paths
from mesh_stream.pipeline.record import Headers, Message, Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import codec_of, type_entry
from mesh_stream.pipeline.windows import NEVER, unordered
from mesh_stream.product.product import Product, Session

CONTRACT_ID = 1
"""The schema id that facts are framed with."""

_CLOSED_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """An input record that was never on a broker; what `confluent_kafka.Message` is with one."""

    topic_name: str
    payload: bytes | None
    record_key: bytes | None = None
    record_headers: Headers | None = None
    record_timestamp: tuple[int, int] = (0, -1)
    record_offset: int = 0
    record_partition: int = 0

    def topic(self) -> str:
        """The input topic."""
        return self.topic_name

    def partition(self) -> int:
        """The partition, counted from 0."""
        return self.record_partition

    def offset(self) -> int:
        """The offset in the partition."""
        return self.record_offset

    def key(self) -> bytes | None:
        """The key's bytes."""
        return self.record_key

    def value(self) -> bytes | None:
        """The value's bytes; None is a tombstone."""
        return self.payload

    def headers(self) -> Headers | None:
        """The headers in order, duplicates kept; None where there are none."""
        return self.record_headers

    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since the epoch); kind 0 where the record has none."""
        return self.record_timestamp


def in_memory(message: Message) -> MemoryMessage:
    """A record as a value, also where a window stands for it."""
    if isinstance(message, MemoryMessage):
        return message
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return MemoryMessage(
        topic, message.value(), message.key(), None, message.timestamp(), offset, partition
    )


class MemorySchemas:
    """Writer schemas by id, as the registry has them."""

    def __init__(self) -> None:
        self._schemas: dict[SchemaId, Any] = {}

    def register(self, schema: Any, *, schema_id: SchemaId | None = None) -> SchemaId:
        """Know a schema; returns its id, a new one where none is given."""
        number = len(self._schemas) + CONTRACT_ID + 1 if schema_id is None else schema_id
        self._schemas[number] = schema
        return number

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        """The schema as JSON data; None where there is none of that id."""
        return self._schemas.get(schema_id)


class MemoryStore:
    """Committed entries of one state partition, in the order of their keys."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self.entries.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of several keys."""
        return [self.entries.get(key) for key in keys]

    def scan(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """At most `limit` entries from `start` on, before `stop`."""
        first, end = bisect_left(self._keys, start), bisect_left(self._keys, stop)
        return [(key, self.entries[key]) for key in self._keys[first : min(end, first + limit)]]

    def apply(self, changes: Entries, position: Any) -> None:  # noqa: ARG002 - there is no changelog
        """Make changes; None deletes."""
        for key, value in changes.items():
            if value is not None:
                if key not in self.entries:
                    insort(self._keys, key)
                self.entries[key] = value
            elif self.entries.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]


class MemoryStates:
    """What a product remembers, and the topic of its own that leads there.

    Args:
        product: A product with state.
        paths: Its pipelines; their fold has its shards from here.
        partitions: Of each input, and of the product's own topic.
    """

    def __init__(self, product: Product, paths: Paths, partitions: int) -> None:
        assert product.state is not None
        assert paths.fold is not None
        assert paths.fold_topic is not None
        self._state = product.state
        self._paths = paths
        self._fold = paths.fold
        self._topic = paths.fold_topic
        self._offsets: Counter[int] = Counter()
        self._told = Notice({})
        self._numbers = range(partitions)
        self._key = key_from_text(product.state)
        self._codec = codec_of(product.state)
        self._stores = [MemoryStore() for _ in self._numbers]
        for number in self._numbers:
            self._fold.shards[number] = Shard(
                self._stores[number],
                self._codec,
                sources=self._sources(number),
                cached=product.limits.cached_states,
                type_entry=type_entry(product.state),
            )

    def _sources(self, number: int) -> list[str]:
        if not self._paths.forwards:
            return [source_of(self._topic, number)]
        return [source_of(topic, n) for topic in self._paths.forwards for n in self._numbers]

    # Records

    def follow(self, message: MemoryMessage, outcome: Outcome) -> None:
        """Take what became of an input record to the fold, where it is not there yet.

        Args:
            message: The input record.
            outcome: What became of it; receives what becomes of its events.

        Raises:
            Interrupted: A platform fault.
            HaltError: A rule with the action `fail` is broken.
        """
        if message.topic() not in self._paths.forwards:
            self._offsets[message.partition()] = message.offset() + 1
            return
        events, outcome.facts = outcome.facts, []
        for event in events:
            assert event.key is not None
            number = partition_of(event.key, len(self._numbers))
            self._read(number, event.value, event.key, message.timestamp(), outcome)

    def _read(
        self,
        number: int,
        value: bytes,
        key: bytes | None,
        timestamp: tuple[int, int],
        outcome: Outcome,
    ) -> None:
        """Read a record of the product's own topic."""
        offset = self._offsets[number]
        arriving = MemoryMessage(self._topic, value, key, None, timestamp, offset, number)
        self._offsets[number] += 1
        self._paths.pipelines[self._topic].process([arriving], outcome)

    # Time

    def advance(self, at: int) -> None:
        """Every source has come to this time (milliseconds since the epoch)."""
        if not self._paths.forwards:
            for number, shard in self._fold.shards.items():
                shard.watermark.reached(source_of(self._topic, number), at)
        for topic, forward in self._paths.forwards.items():
            for source in (source_of(topic, number) for number in self._numbers):
                forward.highest[source] = max(at, forward.highest.get(source, NEVER))

    def _tell_progress(self) -> None:
        highest: dict[str, int] = {}
        for forward in self._paths.forwards.values():
            highest |= forward.highest
        progress = Notice(highest)
        if progress != self._told:
            for number in self._numbers:
                self._read(number, msgspec.json.encode(progress), None, (0, -1), Outcome())
            self._told = progress

    # Transactions

    def commit(self, outcome: Outcome) -> None:
        """Commit what changed, and then whatever time closes, until that is nothing.

        Args:
            outcome: Receives the facts, and the windows whose fact is wrong.

        Raises:
            HaltError: A state does not fit its type.
        """
        closed = 1
        while closed:
            self._tell_progress()
            for number, shard in self._fold.shards.items():
                flush = shard.freeze(offset=self._offsets[number], input_id="in memory")
                outcome.facts += flush.facts
                shard.commit(None)
            closed = sum(
                self._fold.close(number, outcome, _CLOSED_AT_ONCE) for number in self._numbers
            )

    def before(self) -> Any:
        """What `abort` goes back to."""
        highest = {topic: dict(one.highest) for topic, one in self._paths.forwards.items()}
        return self._offsets.copy(), self._told, highest

    def abort(self, before: Any) -> None:
        """Forget what is not committed."""
        self._offsets, self._told, highest = before
        for topic, forward in self._paths.forwards.items():
            forward.highest = highest[topic]
        for shard in self._fold.shards.values():
            shard.thaw()

    # What is remembered

    def states(self) -> Iterator[tuple[Any, int | None, Any]]:
        """Every committed state: its key, where its window begins or None, and what it is."""
        for store in self._stores:
            for entry, value in store.scan(STATE, _after(STATE), len(store.entries)):
                held, key = self._codec.decode(value), self._key(entry[1:])
                if isinstance(self._state.window, Session):
                    yield from ((key, start, state) for start, _end, state in held)
                else:
                    yield key, None, held if self._state.ttl is None else held[1]
            for entry, value in store.scan(WINDOW, _after(WINDOW), len(store.entries)):
                yield self._key(entry[9:]), unordered(entry[1:9]), self._codec.decode(value)


def partition_of(key: bytes | None, partitions: int) -> int:
    """Where a record with a key goes: always to the same partition."""
    return crc32(key or b"") % partitions


def _after(kind: bytes) -> bytes:
    return bytes([kind[0] + 1])
