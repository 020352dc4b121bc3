"""Events on their way into a fold: their key, their time, and where they come from.

An event whose input record is not keyed by the state's key goes through a topic of the product's
own first. There it carries what its source knew of time, so that the fold judges it as if it had
come from the source itself. Values on that topic are JSON, readable by anybody:

    {"is": "event", "at": 17.., "source": "raw.stock:3", "offset": 7, "highest": 17.., "event": {},
     "arrived": 17..}
    {"is": "notice", "highest": {"raw.stock:3": 17..}, "idle": ["raw.stock:2"]}

The second kind has no key and goes to every partition: it tells how far the sources have come,
which a partition would not learn while no event of theirs is for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from operator import attrgetter, itemgetter
from typing import Any
from uuid import UUID

import msgspec

from mesh_stream.errors import CodeError, ContractError
from mesh_stream.pipeline.encode import arrival
from mesh_stream.pipeline.headers import headers_of
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.record import Filtered, Message, Outcome
from mesh_stream.pipeline.shape import Shape, is_record
from mesh_stream.pipeline.stages import count_filtered
from mesh_stream.pipeline.windows import FIRST, LAST
from mesh_stream.product.product import State, Untimely

LATE, EARLY, WATERMARK = Filtered("late"), Filtered("early"), Filtered("watermark")
GLOBAL_KEY = b""
"""The key of the one state of a product that declares none: not null, which has no partition."""


class Notice(msgspec.Struct, frozen=True, tag_field="is", tag="notice"):
    """How far sources have come: source -> highest event time; and those that have gone silent."""

    highest: dict[str, int]
    idle: tuple[str, ...] = ()


class Arrival(msgspec.Struct, gc=False):
    """One event, as it comes to the fold; of the cheapest type there is.

    Stands for the input record wherever a fact is made: with the state's key, and the event's time.

    Attributes:
        event: What the transformation returned.
        at: When it happened, milliseconds since the epoch.
        highest: The highest event time that its source had brought before.
        text: The state's key as bytes.
        message: The record that it came in.
        arrived: When its input record arrived on its own topic; -1 where that is not known.
    """

    event: Any
    at: int
    highest: int
    text: bytes
    message: Message
    arrived: int = -1

    def topic(self) -> str | None:  # noqa: D102 - as every record
        return self.message.topic()

    def partition(self) -> int | None:  # noqa: D102
        return self.message.partition()

    def offset(self) -> int | None:  # noqa: D102
        return self.message.offset()

    def key(self) -> bytes:  # noqa: D102
        return self.text

    def value(self) -> bytes | None:  # noqa: D102
        return self.message.value()

    def headers(self) -> Any:  # noqa: D102
        return headers_of(self.message)

    def timestamp(self) -> tuple[int, int]:  # noqa: D102
        return (1, self.at)


def repartitioned_type(state: State) -> tuple[Any, Any]:
    """The type of what stands on a product's own topic, and of the events in it."""
    event = msgspec.defstruct(
        "Event",
        [
            ("at", int),
            ("source", str),
            ("offset", int),
            ("highest", int),
            ("event", state.event_type),
            # Not in what was written before it was asked for.
            ("arrived", int, -1),
        ],
        frozen=True,
        tag_field="is",
        tag="event",
    )
    return event | Notice, event


def source_of(topic: str, partition: int) -> str:
    """The name of an input partition as a source of events."""
    return f"{topic}:{partition}"


# The key


def text_of_key(value: object) -> bytes:
    """A key's bytes: the UTF-8 of its text, as they stand on topics.

    Raises:
        ContractError: It has none.
    """
    try:
        return value.encode() if isinstance(value, str) else str(value).encode()
    except ValueError as error:
        raise ContractError(
            "the state's key cannot be written as Unicode text; expected one that can", rule="key"
        ) from error


def key_reader(state: State) -> Callable[[Any], bytes]:
    """Make the function that reads a state's key from an event, as the bytes it stands as.

    It raises `ContractError` where the event has none of the declared type.
    """
    name, kind = state.key, state.key_type
    if name is None:
        return lambda _event: GLOBAL_KEY
    read = _field_reader(state, name)

    # As `text_of_key`, in a call less for most events.
    encode: Callable[[Any], bytes] = str.encode if kind is str else text_of_key

    def key(event: Any) -> bytes:
        try:
            value = read(event)
        except (AttributeError, KeyError):
            value = None
        if value.__class__ is not kind:
            raise ContractError(
                f"field {name}: found {_in_words(value)}; expected {kind.__name__}: it is the "
                f"state's key",
                rule="key",
            )
        try:
            return encode(value)
        except ValueError:
            return text_of_key(value)

    return key


