"""Dead letters as their readers see them: why, from where, since when.

Whoever may write to the topic may write any header: what stands there is read as bounded numbers
and text, never trusted to be what a worker wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.deadletter import MAX_REASON_BYTES, ORIGIN, OURS
from mesh_stream.pipeline.headers import headers_of
from mesh_stream.pipeline.record import Message, where

_MAX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejected record. A text that no header gives is empty, a number None.

    Attributes:
        place: Where the dead letter stands: `topic[partition]@offset`.
        id: Its identity, the same however often the record was rejected at its place.
        fault_class: `payload`, `contract` or `code`.
        rule: The quality rule, or the stage's own word for the fault.
        reason: What was found and what was expected.
        topic: Where the record came from.
        partition: The same.
        offset: The same.
        product: Who rejected it.
        product_version: In which version.
        contract_version: With which version of the contract.
        first_seen: When it was rejected first, milliseconds since the epoch.
        attempts: How often.
        key: The record's own key, untouched.
        value: The record's own bytes, untouched.
        headers: The record's own headers, in order, duplicates kept.
    """

    place: str
    id: str
    fault_class: str
    rule: str
    reason: str
    topic: str
    partition: int | None
    offset: int | None
    product: str
    product_version: str
    contract_version: str
    first_seen: int | None
    attempts: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def origin(self) -> str:
        """`topic[partition]@offset` of the record that was rejected."""
        return f"{self.topic}[{self.partition}]@{self.offset}"


def read_dead_letter(message: Message) -> DeadLetter:
    """Read one record of a dead letter topic, whoever wrote it."""
    try:
        headers = headers_of(message)
    except PayloadError:
        # Anybody may have written it; its place is told all the same.
        headers = []
    # The last one wins: a worker replaces what it finds, and anybody else may have appended.
    said = {name: value or b"" for name, value in headers}
    return DeadLetter(
        place=where(message),
        id=_text(said, f"{OURS}id"),
        fault_class=_text(said, f"{OURS}class"),
        rule=_text(said, f"{OURS}rule"),
        reason=_text(said, f"{ORIGIN}message"),
        topic=_text(said, f"{ORIGIN}topic"),
        partition=_number(said, f"{ORIGIN}partition"),
        offset=_number(said, f"{ORIGIN}offset"),
        product=_text(said, f"{OURS}product"),
        product_version=_text(said, f"{OURS}product.version"),
        contract_version=_text(said, f"{OURS}contract.version"),
        first_seen=_number(said, f"{OURS}first.seen"),
        attempts=_number(said, f"{OURS}attempts"),
        key=message.key(),
        value=message.value(),
        headers=tuple(pair for pair in headers if not pair[0].startswith((ORIGIN, OURS))),
    )


def _text(said: dict[str, bytes], name: str) -> str:
    return said.get(name, b"")[:MAX_REASON_BYTES].decode(errors="replace")


def _number(said: dict[str, bytes], name: str) -> int | None:
    digits = said.get(name, b"")
    # `isdigit` of bytes is ASCII alone.
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_DIGITS else None
