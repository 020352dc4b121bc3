"""Products that remember, and a worker's transactions over them with no broker and no thread.

`Course` plays what `runtime/` does with the pipelines: it reads partitions as far as it is told to,
freezes, commits and aborts when it is told to, and keeps of facts, dead letters, forwarded events
and positions what was committed. So a property can be held against any order of these.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from zlib import crc32

import fastavro
import msgspec

from mesh_stream.pipeline.events import Notice, source_of
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.pipeline.record import Fact, Outcome, Rejected
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.state_layout import codec_of, type_entry
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import (
    Contract,
    Emit,
    Function,
    Hopping,
    Input,
    Product,
    Session,
    State,
    Untimely,
)
from mesh_stream.testing import MemoryMessage, MemorySchemas, MemoryStore
from tests.pipeline.making import MILLIS, contract, port, product, transformation

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
T0 = 1_767_225_600_000
"""2026-01-01T00:00:00Z: the start of a window of every size that divides a day."""

WINDOWS: list[Hopping | Session] = [
    Hopping(10 * MINUTE, 10 * MINUTE),
    Hopping(10 * MINUTE, 3 * MINUTE),
    Session(5 * MINUTE),
]


class Move(msgspec.Struct, frozen=True):
    """An event."""

    sku: str
    units: int
    at: int = T0


class Sum(msgspec.Struct, frozen=True):
    """A state that comes to the same in whatever order its events come."""

    count: int
    units: int
    first: int
    last: int


def add(state: Sum | None, event: Move) -> Sum | None:
    """A fold."""
    one = Sum(1, event.units, event.at, event.at)
    return one if state is None else both(state, one)


def both(a: Sum, b: Sum) -> Sum:
    """A merge."""
    return Sum(a.count + b.count, a.units + b.units, min(a.first, b.first), max(a.last, b.last))


def summed(key: Any, window: Any, state: Sum) -> dict[str, Any]:
    """A fact."""
    return {
        "sku": str(key),
        "start": None if window is None else window.start,
        "end": None if window is None else window.end,
        "count": state.count,
        "units": state.units,
    }


SUMS = contract(
    sku="string", start=["null", MILLIS], end=["null", MILLIS], count="long", units="long"
)


def function(call: Callable[..., Any] | None) -> Any:
    """A function as the loader would hand it over."""
    if call is None:
        return None
    return Function(call, f"pipeline/{call.__code__.co_filename.split('/')[-1]}:{call.__name__}")


def state(
    fold: Callable[..., Any] = add,
    *,
    fact: Callable[..., Any] | None = summed,
    merge: Callable[..., Any] | None = both,
    **parts: Any,
) -> State:
    """A declaration, everything else as a team leaves it."""
    said: dict[str, Any] = {
        "event_type": Move,
        "state_type": Sum,
        "key": "sku",
        "key_type": str,
        "window": None,
        "grace": 0,
        "emit": Emit.ON_CHANGE,
        "late": Untimely.DEAD_LETTER,
        "ahead": HOUR,
        "early": Untimely.DEAD_LETTER,
        "idle": MINUTE,
        "ttl": None,
        "repartitions": True,
        **parts,
    }
    return State(fold=function(fold), fact=function(fact), merge=function(merge), **said)


def as_it_comes(event: Any) -> Any:
    """What is applied to records that are events already."""
    return event


def events_from(
    topic: str = "raw.moves", record_type: Any = Move, *, key: str | None = None, at: str = "at"
) -> Input:
    """An input of events."""
    said = port(transformation(as_it_comes, record_type), topic=topic)
    return dataclasses.replace(said, key=key, event_time=at or None)


def remembering(
    said: State, *ports: Input, facts: Contract = SUMS, rules: Sequence[Any] = (), **more: Any
) -> Product:
    """A product with state; from one input, which is keyed by `sku` where it need not be again."""
    keyed = None if said.repartitions else said.key
    inputs = ports or (events_from(record_type=said.event_type, key=keyed),)
    return dataclasses.replace(product(facts, *inputs, rules=rules, **more), state=said)


def record(
    event: Any,
    offset: int,
    *,
    topic: str = "raw.moves",
    partition: int = 0,
    timestamp: int | None = None,
) -> MemoryMessage:
    """An event as its input has it, keyed by its `sku`, written when it happened."""
    at = event.at if timestamp is None else timestamp
    value = msgspec.json.encode(event)
    return MemoryMessage(topic, value, event.sku.encode(), None, (1, at), offset, partition)


Place = tuple[str, int]


@dataclass
class _Open:
    """A transaction: what becomes of it shows where it ends."""

    facts: list[Fact] = field(default_factory=list)
    letters: list[Rejected] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    onward: list[MemoryMessage] = field(default_factory=list)
    positions: dict[Place, int] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    closed: int = 0


class Course:
    """One worker that has every partition.

    Args:
        product: A product with state.
        logs: (topic, partition) -> the records of every input partition.
        cached: States in its cache.
    """

    def __init__(
        self, product: Product, logs: dict[Place, list[MemoryMessage]], *, cached: int = 4
    ) -> None:
        self.paths = paths_of(product, schema_id=1, writers=MemorySchemas())
        fold, self.topic = self.paths.fold, self.paths.fold_topic
        assert product.state is not None
        assert fold is not None
        assert self.topic is not None
        self.fold = fold
        self.product = product
        self.partitions = 1 + max(number for _, number in logs)
        self.logs = {place: list(log) for place, log in logs.items()}
        if self.paths.forwards:
            self.logs |= {(self.topic, number): [] for number in range(self.partitions)}
        self.sources = [source_of(*place) for place in logs]
        self.codec = codec_of(product.state)
        self.stores = [MemoryStore() for _ in range(self.partitions)]
        self.cached = cached
        self.done = _Open(positions=dict.fromkeys(self.logs, 0))
        self._frozen: _Open | None = None
        self.restart()

    def restart(self) -> None:
        """Begin again from what was committed, with nothing in memory."""
        state = self.product.state
        assert state is not None
        for number, store in enumerate(self.stores):
            sources = self.sources if self.paths.forwards else [source_of(str(self.topic), number)]
            self.fold.shards[number] = Shard(
                store, self.codec, sources=sources, cached=self.cached, type_entry=type_entry(state)
            )
        self._frozen = None
        self._begin(self.done)

    def _begin(self, before: _Open) -> None:
        self.open = _Open(positions=dict(before.positions))
        for topic, forward in self.paths.forwards.items():
            forward.highest = {
                source: at
                for source, at in before.highest.items()
                if source.rpartition(":")[0] == topic
            }

    # What a worker does

    def read(self, place: Place, most: int = 1) -> int:
        """Process the next records of a partition; returns how many there were."""
        at = self.open.positions[place]
        run = self.logs[place][at : at + most]
        if not run:
            return 0
        outcome = Outcome()
        self.paths.pipelines[place[0]].process(run, outcome)
        assert outcome.consumed == len(run)
        assert outcome.consumed == (
            outcome.sources + outcome.filtered.total() + len(outcome.rejected)
        )
        self.open.positions[place] += len(run)
        if place[0] in self.paths.forwards:
            for fact in outcome.facts:
                self._onward(fact.value, fact.key)
            outcome.facts = []
        self._take(outcome)
        return len(run)

    def _onward(self, value: bytes, key: bytes | None) -> None:
        numbers = range(self.partitions) if key is None else [crc32(key) % self.partitions]
        self.open.onward += [
            MemoryMessage(str(self.topic), value, key, record_partition=number)
            for number in numbers
        ]

    def _take(self, outcome: Outcome) -> None:
        self.open.facts += outcome.facts
        self.open.letters += [*outcome.rejected, *outcome.unfit]
        self.open.filtered += outcome.filtered.elements()
        self.open.closed += outcome.closed

    def close(self, number: int, limit: int) -> int:
        """Close at most so many windows of a partition; returns how many were looked at."""
        outcome = Outcome()
        looked_at = self.fold.close(number, outcome, limit)
        assert looked_at <= limit
        self._take(outcome)
        return looked_at

    def tell(self, idle: Sequence[str] = ()) -> None:
        """Tell every partition how far the sources have come."""
        highest: dict[str, int] = {}
        for forward in self.paths.forwards.values():
            highest |= {one: at for one, at in forward.highest.items() if at > NEVER}
        if self.paths.forwards:
            self._onward(msgspec.json.encode(Notice(highest, tuple(idle))), None)

    def freeze(self) -> None:
        """Begin to commit; what is read from now on is the next transaction's."""
        if self._frozen is not None:
            return
        for number, shard in self.fold.shards.items():
            offset = self.open.positions[str(self.topic), number]
            self.open.facts += shard.freeze(offset=offset, input_id="id").facts
        for forward in self.paths.forwards.values():
            self.open.highest |= forward.highest
        self._frozen = self.open
        self.open = _Open(positions=dict(self.open.positions))

    def commit(self) -> None:
        """What was frozen is committed."""
        frozen, self._frozen = self._frozen, None
        if frozen is None:
            return
        for shard in self.fold.shards.values():
            shard.commit(None)
        for message in frozen.onward:
            log = self.logs[str(self.topic), message.partition()]
            log.append(dataclasses.replace(message, record_offset=len(log)))
        done = self.done
        done.facts += frozen.facts
        done.letters += frozen.letters
        done.filtered += frozen.filtered
        done.positions |= frozen.positions
        done.highest |= frozen.highest
        done.closed += frozen.closed

    def abort(self) -> None:
        """What is not committed is read again."""
        for shard in self.fold.shards.values():
            shard.thaw()
        self._frozen = None
        self._begin(self.done)

    def finish(self, advance_to: int | None = None) -> None:
        """Read everything; then have every source come so far, and close what that closes."""
        self.settle()
        for place in [place for place in self.logs if place[0] in self.paths.forwards]:
            forward = self.paths.forwards[place[0]]
            if advance_to is not None:
                forward.highest[source_of(*place)] = advance_to
        if advance_to is not None and not self.paths.forwards:
            for number, shard in self.fold.shards.items():
                shard.watermark.reached(source_of(str(self.topic), number), advance_to)
        self.tell()
        self.settle()

    def settle(self) -> None:
        """Read, commit and close until nothing is left."""
        busy = 1
        while busy:
            self.commit()
            self.freeze()
            self.commit()
            busy = sum(self.read(place, 1_000) for place in self.logs)
            busy += sum(self.close(number, 1_000) for number in self.fold.shards)

    def stumble(self, seed: int, *, turns: int = 200) -> None:
        """Read, close, tell, freeze, commit, and now and then abort or restart, in some order."""
        choose = random.Random(seed)
        places, numbers = list(self.logs), range(self.partitions)
        turn: dict[Callable[[], object], int] = {
            lambda: self.read(choose.choice(places), choose.randint(1, 3)): 10,
            lambda: self.close(choose.choice(numbers), choose.randint(1, 3)): 4,
            self.tell: 2,
            self.freeze: 4,
            self.commit: 4,
            self.abort: 1,
            self.restart: 1,
        }
        for act in choose.choices(list(turn), list(turn.values()), k=turns):
            act()

    # What came of it

    def published(self) -> list[dict[str, Any]]:
        """The facts that were committed."""
        return [decoded(self.product.contract, fact) for fact in self.done.facts]


def decoded(facts: Contract, fact: Fact) -> dict[str, Any]:
    """A fact as a consumer reads it."""
    schema = fastavro.parse_schema(dict(facts.schema), _force=True)
    read: Any = fastavro.schemaless_reader(BytesIO(fact.value[5:]), schema, None)
    return dict(read)
