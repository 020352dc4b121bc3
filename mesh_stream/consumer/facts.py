"""Facts as their consumers read them: decoded by the schema that each was written with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mesh_stream.errors import PayloadError
from mesh_stream.pipeline.avro_input import AvroReader
from mesh_stream.pipeline.record import Message, where


@dataclass(frozen=True, slots=True)
class ConsumedFact:
    """One fact, and where it stands.

    Attributes:
        place: `topic[partition]@offset`.
        key: The record key.
        written: When it was written, milliseconds since the epoch.
        fields: Its fields: decimals as `Decimal`, timestamps as `datetime` in UTC. None is a
            tombstone: no fact of this key is in force any more.
    """

    place: str
    key: bytes | None
    written: int
    fields: dict[str, Any] | None


def decode(message: Message, reader: AvroReader) -> ConsumedFact:
    """Read one record of a governed topic.

    Args:
        message: The record.
        reader: Knows the schemas; its own `reader` decides whether a fact is resolved to another.

    Raises:
        PayloadError: It is no fact: not a worker wrote it.
        PlatformError: The registry could not be asked for its schema.
    """
    value = message.value()
    if value is None:
        fields = None
    elif not value:
        raise PayloadError("found an empty value; expected a fact", rule="empty")
    else:
        fields = reader.read(value, message)
    return ConsumedFact(where(message), message.key(), message.timestamp()[1], fields)
