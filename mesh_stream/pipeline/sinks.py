"""Where the events of a product with state go: to its fold, or to its own topic to be keyed.

    Direct         input records are keyed by the state's key: straight into the fold
    Forward        they are not: to the product's own topic, keyed
    Repartitioned  from that topic into the fold

Whoever gives a run of records to a `Pipeline` gives it one partition's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from mesh_stream.errors import CodeError, ContractError
from mesh_stream.pipeline.encode import arrival
from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.events import (
    WATERMARK,
    Arrival,
    Notice,
    Reading,
    Timing,
    repartitioned_type,
    source_of,
)
from mesh_stream.pipeline.fold import Fold
from mesh_stream.pipeline.record import Fact, Message, Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.stages import count_filtered
from mesh_stream.pipeline.windows import NEVER
from mesh_stream.product.product import Hopping, Rule, State


class Direct:
    """A sink for input records that are keyed by the state's key.

    Args:
        fold: Where the events go.
        timing: When they happen.

    Attributes:
        stages: As in `pipeline.Sink`, and `shard`, too.
    """

    def __init__(self, fold: Fold, timing: Timing) -> None:
        self._fold = fold
        self._timing = timing
        self._reading = Reading(fold.state)
        # Facts have a time of their own where the product says so; then nothing asks for another.
        is_quick = fold.is_keyed and not timing.matters and fold.dates_its_facts
        self.stages = fold.stages if is_quick else None
        self.shard: Shard | None = None
        self._shard: Shard
        self._source = ""
        self._highest = NEVER
        self._prefetches = not isinstance(fold.state.window, Hopping)

    def begin(self, run: Sequence[Message]) -> None:
        """A run of one partition's records is about to come."""
        topic, partition = run[0].topic(), run[0].partition()
        assert topic is not None
        assert partition is not None
        self._shard = self.shard = shard = self._fold.shards[partition]
        self._source = source_of(topic, partition)
        self._highest = shard.watermark.highest.get(self._source, NEVER)
        shard.arrived = max(shard.arrived, arrival(run[-1]))
        shard.begin(len(run), partial(state_keys, run) if self._prefetches else None)

    @property
    def newest(self) -> int:
        """The highest event time of the run's source, where time matters."""
        return self._highest

    def take(self, event: Any, message: Message, outcome: Outcome) -> None:
        """Add one event."""
        at = self._timing.admit(message, outcome)
        if at is None:
            return
        tolerated: list[Rule] = []
        in_time = self._add(event, at, message, tolerated)
        self._added(in_time, at, tolerated, outcome)

    def take_several(self, events: list[Any], message: Message, outcome: Outcome) -> None:
        """Add the events of one record: all of them, or none."""
        at = self._timing.admit(message, outcome)
        if at is None:
            return
        tolerated: list[Rule] = []
        self._shard.begin_unit()
        try:
            in_time = [self._add(event, at, message, tolerated) for event in events]
        except BaseException:
            self._shard.undo_unit()
            raise
        self._shard.end_unit()
        self._added(any(in_time), at, tolerated, outcome)

    def _add(self, record: Any, at: int, message: Message, tolerated: list[Rule]) -> bool:
        event = self._reading.event(record)
        key = self._reading.own_key(event, message)
        arriving = Arrival(event, at, self._highest, key, message, self._timing.arrived)
        return self._fold.add(self._shard, arriving, tolerated)

    def _added(self, in_time: bool, at: int, tolerated: list[Rule], outcome: Outcome) -> None:
        self._fold.count(in_time, tolerated, outcome)
        if self._timing.matters and at > self._highest:
            self._shard.watermark.reached(self._source, at)
            self._highest = at


class Repartitioned:
    """A sink for what stands on the product's own topic.

    Args:
        fold: Where the events go.
    """

    stages = shard = None

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._timed = fold.state.is_timed
        self._shard: Shard
        self._prefetches = not isinstance(fold.state.window, Hopping)

    @property
    def newest(self) -> int:
        """Told on the way here, where it is known when events arrived."""
        return NEVER

    def begin(self, run: Sequence[Message]) -> None:
        """A run of one partition's records is about to come."""
        partition = run[0].partition()
        assert partition is not None
        self._shard = self._fold.shards[partition]
        self._shard.begin(len(run), partial(state_keys, run) if self._prefetches else None)

    def take(self, arrived: Any, message: Message, outcome: Outcome) -> None:
        """Add one event, or note how far the sources have come."""
        shard = self._shard
        if arrived.__class__ is Notice:
            for source, at in arrived.highest.items():
                shard.watermark.reached(source, at)
            for source in arrived.idle:
                shard.watermark.fell_silent(source)
            # It may close windows: what is told was not known before.
            shard.arrived = max(shard.arrived, arrival(message))
            count_filtered(outcome, WATERMARK)
            return
        key = message.key()
        if key is None:
            raise ContractError("no key; expected the state's", rule="key")
        fold = self._fold
        came = arrived.arrived if arrived.arrived >= 0 else arrival(message)
        if came > shard.arrived:
            shard.arrived = came
        arriving = Arrival(arrived.event, arrived.at, arrived.highest, key, message, came)
        tolerated: list[Rule] = []
        fold.count(fold.add(shard, arriving, tolerated), tolerated, outcome)
        if self._timed:
            shard.watermark.reached(arrived.source, arrived.at)

    def take_several(self, arrived: list[Any], message: Message, outcome: Outcome) -> None:
        """Add several; never asked for, since one record of that topic is one event."""
        for one in arrived:
            self.take(one, message, outcome)


def state_keys(run: Iterable[Message]) -> list[bytes]:
    """The entries that a run's records are about, by their keys."""
    return [STATE + key for message in run if (key := message.key()) is not None]


class Forward:
    """A sink that keys events by the state's key, for the product's own topic.

    Args:
        state: The declaration.
        timing: When the input's events happen.

    Attributes:
        highest: Source -> highest event time it has brought. Whoever runs this keeps it with the
            input's offsets.
    """

    stages = shard = None

    def __init__(self, state: State, timing: Timing) -> None:
        self.highest: dict[str, int] = {}
        self._timing = timing
        self._reading = Reading(state)
        _, self._type = repartitioned_type(state)
        self._encode = msgspec.json.Encoder().encode
        self._source = ""

    def begin(self, run: Sequence[Message]) -> None:
        """A run of one partition's records is about to come."""
        topic, partition = run[0].topic(), run[0].partition()
        assert topic is not None
        assert partition is not None
        self._source = source_of(topic, partition)

    @property
    def newest(self) -> int:
        """The highest event time of the run's source, where time matters."""
        return self.highest.get(self._source, NEVER)

    def take(self, event: Any, message: Message, outcome: Outcome) -> None:
        """Send one event on."""
        self.take_several([event], message, outcome)

    def take_several(self, events: list[Any], message: Message, outcome: Outcome) -> None:
        """Send the events of one record on: all of them, or none."""
        at = self._timing.admit(message, outcome)
        if at is None:
            return
        source = self._source
        highest = self.highest.get(source, NEVER)
        offset, arrived = message.offset(), self._timing.arrived
        facts = []
        for record in events:
            event = self._reading.event(record)
            key = self._reading.key(event)
            try:
                value = self._encode(self._type(at, source, offset, highest, event, arrived))
            except MemoryError:
                raise
            except Exception as error:
                raise CodeError(
                    "the transformation returned an event with a field that is not of its type",
                    rule="transformation",
                ) from error
            facts.append(Fact(value, key, -1))
        outcome.facts += facts
        outcome.sources += 1
        if self._timing.matters and at > highest:
            self.highest[source] = at
