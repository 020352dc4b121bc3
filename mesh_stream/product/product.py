"""What a loaded product is: the declaration with every convention filled in and every file read.

The loader makes these; the pipeline, the worker, the plan and the catalog read them. They are
values: frozen, without I/O, without Kafka.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any


class Format(enum.StrEnum):
    """How the values of an input topic are written."""

    JSON = "json"
    """One JSON object a record."""
    AVRO = "avro"
    """Registry-framed Avro."""


class Action(enum.StrEnum):
    """What happens to a record that breaks a rule."""

    OBSERVE = "observe"
    """Counted; the fact is published. For a rule that is being tried out."""
    WARN = "warn"
    """Counted and logged at a bounded rate; the fact is published."""
    DLQ = "dlq"
    """The input record becomes a dead letter."""
    FAIL = "fail"
    """The product stops without committing the record."""


class Dimension(enum.StrEnum):
    """The quality dimension a rule speaks of (ODCS `quality[].dimension`)."""

    ACCURACY = "accuracy"
    COMPLETENESS = "completeness"
    CONFORMITY = "conformity"
    CONSISTENCY = "consistency"
    COVERAGE = "coverage"
    TIMELINESS = "timeliness"
    UNIQUENESS = "uniqueness"


@dataclass(frozen=True, slots=True)
class NotNull:
    """The column is present and not null."""


@dataclass(frozen=True, slots=True)
class IsNull:
    """The column is null."""


@dataclass(frozen=True, slots=True)
class Between:
    """The column lies between two bounds; a bound left out is None."""

    minimum: int | float | Decimal | str | None
    maximum: int | float | Decimal | str | None
    strict_minimum: bool = False
    strict_maximum: bool = False


@dataclass(frozen=True, slots=True)
class InSet:
    """The column is one of (or, negated, none of) the values."""

    values: tuple[Any, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class MatchesRegex:
    """The regular expression matches from the column's start (or, negated, is found nowhere)."""

    pattern: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class LengthBetween:
    """The column's length (characters, bytes or items) lies between two bounds, both inclusive."""

    minimum: int | None
    maximum: int | None


@dataclass(frozen=True, slots=True)
class OfType:
    """The column's value is of one of the Python types."""

    types: tuple[type, ...]


@dataclass(frozen=True, slots=True)
class Holds:
    """A named Python predicate over the whole record (a fact, before it is encoded) is true."""

    predicate: Callable[[Any], object]


Check = NotNull | IsNull | Between | InSet | MatchesRegex | LengthBetween | OfType | Holds


@dataclass(frozen=True, slots=True)
class Rule:
    """One quality rule. A null passes every check but `NotNull` and `Holds`."""

    name: str
    """Unique in the product; a metric label and a dead-letter header."""
    check: Check
    column: str | None
    """The fact's field; None for `Holds`."""
    action: Action = Action.DLQ
    dimension: Dimension = Dimension.CONFORMITY


@dataclass(frozen=True, slots=True)
class Contract:
    """The governed schema of the facts.

    Attributes:
        schema: The completed Avro record schema, as plain JSON data (what fastavro parses).
        canonical: The same as compact JSON text: what is registered and looked up.
        name: The record's full name.
        fields: Field name -> its Avro type, in order.
        compatibility: The registry's level for the subject, such as `BACKWARD`.
        notes: What the loader completed by governed default, one sentence each.
    """

    schema: Mapping[str, Any]
    canonical: str
    name: str
    fields: Mapping[str, Any]
    compatibility: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transformation:
    """The product's function: `record -> record | None | iterable of records`.

    Attributes:
        function: The callable.
        origin: `src/transformations/completed.py:complete`, for messages.
        record_type: What the first parameter is annotated with; `dict` where it is not.
        wants_context: Whether it takes the source context as its second parameter.
    """

    function: Callable[..., Any]
    origin: str
    record_type: Any
    wants_context: bool


@dataclass(frozen=True, slots=True)
class Input:
    """One input port: a raw topic, or another product's output topic.

    Attributes:
        topic: The topic's name on the broker.
        format: How its values are written.
        product: The product it belongs to, or None for a raw topic.
        event_time: Field of the input record that says when it happened, or None: the record's
            own timestamp.
        transformation: What is applied to its records, or None: they are published as they are.
        reader: The contract that Avro records are resolved to: the other product's, or the one the
            input declares; None: each record is read as its writer wrote it.
        key: Field of the input record that its records are keyed by, where that is known.
    """

    topic: str
    format: Format
    product: str | None
    event_time: str | None
    transformation: Transformation | None
    reader: Contract | None = None
    key: str | None = None


class Emit(enum.StrEnum):
    """When a fold publishes facts."""

    ON_CHANGE = "on_change"
    """Whenever a state changed, at most once for each key (and window) and commit."""
    ON_CLOSE = "on_close"
    """Once for each window, when no more events can change it."""


class Untimely(enum.StrEnum):
    """What happens to an event that comes too late, or from too far ahead."""

    DEAD_LETTER = "dead_letter"
    """Its input record becomes a dead letter."""
    DROP = "drop"
    """It is filtered: counted, and gone."""


@dataclass(frozen=True, slots=True)
class Hopping:
    """Windows of one size, in milliseconds, that begin every `advance`; tumbling: as often."""

    size: int
    advance: int


