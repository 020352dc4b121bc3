"""Where a product remembers: an event changes the state of its key, and the state becomes a fact.

    fold       the product's function: state and event into a state     CodeError
    write      the state, as the bytes that it is kept as               CodeError
    fact       the product's function, where the state is no fact       CodeError
    quality, encode                                                     as for every fact

All of it, before anything is remembered: an event whose state, fact or rule goes wrong is rejected
whole and leaves the state as it was. With `emit: on_close` the last three wait until the window
closes; a window whose fact is wrong then becomes a dead letter itself.

The rules of time are those of `windows.py`. No Kafka and no clock: time is the events' own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import msgspec

from mesh_stream.errors import ContractError, PlatformError, RecordError
from mesh_stream.pipeline.entries import STATE, WINDOW
from mesh_stream.pipeline.events import LATE, Arrival, key_from_text
from mesh_stream.pipeline.record import NO_OFFSET, Fact, Headers, Outcome, Rejected
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.stages import StagesByType, count_filtered, count_tolerated, enforce
from mesh_stream.pipeline.state_codec import Written
from mesh_stream.pipeline.transform import code_error
from mesh_stream.pipeline.windows import NEVER, ordered, starts, unordered, window
from mesh_stream.product.product import Emit, Hopping, Product, Rule, Session, Untimely

PASSING = (PlatformError, RecordError, MemoryError)
"""What the product's own functions may raise and mean: it is not for want of the function."""

_json = msgspec.json.Encoder()


class Moment:
    """A window that closes: what stands for an input record where its fact is made.

    Also what becomes a dead letter where that fact is wrong, with the state as the value.
    """

    __slots__ = ("_at", "_partition", "_topic", "_value", "arrived", "text")

    def __init__(
        self,
        key: bytes,
        at: int,
        *,
        topic: str,
        partition: int,
        arrived: int = -1,
        value: bytes | None = None,
    ) -> None:
        self.text = key
        self.arrived = arrived
        self._at = at
        self._topic = topic
        self._partition = partition
        self._value = value

    def topic(self) -> str:  # noqa: D102 - as every record
        return self._topic

    def partition(self) -> int:  # noqa: D102
        return self._partition

    def offset(self) -> int:  # noqa: D102
        return NO_OFFSET

    def key(self) -> bytes:  # noqa: D102
        return self.text

    def value(self) -> bytes | None:  # noqa: D102
        return self._value

    def headers(self) -> Headers | None:  # noqa: D102
        return None

    def timestamp(self) -> tuple[int, int]:  # noqa: D102
        return (1, self._at)


