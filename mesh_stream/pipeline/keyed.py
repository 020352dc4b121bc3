"""One state a key, for ever: the commonest of folds by far, and so all of it in one function.

What it does is what `fold.py` says, `Fold.add` included: the tests hold the two against each other.
It is a closure over one shard, made anew for each run of records, because a call and an attribute
less for every event is what a fold's speed is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mesh_stream.errors import PlatformError, RecordError
from mesh_stream.pipeline.entries import STATE
from mesh_stream.pipeline.events import Reading
from mesh_stream.pipeline.record import Message, Outcome
from mesh_stream.pipeline.shard import Shard
from mesh_stream.pipeline.stages import StagesByType, count_tolerated, enforce
from mesh_stream.pipeline.transform import code_error
from mesh_stream.product.product import State

PASSING = (PlatformError, RecordError, MemoryError)
"""What the product's own functions may raise and mean: it is not for want of the function."""

Take = Callable[[Any, Message, Outcome], None]
"""(what the transformation returned, its input record, outcome). Where it raises, nothing has
happened."""


def taking(
    state: State,
    stages: StagesByType,
    key_from_text: Callable[[bytes], Any],
    reading: Reading,
    shard: Shard,
) -> Take:
    """Make what adds events to the states of one shard, for the length of one run.

    Args:
        state: The declaration; without a window and without a `ttl`.
        stages: Quality and encoding, by the type of the record.
        key_from_text: Turns a key's bytes into what `fact` takes.
        reading: How events and their keys are read; an input record is keyed by the state's key.
        shard: The shard. Whatever makes room in its cache or freezes it ends the run.
    """
    fold, make, own_key = state.fold.call, state.fact, reading.own_key
    make_fact = None if make is None else make.call
    passing, event_of, text_of = reading.passing, reading.event, reading.text
    young, changes, facts = shard.cache.young, shard.changes, shard.facts
    held, encode, decode = shard.held, shard.codec.encode, shard.codec.decode
    mutable = shard.codec.mutable

    def take(event: Any, message: Message, outcome: Outcome) -> None:
        if event.__class__ is not passing:
            event = event_of(event)
        key: Any = message.key()
        try:
            text = text_of(event)
            is_own = text.__class__ is str and text.encode() == key
        except (AttributeError, KeyError, ValueError):
            is_own = False
        if not is_own:
            # Takes its time, and says what is wrong.
            key = own_key(event, message)
        entry = STATE + key
        before = young.get(entry)
        if before is None:
            before = held(entry)
        if mutable and before is not None:
            before = decode(before)
        try:
            now = fold(before, event)
        except PASSING:
            raise
        except Exception as error:
            raise code_error(error, state.fold.origin) from error
        if now is None:
            if before is not None:
                shard.put(entry, None)
        elif now is not before or not shard.holds(entry, now):
            try:
                encoded = encode(now)
                record = kept = decode(encoded)
            except MemoryError:
                raise
            except Exception as error:
                raise shard.codec.misfit(error) from error
            if make_fact is not None:
                try:
                    record = make_fact(key_from_text(key), None, kept)
                except PASSING:
                    raise
                except Exception as error:
                    raise code_error(error, make.origin) from error  # type: ignore[union-attr]  # one is there
            judge, write = stages[record.__class__]
            broken = judge(record)
            if broken is not None:
                enforce(broken, message)
            kind, arrived = message.timestamp()
            fact = write(record, message, arrived if kind else -1)
            if broken is not None:
                count_tolerated(outcome, broken)
            changes[entry], facts[entry] = encoded, fact
            young[entry] = encoded if mutable else kept
        outcome.sources += 1

    return take
