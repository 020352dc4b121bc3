"""One state a key, for ever: the commonest of folds by far, and so all of it in one function.

What it does is what `fold.py` says. It is a closure over one shard, made anew for each run of
records, because a call and an attribute less for every event is what a fold's speed is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mesh_stream.errors import PlatformError, RecordError
from mesh_stream.pipeline.record import Message
from mesh_stream.pipeline.shard import STATE, Shard
from mesh_stream.pipeline.stages import StagesByType, enforce
from mesh_stream.pipeline.state_codec import Written
from mesh_stream.pipeline.transform import code_error
from mesh_stream.product.product import Rule, State

PASSING = (PlatformError, RecordError, MemoryError)
"""What the product's own functions may raise and mean: it is not for want of the function."""

Keep = Callable[[Any, bytes, Message, int], Sequence[Rule]]
"""(event, key, what stands for the input record, when that arrived) -> rules that are broken and
tolerated. Where it raises, nothing has happened."""


def keeping(
    state: State, stages: StagesByType, key_of: Callable[[bytes], Any], shard: Shard
) -> Keep:
    """Make what adds events to the states of one shard, for the length of one run.

    Args:
        state: The declaration; without a window and without a `ttl`.
        stages: Quality and encoding, by the type of the record.
        key_of: Turns a key's bytes into what `fact` takes.
        shard: The shard. Whatever makes room in its cache or freezes it ends the run.
    """
    fold, make, no_rules = state.fold.call, state.fact, ()
    make_fact = None if make is None else make.call
    young, changes, facts = shard.cache.young, shard.changes, shard.facts
    held, encode, decode = shard.held, shard.codec.encode, shard.codec.decode
    mutable = shard.codec.mutable

    def keep(event: Any, key: bytes, cause: Message, arrived: int) -> Sequence[Rule]:
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
            return no_rules
        if now is before and shard.holds(entry, now):
            return no_rules
        try:
            encoded = encode(now)
            record = kept = decode(encoded)
        except MemoryError:
            raise
        except Exception as error:
            raise shard.codec.misfit(error) from error
        if make_fact is not None:
            try:
                record = make_fact(key_of(key), None, kept)
            except PASSING:
                raise
            except Exception as error:
                raise code_error(error, make.origin) from error  # type: ignore[union-attr]  # as above
        judge, write = stages[record.__class__]
        broken = judge(record)
        if broken is not None:
            enforce(broken, cause)
        fact = write(record, cause, arrived)
        if mutable:
            kept = encoded
        if shard.undo is None:
            changes[entry], young[entry], facts[entry] = encoded, kept, fact
        else:
            shard.put(entry, Written(encoded, kept, kept))
            shard.publish(entry, fact)
        return broken or no_rules

    return keep