def _field_reader(state: State, name: str) -> Callable[[Any], Any]:
    # What an event is read as is always of the fold's own type.
    shape = Shape(state.event_type)
    return itemgetter(name) if shape.is_mapping else attrgetter(shape.attribute(name))


def key_from_text(state: State) -> Callable[[bytes], Any]:
    """Make the function that turns a key's bytes back into what they were made of."""
    if state.key_type is int:
        return int
    if state.key_type is UUID:
        return lambda text: UUID(text.decode())
    return bytes.decode


def _in_words(value: object) -> str:
    return "null" if value is None else type(value).__name__


# The event


def passing_class(state: State) -> type | None:
    """The class whose instances are events as they are; None where each has to be looked at."""
    kind = state.event_type
    is_class = isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or is_dataclass(kind))
    return kind if is_class else None


def event_reader(state: State) -> Callable[[Any], Any]:
    """Make the function that holds what a transformation returned against the fold's event type.

    It raises `CodeError` where it is of another.
    """
    kind, passing = state.event_type, passing_class(state)

    def event(record: Any) -> Any:
        if record.__class__ is passing:
            return record
        try:
            return msgspec.convert(record, kind, from_attributes=is_record(record.__class__))
        except MemoryError:
            raise
        except Exception as error:
            # Not only what msgspec finds: a property that is read may raise anything.
            raise CodeError(
                f"the transformation returned what is no {_name(kind)}, which the fold takes",
                rule="transformation",
            ) from error

    return event


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))


class Reading:
    """How events and their keys are read from what a transformation returned.

    Args:
        state: The declaration.

    Attributes:
        event: As `event_reader`.
        key: As `key_reader`.
    """

    def __init__(self, state: State) -> None:
        self.event = event_reader(state)
        self.key = key_reader(state)
        self._name = state.key

    def own_key(self, event: Any, message: Message) -> bytes:
        """The key of an event whose input record has to have the same.

        Raises:
            ContractError: It has another, or the event has none.
        """
        key = self.key(event)
        if key != message.key():
            raise ContractError(
                f"the record's key is not its {self._name}, which the input declares as its key; "
                f"mend the source, or leave the input's `key` out",
                rule="key",
            )
        return key


# The time


class Timing:
    """When events happen, and which come from too far ahead.

    A time is held against the timestamp of its record, not against a clock: the same input gives
    the same result whenever it is read.

    Args:
        state: The declaration.
        time: Reads the input's event time, or None: the record's own timestamp counts.

    Attributes:
        arrived: When the record that was asked about last was written; -1 where it does not say.
    """

    def __init__(self, state: State, time: InputTime | None) -> None:
        self.arrived = -1
        self.matters = state.is_timed
        self._time = time
        self._ahead = state.ahead
        self._early = state.early

    def admit(self, message: Message, outcome: Outcome) -> int | None:
        """An event's time in milliseconds; None where it comes too early and was counted so.

        Where time does not matter, -1 where nothing says.

        Raises:
            ContractError: It comes too early, or at no known time.
        """
        written = self.arrived = arrival(message)
        at = written if self._time is None else self._time.at(message)
        if not self.matters:
            return at
        if self._time is not None and not self._time.is_said:
            raise ContractError(
                f"field {self._time.field}: found no moment; expected one: it says which window "
                f"the event is for",
                rule="event_time",
            )
        if written < 0:
            raise ContractError(
                "found a record without a timestamp; expected one: event times are held against it",
                rule="event_time",
            )
        if at > written + self._ahead:
            if self._early is Untimely.DROP:
                count_filtered(outcome, EARLY)
                return None
            raise ContractError(
                f"the event time lies {(at - written) / 1000:.0f} s ahead of the time the record "
                f"was written; expected at most {self._ahead / 1000:.0f} s (`state.ahead`)",
                rule="early",
            )
        if not FIRST <= at <= LAST:
            raise ContractError(
                "the event time lies outside the years 1 to 9999", rule="event_time"
            )
        return at
