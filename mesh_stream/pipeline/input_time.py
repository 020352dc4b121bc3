"""Freshness measured from the input's own event time, where the facts have none.

A product may publish facts without a timestamp and still know from its input when each happened.
Reading that must cost nothing where it is not asked for: the stages before and after are wrapped
only for such a product. Invariant: the path takes one record at a time, so that what was noted
last belongs to the record that is encoded now.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mesh_stream.errors import CodeError
from mesh_stream.pipeline.avro_writer import millis
from mesh_stream.pipeline.decode import Decode
from mesh_stream.pipeline.encode import Encode, arrival
from mesh_stream.pipeline.record import Fact, Filtered, Message
from mesh_stream.pipeline.shape import Shape


class InputTime:
    """When the record that is on its way happened.

    Args:
        field: The input record's field that says so: a moment, its ISO text, or milliseconds since
            the epoch. Where it says nothing of the kind, the record's own timestamp counts.
    """

    def __init__(self, field: str) -> None:
        self.field = field
        self._shapes: dict[type, Shape] = {}
        self._noted: int | None = None

    def noting(self, decode: Decode) -> Decode:
        """The first stage, which then also notes when its record happened."""

        def noting(message: Message) -> Any:
            record = decode(message)
            self._noted = None if record.__class__ is Filtered else self._read(record)
            return record

        return noting

    def stamping(self, encode: Encode) -> Encode:
        """The last stage, whose facts then happened when their record did."""

        def stamping(record: Any, message: Message) -> Fact:
            fact = encode(record, message)
            if self._noted is None:
                return fact
            return Fact(fact.value, fact.key, self._noted, fact.arrived)

        return stamping

    @property
    def is_said(self) -> bool:
        """Whether the record on its way says itself when it happened."""
        return self._noted is not None

    def at(self, message: Message) -> int:
        """When the record on its way happened, in milliseconds; -1 where nothing says."""
        return arrival(message) if self._noted is None else self._noted

    def _read(self, record: Any) -> int | None:
        try:
            shape = self._shapes.get(record.__class__)
            if shape is None:
                shape = self._shapes[record.__class__] = Shape(record.__class__)
            return _milliseconds(shape.read(record, self.field))
        except (AttributeError, CodeError, KeyError, OverflowError, TypeError, ValueError):
            return None


def _milliseconds(value: Any) -> int | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return millis(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
