"""The shape of the `state:` block: what a product remembers, and when it says so."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from mesh_stream.errors import Fault
from mesh_stream.product.declared_values import FieldName, Text
from mesh_stream.product.product import Emit, Untimely
from mesh_stream.product.sla import UnreadableError, duration_seconds
from mesh_stream.product.validation import Declared
from mesh_stream.product.yaml_source import Document

# Each event changes all the windows it lies in: more of them than this is a mistake.
MAX_WINDOWS_OF_AN_EVENT = 1_000
_LONGEST = Decimal(36_500 * 86_400)
WHERE = ("data_product", "state")


def _milliseconds(text: object) -> object:
    seconds = duration_seconds(text)
    if seconds > _LONGEST:
        raise UnreadableError("at most 36,500 days")
    millis = seconds * 1000
    if millis != int(millis):
        raise UnreadableError("whole milliseconds")
    return int(millis)


Milliseconds = Annotated[
    int,
    BeforeValidator(_milliseconds),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?[ _]?[a-z]+$"}),
]
"""Written as any other duration; read as whole milliseconds, as events' times are."""


class HoppingDeclaration(Declared):
    """Windows of one size that begin more often than they end, so that they overlap."""

    size: Milliseconds = Field(description="How long a window is.", examples=["1_hour"])
    advance: Milliseconds = Field(
        description="How often one begins; the size is a multiple of it.", examples=["10_minutes"]
    )


class WindowDeclaration(Declared):
    """How event time is divided, in one of three ways; the first two count from 1970, UTC."""

    tumbling: Milliseconds | None = Field(
        default=None,
        description="Windows of this size, one after the other: an event lies in one.",
        examples=["1_hour"],
    )
    hopping: HoppingDeclaration | None = Field(
        default=None,
        description="Windows that overlap: an event lies in several.",
        examples=[{"size": "1_hour", "advance": "10_minutes"}],
    )
    session: Milliseconds | None = Field(
        default=None,
        description="Windows that end when their key has had no event for so long.",
        examples=["30_minutes"],
    )

    @model_validator(mode="after")
    def _one_kind(self) -> WindowDeclaration:
        said = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(said) != 1:
            found = " and ".join(said) or "none of tumbling, hopping and session"
            raise UnreadableError("exactly one of tumbling, hopping and session", found=found)
        return self


class StateDeclaration(Declared):
    """What the product remembers, by key, and when it says so."""

    key: FieldName | None = Field(
        default=None,
        description=(
            "The event's field that a state is kept for each value of: a text, a whole number or "
            "a UUID, never null. The event is what the transformation returns, or the input record "
            "without one. Left out: one state for the whole product."
        ),
        examples=["sku"],
    )
    window: WindowDeclaration | None = Field(
        default=None,
        description="How event time is divided; left out: it is not.",
        examples=[{"tumbling": "1_hour"}, {"session": "30_minutes"}],
    )
    grace: Milliseconds | None = Field(
        default=None,
        description="How long after its end a window takes events; left out: not at all.",
        examples=["10_minutes"],
    )
    emit: Emit = Field(
        default=Emit.ON_CHANGE,
        description=(
            "When facts are published: on_change, at most once for each key, window and commit; "
            "or on_close, once for each window, when it is over."
        ),
        examples=["on_change", "on_close"],
    )
    late: Untimely | None = Field(
        default=None,
        description="What happens to events whose windows are over; left out: dead_letter.",
        examples=["dead_letter", "drop"],
    )
    ahead: Milliseconds = Field(
        default=3_600_000,
        description=(
            "How far an event's time may lie ahead of its record's timestamp; left out: 1 hour."
        ),
        examples=["1_hour"],
    )
    early: Untimely = Field(
        default=Untimely.DEAD_LETTER,
        description="What happens to events that lie further ahead; left out: dead_letter.",
        examples=["dead_letter", "drop"],
    )
    idle: Milliseconds | None = Field(
        default=None,
        description=(
            "How long an input partition may be silent before the others no longer wait for it; "
            "left out: 1 minute."
        ),
        examples=["1_minute"],
    )
    ttl: Milliseconds | None = Field(
        default=None,
        description=(
            "How long a key without events is remembered, by event time; left out: for ever. Only "
            "without a window: with one, a state is forgotten when its window is over."
        ),
        examples=["90_days"],
    )
    fold: Text | None = Field(
        default=None,
        description=(
            "The function that says how an event changes a state, as path or path:function, with "
            "fact and merge beside it; left out: the functions called fold, fact and merge in "
            "src/transformations."
        ),
        examples=["src/transformations/stock.py:fold"],
    )


def contradictions(document: Document, said: StateDeclaration) -> Iterator[Fault]:
    """Yields what of a state's block means nothing, or contradicts itself."""
    if said.window is None:
        if said.emit is Emit.ON_CLOSE:
            expected = "on_change, or a window: without one nothing is ever over"
            yield document.fault((*WHERE, "emit"), "on_close without a window", expected)
        for key in ("grace", "late"):
            if getattr(said, key) is not None:
                found, remedy = f"{key} without a window", f"leave {key} out, or add a window"
                expected = "it with a window only: without one no event is late"
                yield document.fault((*WHERE, key), found, expected, remedy)
        if said.idle is not None and said.ttl is None:
            found, remedy = "idle with neither a window nor a ttl", "leave idle out"
            expected = "it with either: without them no partition waits for another"
            yield document.fault((*WHERE, "idle"), found, expected, remedy)
    elif said.ttl is not None:
        expected = "one of the two: a state is forgotten when its window is over"
        yield document.fault((*WHERE, "ttl"), "a ttl beside a window", expected)
    if said.window is not None and said.window.hopping is not None:
        yield from _unsound_hops(document, said.window.hopping)


def _unsound_hops(document: Document, hopping: HoppingDeclaration) -> Iterator[Fault]:
    size, advance = hopping.size, hopping.advance
    where = (*WHERE, "window", "hopping", "advance")
    if advance > size:
        expected = "at most the size: events between two windows would be in none"
        yield document.fault(where, "an advance beyond the size", expected)
    elif size % advance:
        expected = "a part of the size that divides it, so that each event lies in as many windows"
        yield document.fault(where, "an advance that does not divide the size", expected)
    elif size // advance > MAX_WINDOWS_OF_AN_EVENT:
        found = f"{size // advance:,} windows for each event"
        expected = f"at most {MAX_WINDOWS_OF_AN_EVENT:,}: the size divided by the advance"
        yield document.fault(where, found, expected)
