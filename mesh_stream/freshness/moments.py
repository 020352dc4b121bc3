"""When records arrived and when they happened, as the worker that reads them would say.

A record's timestamp stands for its arrival. Kafka has two kinds: of a topic with
`message.timestamp.type=LogAppendTime` it is the broker's, of any other (CreateTime, the default)
the producer's own word. So a source that sends what is old with the old timestamps (`replay
--event-time` does) makes it look as if it had been waiting here ever since: its age is then the
product's own, not upstream's. Where that matters, the raw topic needs LogAppendTime.

Nothing happens after it arrived, and nothing arrives after it was seen: a clock that runs ahead
must not make anything fresh for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from mesh_stream.errors import PlatformError, RecordError, RegistryError
from mesh_stream.pipeline.avro_input import AvroReader, SchemaId, WriterSchemas
from mesh_stream.pipeline.avro_writer import millis
from mesh_stream.pipeline.decode import compile_decode
from mesh_stream.pipeline.encode import arrival
from mesh_stream.pipeline.input_time import InputTime
from mesh_stream.pipeline.record import Message
from mesh_stream.product.product import Input, Product

PATIENCE_SECONDS = 0.5
"""What a look at everything may be held up by a registry that is slow."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Two moments of one record, in seconds since the epoch.

    Attributes:
        arrived: When it arrived; of a fact: when it was published.
        event_time: When it happened, not after it arrived.
        is_sure: Whether the second was read; else the registry could not be asked, and the
            record's timestamp stands for it.
    """

    arrived: float
    event_time: float
    is_sure: bool = True


Read = Callable[[Message, float], Moments]
"""(record, when it was seen in seconds since the epoch) -> its moments; raises nothing."""


def input_reader(port: Input, product: Product, schemas: WriterSchemas) -> Read:
    """Make the function that reads an input's records as the product's worker does.

    What cannot be decoded counts by its timestamp, as a dead letter does.
    """
    if port.event_time is None:
        return _stamped
    time = InputTime(port.event_time)
    note = time.noting(
        compile_decode(
            port,
            contract=product.contract,
            input_bytes=product.limits.input_bytes,
            writers=schemas,
        )
    )

    def happened(message: Message) -> int:
        note(message)
        return time.at(message)

    return _reader(happened)


def fact_reader(product: Product, schemas: WriterSchemas) -> Read:
    """Make the function that reads a product's facts, by the schema that each was written with."""
    name = product.output.event_time
    if name is None:
        return _stamped
    reader = AvroReader(schemas, reader=None)

    def happened(message: Message) -> int:
        value = message.value()
        said = reader.read(value, message).get(name) if value else None
        return millis(said) if isinstance(said, datetime) else -1

    return _reader(happened)


class _Envelope(msgspec.Struct):
    """What a product's own topic says of an event; the rest of it is passed over."""

    at: int = -1
    arrived: int = -1


_envelope = msgspec.json.Decoder(_Envelope).decode


def event_reader() -> Read:
    """Make the function that reads events on their way to be keyed.

    They say when their input record arrived; else it is when they came here.
    """

    def read(message: Message, seen_at: float) -> Moments:
        try:
            said = _envelope(message.value() or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = _Envelope()
        return _moments(said.arrived if said.arrived >= 0 else arrival(message), said.at, seen_at)

    return read


def _stamped(message: Message, seen_at: float) -> Moments:
    at = arrival(message)
    return _moments(at, at, seen_at)


def _reader(happened: Callable[[Message], int]) -> Read:
    def read(message: Message, seen_at: float) -> Moments:
        at = arrival(message)
        try:
            return _moments(at, happened(message), seen_at)
        except PlatformError:
            return _moments(at, at, seen_at, is_sure=False)
        except (RecordError, AttributeError, ArithmeticError, TypeError, ValueError):
            return _moments(at, at, seen_at)

    return read


def _moments(arrived: int, happened: int, seen_at: float, *, is_sure: bool = True) -> Moments:
    """Milliseconds into seconds; -1 where nothing says."""
    there = seen_at if arrived < 0 else min(arrived / 1000, seen_at)
    return Moments(there, there if happened < 0 else min(happened / 1000, there), is_sure)


class Schemas:
    """A registry's schemas, for somebody who cannot wait until a registry that hangs gives up.

    Args:
        registry: Whom to ask, in threads of their own.
        patience: Seconds to wait when an id is first asked for; later questions take what has
            become of that one.
    """

    def __init__(self, registry: WriterSchemas, *, patience: float = PATIENCE_SECONDS) -> None:
        self._registry = registry
        self._patience = patience
        self._asked: dict[SchemaId, Future[Any | None]] = {}

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        """The schema as JSON data; None where the registry has none of that id.

        Raises:
            PayloadError: What the id names is no schema to be trusted.
            PlatformError: The registry could not be asked, or has not answered yet.
        """
        answer = self._asked.get(schema_id)
        patience = 0.0
        if answer is None:
            answer = self._asked[schema_id] = Future()
            patience = self._patience
            ask = threading.Thread(target=self._ask, args=(schema_id, answer), daemon=True)
            ask.start()
        try:
            schema = answer.result(patience)
        except TimeoutError:
            raise RegistryError(f"no answer yet about schema {schema_id}") from None
        except PlatformError:
            del self._asked[schema_id]
            raise
        if schema is None:
            # The registry forgets after a while that it had none.
            del self._asked[schema_id]
        return schema

    def _ask(self, schema_id: SchemaId, answer: Future[Any | None]) -> None:
        try:
            answer.set_result(self._registry.writer_schema(schema_id))
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer gets it
            answer.set_exception(error)