@dataclass(frozen=True, slots=True)
class Session:
    """Windows that end when a key has had no event for `gap` milliseconds."""

    gap: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the product's own code.

    Attributes:
        call: The callable.
        origin: `src/transformations/stock.py:fold`, for messages.
    """

    call: Callable[..., Any]
    origin: str


@dataclass(frozen=True, slots=True)
class State:
    """What a product remembers, by key, and how events change it.

    Attributes:
        fold: `(state or None, event) -> state or None`; None forgets the key.
        fact: `(key, window or None, state) -> record`; None: the state itself is the fact.
        merge: `(state, state) -> state`, for sessions that an event joins; None where not needed.
        event_type: What `fold` annotates its event with; never anything untyped.
        state_type: What it annotates its state with, without the None.
        key: Field of the event whose value is the key; None: one state for the whole product.
        key_type: That field's type: `str`, `int` or `UUID`; `str` without a key.
        window: How time is divided, or None: it is not.
        grace: How long after its end a window still takes events, by event time; milliseconds.
        emit: When facts are published.
        late: What happens to an event whose windows are all closed.
        ahead: How far an event may lie ahead of the time its record was written; milliseconds.
        early: What happens to one that lies further ahead: it would close windows too soon.
        idle: How long an input partition may be silent before others stop waiting for it; ms.
        ttl: How long a key without events is remembered, by event time; ms. None: as its window is.
        repartitions: Whether events first go through the product's own topic, keyed by `key` there.
    """

    fold: Function
    fact: Function | None
    merge: Function | None
    event_type: Any
    state_type: Any
    key: str | None
    key_type: type
    window: Hopping | Session | None
    grace: int
    emit: Emit
    late: Untimely
    ahead: int
    early: Untimely
    idle: int
    ttl: int | None
    repartitions: bool

    @property
    def is_timed(self) -> bool:
        """Whether it matters when events happened."""
        return self.window is not None or self.ttl is not None


@dataclass(frozen=True, slots=True)
class Output:
    """The output port: the governed topic.

    Attributes:
        topic: `<domain>.<product>.v<major>`.
        key: Field of the fact whose value becomes the record key, or None: the state's key or,
            without a state, the input record's.
        event_time: Timestamp field of the fact that freshness is measured from, or None: the input
            record's timestamp.
        partitions: How many; None means: as many as the first input.
        settings: Topic settings with the broker's own dotted names.
    """

    topic: str
    key: str | None
    event_time: str | None
    partitions: int | None
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sla:
    """What is promised. Freshness in seconds; availability as a share of 1, such as 0.999."""

    freshness_seconds: float
    availability: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one record may cost. Sizes in bytes.

    Attributes:
        record_bytes: Largest fact; a larger one is a dead letter.
        input_bytes: Largest input record that is decoded; a larger one is a dead letter.
        fanout: Most facts one input record may become.
        cached_states: Most states that a worker keeps in memory, besides what it has yet to write.
    """

    record_bytes: int = 1_000_000
    input_bytes: int = 8_000_000
    fanout: int = 10_000
    cached_states: int = 200_000


@dataclass(frozen=True, slots=True)
class Support:
    """Where consumers ask (ODCS `support[]`); the address is empty where none is declared."""

    channel: str
    url: str


@dataclass(frozen=True, slots=True)
class Product:
    """A data product, whole: everything that a worker, a plan or a catalog needs to know."""

    folder: Path
    name: str
    domain: str
    owner: str
    version: str
    status: str
    description: str
    documentation: str
    sla: Sla
    contract: Contract
    inputs: tuple[Input, ...]
    output: Output
    rules: tuple[Rule, ...]
    limits: Limits
    tags: tuple[str, ...] = ()
    support: tuple[Support, ...] = ()
    state: State | None = None

    @property
    def group(self) -> str:
        """The consumer group: `mesh.<product>`."""
        return f"mesh.{self.name}"

    @property
    def subject(self) -> str:
        """The registry subject of the facts (TopicNameStrategy)."""
        return f"{self.output.topic}-value"

    @property
    def dead_letter_topic(self) -> str:
        """Where records that are wrong go: `dlq.<domain>.<product>`."""
        return f"dlq.{self.domain}.{self.name}"

    @property
    def changelog_topic(self) -> str:
        """Where every change of its state goes, compacted: `mesh.<product>.changelog`."""
        return f"mesh.{self.name}.changelog"

    @property
    def repartition_topic(self) -> str:
        """Where its events go to be keyed by the state's key: `mesh.<product>.repartition`."""
        return f"mesh.{self.name}.repartition"

    @property
    def own_topics(self) -> tuple[str, ...]:
        """Topics that are the product's own business: its changelog, and the way there."""
        if self.state is None:
            return ()
        if self.state.repartitions:
            return (self.repartition_topic, self.changelog_topic)
        return (self.changelog_topic,)

    def transactional_id(self, slot: int) -> str:
        """The stable transactional id of one worker slot: `mesh.<product>.<slot>`."""
        return f"mesh.{self.name}.{slot}"


@dataclass(frozen=True, slots=True)
class Mesh:
    """Every product under one folder, by name; names are unique across domains."""

    root: Path
    products: Mapping[str, Product]