class Fold:
    """A product's fold over its shards; whoever runs it gives and takes these.

    Args:
        product: A product with state.
        schema_id: The registry's id of its contract.

    Attributes:
        shards: Partition -> what it remembers.
        stages: Quality and encoding, by the type of the record.
        dates_its_facts: Whether a fact says by itself when it happened.
        is_keyed: Whether it is one state a key, for ever.
        add: Adds one event and the rules that its facts break all the same; returns whether it came
            in time. Where it raises, nothing has happened.
    """

    def __init__(self, product: Product, *, schema_id: int) -> None:
        assert product.state is not None
        self.shards: dict[int, Shard] = {}
        self.state = state = product.state
        self._product = product
        self.stages = StagesByType(product, schema_id)
        self._on_change = state.emit is Emit.ON_CHANGE
        self._key = key_from_text(state)
        self.is_keyed = state.window is None and state.ttl is None
        self.dates_its_facts = product.output.event_time is not None
        self._fold = _guarded(state.fold.call, state.fold.origin)
        self._merge = (
            None if state.merge is None else _guarded(state.merge.call, state.merge.origin)
        )
        self.add: Callable[[Shard, Arrival, list[Rule]], bool]
        if isinstance(state.window, Hopping):
            self.add = self._add_to_windows
        elif isinstance(state.window, Session):
            self.add = self._add_to_session
        elif state.ttl is not None:
            self.add = self._add_for_a_while
        else:
            self.add = self._add_for_ever

    def count(self, in_time: bool, tolerated: Sequence[Rule], outcome: Outcome) -> None:
        """Count an input record whose events were added, and the rules that were tolerated.

        Raises:
            ContractError: It was late, and late ones are to be dead letters.
        """
        if in_time:
            outcome.sources += 1
            if tolerated:
                count_tolerated(outcome, tolerated)
        elif self.state.late is Untimely.DROP:
            count_filtered(outcome, LATE)
        else:
            raise ContractError(
                "the event is late: its windows are closed; expected it within `state.grace`",
                rule="late",
            )

    # One event

    def _add_for_ever(self, shard: Shard, arrival: Arrival, tolerated: list[Rule]) -> bool:
        entry = STATE + arrival.text
        before = shard.get(entry)
        state = self._fold(before, arrival.event)
        if state is None:
            if before is not None:
                shard.put(entry, None)
        elif state is not before or not shard.holds(entry, state):
            written = shard.codec.written(state)
            shard.publish(entry, self._fact(None, written.entry, arrival, tolerated))
            shard.put(entry, written)
        return True

    def _add_for_a_while(self, shard: Shard, arrival: Arrival, tolerated: list[Rule]) -> bool:
        assert self.state.ttl is not None
        entry, at = STATE + arrival.text, arrival.at
        last, before = shard.get(entry) or (NEVER, None)
        state = self._fold(before, arrival.event)
        if state is None:
            if before is not None:
                shard.put(entry, None)
            return True
        written = shard.codec.written((max(last, at), state))
        if state is not before or not shard.holds(entry, (last, state)):
            shard.publish(entry, self._fact(None, written.entry[1], arrival, tolerated))
        shard.put(entry, written)
        if before is None:
            shard.look_at(entry, at + self.state.ttl)
        return True

    def _add_to_windows(self, shard: Shard, arrival: Arrival, tolerated: list[Rule]) -> bool:
        shape = self.state.window
        assert isinstance(shape, Hopping)
        closed = max(arrival.highest, shard.watermark.value) - self.state.grace - shape.size
        changes: list[tuple[bytes, Written | None, Fact | None]] = []
        in_time = False
        for start in starts(arrival.at, shape):
            if start <= closed:
                continue
            in_time = True
            entry = WINDOW + ordered(start) + arrival.text
            before = shard.get(entry)
            state = self._fold(before, arrival.event)
            if state is None:
                if before is not None:
                    changes.append((entry, None, None))
            elif state is not before or not shard.holds(entry, state):
                written, fact = shard.codec.written(state), None
                if self._on_change:
                    span = (start, start + shape.size)
                    fact = self._fact(span, written.entry, arrival, tolerated)
                changes.append((entry, written, fact))
        for entry, kept, fact in changes:
            if fact is not None:
                shard.publish(entry, fact)
            shard.put(entry, kept)
        return in_time

    def _add_to_session(self, shard: Shard, arrival: Arrival, tolerated: list[Rule]) -> bool:
        shape = self.state.window
        assert isinstance(shape, Session)
        assert self._merge is not None
        at = arrival.at
        if at + self.state.grace < max(arrival.highest, shard.watermark.value):
            return False
        entry = STATE + arrival.text
        sessions = shard.get(entry) or ()
        joined = [one for one in sessions if one[0] - shape.gap < at < one[1] + shape.gap]
        others = [one for one in sessions if not one[0] - shape.gap < at < one[1] + shape.gap]
        before = reduce(self._merge, (one[2] for one in joined)) if joined else None
        state = self._fold(before, arrival.event)
        if state is None:
            if joined:
                shard.put(entry, shard.codec.written(tuple(others)) if others else None)
            return True
        start = min([at, *(one[0] for one in joined)])
        end = max([at, *(one[1] for one in joined)])
        is_same = len(joined) == 1 and (start, end) == joined[0][:2] and state is before
        if is_same and shard.holds(entry, sessions):
            return True
        place = sum(one[0] < start for one in others)
        written = shard.codec.written((*others[:place], (start, end, state), *others[place:]))
        fact = None
        if self._on_change:
            fact = self._fact((start, end), written.entry[place][2], arrival, tolerated)
        shard.put(entry, written)
        for one in joined:
            # It begins elsewhere now, or has become part of another.
            shard.withdraw(entry + ordered(one[0]))
        if fact is not None:
            shard.publish(entry + ordered(start), fact)
        if not joined:
            shard.look_at(entry, at + shape.gap + self.state.grace)
        return True

    def _fact(
        self,
        span: tuple[int, int] | None,
        state: Any,
        cause: Arrival | Moment,
        tolerated: list[Rule],
    ) -> Fact:
        """The fact that a state is, or is made of, judged and encoded.

        Args:
            span: Its window, in milliseconds since the epoch.
            state: The state.
            cause: The event that made it, or the moment; whose key and time the fact has.
            tolerated: Receives the rules that it breaks and is published all the same.
        """
        record = state
        if (make := self.state.fact) is not None:
            within = None if span is None else _window(*span)
            try:
                record = make.call(self._key(cause.text), within, state)
            except PASSING:
                raise
            except Exception as error:
                raise code_error(error, make.origin) from error
        judge, encode = self.stages[record.__class__]
        broken = judge(record)
        if broken is not None:
            enforce(broken, cause)
        fact = encode(record, cause, cause.arrived)
        if broken is not None:
            tolerated += broken
        return fact

    # What time closes

    def close(self, partition: int, outcome: Outcome, limit: int) -> int:
        """Close what the watermark has gone past; returns how many were looked at.

        Args:
            partition: The shard.
            outcome: Receives the facts of `emit: on_close`, and the windows whose fact is wrong.
            limit: At most so many at once.
        """
        shard, state = self.shards[partition], self.state
        before = shard.watermark.value
        watermark = shard.watermark.advance()
        if not shard.unseen and watermark == before:
            return 0
        if watermark <= NEVER:
            return 0
        if isinstance(state.window, Hopping):
            upto = watermark - state.grace - state.window.size
            keys = shard.windows(upto, limit)
            for entry in keys:
                start = unordered(entry[1:9])
                span = (start, start + state.window.size)
                self._emit(partition, entry[9:], span, shard.get(entry), outcome)
                shard.put(entry, None)
                outcome.closed += 1
        else:
            keys = shard.due(watermark, limit)
            look = self._look_at_sessions if state.window is not None else self._look_at_age
            for entry in keys:
                look(partition, shard, entry, watermark, outcome)
        shard.unseen = len(keys) >= limit
        return len(keys)

    def _look_at_age(
        self, _partition: int, shard: Shard, entry: bytes, watermark: int, outcome: Outcome
    ) -> None:
        found = shard.get(entry)
        if found is None:
            return
        assert self.state.ttl is not None
        due = found[0] + self.state.ttl
        if due > watermark:
            shard.look_at(entry, due)
            return
        shard.put(entry, None)
        outcome.closed += 1

    def _look_at_sessions(
        self, partition: int, shard: Shard, entry: bytes, watermark: int, outcome: Outcome
    ) -> None:
        shape = self.state.window
        assert isinstance(shape, Session)
        sessions = shard.get(entry) or ()
        patience = shape.gap + self.state.grace
        opened = []
        for start, end, state in sessions:
            if end + patience > watermark:
                opened.append((start, end, state))
                continue
            self._emit(partition, entry[1:], (start, end), state, outcome)
            outcome.closed += 1
        if len(opened) < len(sessions):
            shard.put(entry, shard.codec.written(tuple(opened)) if opened else None)
        if opened:
            shard.look_at(entry, min(end for _, end, _ in opened) + patience)

    def _emit(
        self, partition: int, key: bytes, span: tuple[int, int], state: Any, outcome: Outcome
    ) -> None:
        """Publish a window's fact, now that nothing can change it."""
        if self._on_change:
            return
        topic = self._product.changelog_topic
        tolerated: list[Rule] = []
        try:
            arrived = self.shards[partition].arrived
            closing = Moment(key, span[1], topic=topic, partition=partition, arrived=arrived)
            outcome.facts.append(self._fact(span, state, closing, tolerated))
        except RecordError as error:
            value = _as_json(state)
            letter = Moment(key, span[1], topic=topic, partition=partition, value=value)
            outcome.unfit.append(Rejected(letter, error.fault_class, error.rule, error.reason))
        count_tolerated(outcome, tolerated)


def _as_json(state: Any) -> bytes:
    """A state for people to read; as the bytes it is kept as, where JSON has no way to say it."""
    try:
        return _json.encode(state)
    except (TypeError, ValueError, OverflowError):
        return msgspec.msgpack.encode(state)


def _window(start: int, end: int) -> Any:
    try:
        return window(start, end)
    except OverflowError as error:
        raise ContractError(
            "the window lies outside the years 1 to 9999", rule="event_time"
        ) from error


def _guarded(function: Callable[..., Any], origin: str) -> Callable[..., Any]:
    """The product's own function, held so that its failures are a record's failures."""

    def guarded(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except PASSING:
            raise
        except Exception as error:
            raise code_error(error, origin) from error

    return guarded
