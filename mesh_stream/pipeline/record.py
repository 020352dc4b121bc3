"""The nouns of the path: what comes in, what a transformation sees, what each record becomes.

Every input record ends as exactly one of three: the source of one or more facts, filtered with a
reason, or rejected with a cause. `Outcome` keeps the three apart and lets the books be balanced.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import msgspec

Headers = list[tuple[str, bytes | None]]
"""Record headers in order, duplicates kept."""


NO_OFFSET = -1
"""Of what stands for a record and is none: a window that closes."""


class Message(Protocol):
    """An input record as the client library hands it over: the seam between Kafka and the path.

    Implemented by `confluent_kafka.Message` and, without a broker, by `mesh_stream.testing`.
    """

    def topic(self) -> str | None: ...  # noqa: D102
    def partition(self) -> int | None: ...  # noqa: D102
    def offset(self) -> int | None: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def headers(self) -> Any:
        """None, or `Headers`."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since the epoch); kind 0 means the record has none."""
        ...


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Where a record came from; a transformation receives it as its optional second parameter.

    Attributes:
        topic: The input topic.
        partition: The partition, counted from 0.
        offset: The record's offset in the partition.
        key: The record's key, untouched, or None.
        headers: The record's headers in order, duplicates kept.
        timestamp: Milliseconds since the epoch, or None where the record carries none.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers
    timestamp: int | None


class Filtered(NamedTuple):
    """A record that makes no fact, on purpose. Make one with `filtered`."""

    reason: str


@lru_cache(maxsize=128)
def filtered(reason: str) -> Filtered:
    """Leave a record out, saying why; `None` does the same without a reason.

    Args:
        reason: A short, fixed word such as `not_completed`: it becomes a metric label, so it must
            come from a small closed set, never from the record.
    """
    return Filtered(reason)


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One encoded fact; made and read for every record, so of the cheapest type there is.

    Attributes:
        value: The framed Avro value.
        key: The record key.
        event_time: When it happened, milliseconds since the epoch; -1 where nothing says.
        arrived: When the input record that it came from arrived on its topic, by that record's own
            timestamp; -1 where it has none. Of a window that closed: the newest record that was
            there by then.
    """

    value: bytes
    key: bytes | None
    event_time: int
    arrived: int = -1


class Rejected(NamedTuple):
    """An input record that became no fact because it is wrong: a dead letter to be.

    Attributes:
        message: The input record, its original bytes untouched.
        fault_class: `payload`, `contract` or `code`.
        rule: The quality rule, or the stage's own closed word, such as `malformed`.
        reason: What was found and what was expected; never the record's own values.
    """

    message: Message
    fault_class: str
    rule: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What became of the records of one or more runs, counted as they went.

    `consumed == sources + sum(filtered.values()) + len(rejected)` holds at every moment between
    two records: that is the conservation that the metrics export.

    Attributes:
        consumed: Input records.
        sources: Input records that became at least one fact.
        facts: The facts, in input order.
        filtered: Reason -> input records.
        rejected: Records to dead-letter, in input order.
        tolerated: (rule, action) -> records that broke an `observe` or `warn` rule.
        closed: Windows that were closed, and states that were forgotten because nothing came.
        unfit: Of the windows whose facts are due, those whose fact is wrong: dead letters, too, but
            of no input record.
        arrived: When the last record of a run arrived, milliseconds since the epoch; -1: unknown.
        newest_input: Newest event time of what became part of a state, not after `arrived`; -1
            where only the facts say when anything happened.
    """

    consumed: int = 0
    sources: int = 0
    facts: list[Fact] = field(default_factory=list)
    filtered: Counter[str] = field(default_factory=Counter)
    rejected: list[Rejected] = field(default_factory=list)
    tolerated: Counter[tuple[str, str]] = field(default_factory=Counter)
    closed: int = 0
    unfit: list[Rejected] = field(default_factory=list)
    arrived: int = -1
    newest_input: int = -1


def where(message: Message) -> str:
    """Name a record as every log line does: `topic[partition]@offset`."""
    return f"{message.topic()}[{message.partition()}]@{message.offset()}"
