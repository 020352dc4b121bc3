"""What a product remembers, read from its changelog: no group, no lock, no worker disturbed.

The newest value of each key is what counts, and the whole changelog has to be read to know it. What
is held meanwhile is that one value of each key that was asked for, as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mesh_stream.kafka.reader import Reader
from mesh_stream.pipeline.entries import META, STATE, TYPE, WINDOW, Meta
from mesh_stream.pipeline.events import key_from_text
from mesh_stream.pipeline.state_layout import codec_of, misfits
from mesh_stream.pipeline.windows import unordered
from mesh_stream.product.product import Hopping, Product, Session, State

_POLL_SECONDS = 0.2
_START_BYTES = 8


@dataclass(frozen=True, slots=True)
class Span:
    """A window, in milliseconds since the epoch; the end is None where it cannot be told."""

    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """One state, or one session of a key.

    Attributes:
        partition: Where it is kept.
        key: The state's key; None where the product has one state for all.
        span: Its window, or None.
        last: When the key's newest event was, for a state that expires; milliseconds.
        state: The state.
        fits: Whether it is of its type; else it is plain data, as written.
    """

    partition: int
    key: Any
    span: Span | None
    last: int | None
    state: Any
    fits: bool = True


Wanted = Callable[[bytes], bool]
"""Says whether an entry is asked for, by its key on the changelog."""


@dataclass(slots=True)
class Memory:
    """A changelog's newest entries.

    Attributes:
        entries: (Partition, entry key) -> value; those that were asked for.
        metas: Partition -> how far it has come.
        types: Descriptions of the types that states were written by.
        records: How many records were read.
    """

    entries: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    metas: dict[int, Meta] = field(default_factory=dict)
    types: set[bytes] = field(default_factory=set)
    records: int = 0

    def take(self, partition: int, key: bytes, value: bytes | None, wanted: Wanted) -> None:
        """Take one record of the changelog, in a partition's order."""
        self.records += 1
        if key == META:
            if value is not None:
                self.metas[partition] = msgspec.msgpack.decode(value, type=Meta)
        elif key.startswith(TYPE):
            if value is not None:
                self.types.add(value)
        elif value is None:
            self.entries.pop((partition, key), None)
        elif wanted(key):
            self.entries[partition, key] = value


def wanted(key: bytes | None, start: int | None) -> Wanted:
    """Make what chooses entries: those of one key, or all; those of one hopping window, or all."""

    def chosen(entry: bytes) -> bool:
        text, begins = _parts(entry)
        return (key is None or text == key) and (start is None or begins in (None, start))

    return chosen


def read(
    reader: Reader,
    product: Product,
    chosen: Wanted,
    *,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> Memory:
    """Reads a product's changelog to its end, as that is now.

    Args:
        reader: A reader that reads nothing else.
        product: A product with state.
        chosen: Which entries are kept.
        progress: Told how many offsets are read, and of how many.
        stop: Asked now and then; what was read by then is returned.

    Raises:
        PlatformError: The broker did not answer, or refused.
    """
    bounds = reader.bounds([product.changelog_topic])
    ends = {place: end for place, (_, end) in bounds.items()}
    reader.start({place: first for place, (first, _) in bounds.items()})
    total = sum(end - first for first, end in bounds.values())
    memory = Memory()
    while not reader.has_reached(ends) and not stop():
        for message in reader.poll(_POLL_SECONDS):
            partition, offset, key = message.partition(), message.offset(), message.key()
            assert partition is not None
            assert offset is not None
            # What was written since is left out: every partition is shown as of one look.
            if offset < ends[product.changelog_topic, partition] and key is not None:
                memory.take(partition, key, message.value(), chosen)
        done = (reader.positions[place] - first for place, (first, _) in bounds.items())
        progress(min(total, sum(done)), total)
    return memory


def changes(memory: Memory, state: State) -> list[str]:
    """Why what was read is not of the type that is declared now; empty: it is."""
    return misfits(memory.types, state)


def states(memory: Memory, state: State) -> Iterator[Remembered]:
    """Yields every state by its type, by key and window; as plain data what is not of that type."""
    decode = codec_of(state).decode
    name = _name_reader(state)
    for partition, entry, value in _sorted(memory):
        text, start = _parts(entry)
        try:
            held, key = decode(value), name(text)
        except (msgspec.MsgspecError, ValueError):
            # A worker would not have written it.
            yield _as_written(partition, entry, value)
            continue
        if isinstance(state.window, Session):
            for first, last, one in held:
                yield Remembered(partition, key, Span(first, last), None, one)
        elif isinstance(state.window, Hopping) and start is not None:
            span = Span(start, start + state.window.size)
            yield Remembered(partition, key, span, None, held)
        elif state.window is None and state.ttl is not None:
            yield Remembered(partition, key, None, held[0], held[1])
        else:
            yield Remembered(partition, key, None, None, held)


def as_written(memory: Memory) -> Iterator[Remembered]:
    """Yields every entry as the plain data that it was written as, whatever its type was."""
    for partition, entry, value in _sorted(memory):
        yield _as_written(partition, entry, value)


def _as_written(partition: int, entry: bytes, value: bytes) -> Remembered:
    text, start = _parts(entry)
    span = None if start is None else Span(start, None)
    try:
        held = msgspec.msgpack.decode(value)
    except msgspec.MsgspecError:
        held = value
    return Remembered(partition, text.decode(errors="replace"), span, None, held, fits=False)


def _parts(entry: bytes) -> tuple[bytes, int | None]:
    """The state's key in an entry's, and the start of its window where that stands there."""
    if entry.startswith(WINDOW):
        at = len(WINDOW) + _START_BYTES
        return entry[at:], unordered(entry[len(WINDOW) : at])
    return entry.removeprefix(STATE), None


def _name_reader(state: State) -> Callable[[bytes], Any]:
    if state.key is None:
        return lambda _text: None
    return key_from_text(state)


def _sorted(memory: Memory) -> Iterator[tuple[int, bytes, bytes]]:
    for partition, entry in sorted(memory.entries, key=lambda one: (_order(one[1]), one[0])):
        yield partition, entry, memory.entries[partition, entry]


def _order(entry: bytes) -> tuple[bytes, int]:
    text, start = _parts(entry)
    return text, start or 0
