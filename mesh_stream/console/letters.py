"""The newest dead letters of a product, without what was in them.

Governance does not classify fields yet: until it does, nobody can say which values may be shown to
whoever sees this page, so that none is. Sizes and the names of fields are what is left.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import msgspec

from mesh_stream.consumer.dead_letters import DeadLetter, read_dead_letter
from mesh_stream.kafka.reader import Reader
from mesh_stream.settings import Settings

KEPT = 20
READ_SECONDS = 4.0
_GLANCE_SECONDS = 0.1
# Commit markers and aborted records take offsets, too.
_ROOM = 10
_MOST_BYTES = 1_000_000
_MOST_NAMES = 12
# Whatever is no plain name may be somebody's data: an object can be keyed by mail addresses.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Redacted:
    """A dead letter as anybody may see it.

    Attributes:
        letter: Its headers' story; key, value and own headers are left out.
        key_bytes: Size of the record's key; None: it has none.
        value_bytes: Size of its value; None: it has none.
        fields: Names of the fields, where it is a JSON object.
    """

    letter: DeadLetter
    key_bytes: int | None
    value_bytes: int | None
    fields: tuple[str, ...]


def recent(settings: Settings, topic: str) -> list[Redacted]:
    """The newest dead letters, newest first; as many as can be read in a few seconds.

    Raises:
        PlatformError: The topic cannot be read.
    """
    deadline = time.monotonic() + READ_SECONDS
    found: list[tuple[int, DeadLetter]] = []
    with Reader(settings, client_id="mesh.console") as reader:
        bounds = reader.bounds([topic])
        ends = {at: high for at, (_, high) in bounds.items()}
        reader.start({at: max(low, high - KEPT * _ROOM) for at, (low, high) in bounds.items()})
        while not reader.has_reached(ends) and time.monotonic() < deadline:
            found += [
                (message.timestamp()[1], read_dead_letter(message))
                for message in reader.poll(_GLANCE_SECONDS)
            ]
    found.sort(key=lambda one: one[0], reverse=True)
    return [redacted(letter) for _, letter in found[:KEPT]]


def redacted(letter: DeadLetter) -> Redacted:
    """The letter without what was in it."""
    bare = DeadLetter(
        **{name: getattr(letter, name) for name in letter.__slots__}
        | {"key": None, "value": None, "headers": ()}
    )
    return Redacted(bare, _length(letter.key), _length(letter.value), field_names(letter.value))


def field_names(value: bytes | None) -> tuple[str, ...]:
    """Names of a JSON object's fields; none where it is no JSON object, or is very large."""
    if value is None or len(value) > _MOST_BYTES:
        return ()
    try:
        decoded = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    names = [name for name in decoded if _NAME.fullmatch(name)]
    return tuple(names[:_MOST_NAMES])


def _length(part: bytes | None) -> int | None:
    return None if part is None else len(part)
