"""A product's whole path with no broker: what product authors test with.

    from mesh_stream.testing import ProductDriver

    def test_a_completed_order_is_a_fact():
        driver = ProductDriver.load("products/orders/orders-completed")
        driver.send({"order_id": "ord_1", "status": "completed", ...})
        assert driver.facts == [{"order_id": "ord_1", ...}]

Records go through the very pipeline that the worker runs, and facts are read back by the stock
Avro reader: what is asserted is what a consumer would get. Only Kafka is left out. Everything is
fixed, so that a test gives the same result every time: offsets count from 0, records are a second
apart from `START`, and dead letters are stamped with their record's own time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import fastavro
import msgspec

from mesh_stream.errors import ContractError
from mesh_stream.pipeline.avro_input import ID_HEADER, SchemaId
from mesh_stream.pipeline.deadletter import Provenance, dead_letter_headers
from mesh_stream.pipeline.encode import compile_encode
from mesh_stream.pipeline.identity import contract_type
from mesh_stream.pipeline.pipeline import Interrupted, Pipeline
from mesh_stream.pipeline.record import Headers, Outcome, Rejected
from mesh_stream.pipeline.shape import Shape
from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Contract, Format, Input, Output, Product

START = 1_767_225_600_000
"""Timestamp of a driver's first record: 2026-01-01T00:00:00Z, in milliseconds since the epoch."""

CONTRACT_ID = 1
"""The schema id that facts are framed with."""

SentHeaders = Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]
"""Headers by name, or in order where a name stands twice; text is sent as its UTF-8."""

_json = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """An input record that was never on a broker; what `confluent_kafka.Message` is with one."""

    topic_name: str
    payload: bytes | None
    record_key: bytes | None = None
    record_headers: Headers | None = None
    record_timestamp: tuple[int, int] = (0, -1)
    record_offset: int = 0
    record_partition: int = 0

    def topic(self) -> str:
        """The input topic."""
        return self.topic_name

    def partition(self) -> int:
        """The partition, counted from 0."""
        return self.record_partition

    def offset(self) -> int:
        """The offset in the partition."""
        return self.record_offset

    def key(self) -> bytes | None:
        """The key's bytes."""
        return self.record_key

    def value(self) -> bytes | None:
        """The value's bytes; None is a tombstone."""
        return self.payload

    def headers(self) -> Headers | None:
        """The headers in order, duplicates kept; None where there are none."""
        return self.record_headers

    def timestamp(self) -> tuple[int, int]:
        """(kind, milliseconds since the epoch); kind 0 where the record has none."""
        return self.record_timestamp


class MemorySchemas:
    """Writer schemas by id, as the registry has them."""

    def __init__(self) -> None:
        self._schemas: dict[SchemaId, Any] = {}

    def register(self, schema: Any, *, schema_id: SchemaId | None = None) -> SchemaId:
        """Know a schema; returns its id, a new one where none is given."""
        number = len(self._schemas) + CONTRACT_ID + 1 if schema_id is None else schema_id
        self._schemas[number] = schema
        return number

    def writer_schema(self, schema_id: SchemaId) -> Any | None:
        """The schema as JSON data; None where there is none of that id."""
        return self._schemas.get(schema_id)


@dataclass(frozen=True, slots=True)
class Published:
    """One fact as it would stand on the output topic.

    Attributes:
        fact: What a consumer reads: decimals as `Decimal`, timestamps as `datetime` in UTC.
        key: The record key.
        event_time: Milliseconds since the epoch; -1 where nothing says.
        value: The framed Avro bytes.
    """

    fact: dict[str, Any]
    key: bytes | None
    event_time: int
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One record that would go to the dead letter topic.

    Attributes:
        fault_class: `payload`, `contract` or `code`.
        rule: The quality rule, or the path's own word, such as `malformed`.
        reason: What was found and what was expected.
        message: The record as it was sent.
        headers: Every header the dead letter carries, the record's own first.
    """

    fault_class: str
    rule: str
    reason: str
    message: MemoryMessage = field(repr=False)
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one record: some facts, or filtered with a reason, or rejected.

    Attributes:
        facts: The facts it became.
        filtered: Why it became none on purpose, or None.
        rejected: What is wrong with it, or None.
        tolerated: Rules with the action `observe` or `warn` that its facts break.
    """

    facts: list[dict[str, Any]]
    filtered: str | None
    rejected: Rejection | None
    tolerated: list[str]


class ProductDriver:
    """Sends records down a product's path and keeps what became of them.

    Args:
        product: The product, as the loader made it.

    Attributes:
        product: The same.
        published: Facts with their keys and event times, in order.
        rejected: Dead letters, in order.
        filtered: Reason -> how many records.
        tolerated: Rule with the action `observe` or `warn` -> how many of the facts broke it.
        sent: How many records were sent.
        schemas: Writer schemas of Avro inputs.
    """

    def __init__(self, product: Product) -> None:
        self.product = product
        self.published: list[Published] = []
        self.rejected: list[Rejection] = []
        self.filtered: Counter[str] = Counter()
        self.tolerated: Counter[str] = Counter()
        self.sent = 0
        self.schemas = MemorySchemas()
        self._contract = fastavro.parse_schema(dict(product.contract.schema))
        self._provenance = Provenance.of(product, contract_version=1, schema_id=CONTRACT_ID)
        self._ports = {port.topic: port for port in product.inputs}
        self._offsets: Counter[str] = Counter()
        self._ids: dict[str, int] = {}
        self._pipelines = {
            port.topic: Pipeline(product, port, schema_id=CONTRACT_ID, writers=self.schemas)
            for port in product.inputs
        }

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Drive the product of a folder.

        Raises:
            DeclarationError: The folder's files are wrong; names every fault.
        """
        return cls(load_product(Path(folder)))

    @property
    def facts(self) -> list[dict[str, Any]]:
        """The facts published so far, as a consumer reads them."""
        return [published.fact for published in self.published]

    def send(
        self,
        record: Any,
        *,
        key: str | bytes | None = None,
        headers: SentHeaders | None = None,
        topic: str | None = None,
        timestamp: int | None = None,
        schema: Any = None,
    ) -> Sent:
        """Send one record down the path.

        Args:
            record: What the input topic would carry: data, which is written as the input's format;
                bytes, or text that is sent as its UTF-8, as they are; or None, a tombstone. Data of
                an Avro input may hold decimals and moments as such or as JSON writes them.
            key: The record key.
            headers: The record's headers.
            topic: The input; the product's first where it is left out.
            timestamp: Milliseconds since the epoch; -1 for a record without one.
            schema: For data on an Avro input: the schema of another writer; the input's own where
                it is left out.

        Raises:
            HaltError: The record breaks a rule with the action `fail`: a worker stops here.
            PlatformError: The transformation raised `DependencyError`: a worker tries again.
        """
        port = self._port(topic)
        message = MemoryMessage(
            topic_name=port.topic,
            payload=self._bytes(record, port, schema),
            record_key=key.encode() if isinstance(key, str) else key,
            record_headers=_headers(headers),
            record_timestamp=self._moment(timestamp),
            record_offset=self._offsets[port.topic],
        )
        outcome = Outcome()
        try:
            self._pipelines[port.topic].process([message], outcome)
        except Interrupted as interrupted:
            raise interrupted.cause from None
        self._offsets[port.topic] += 1
        self.sent += 1
        return self._keep(outcome)

    def send_all(self, records: Sequence[Any], *, topic: str | None = None) -> list[Sent]:
        """Send several records, in order; each as `send` would."""
        return [self.send(record, topic=topic) for record in records]

    def frame(self, record: Any, schema: Any, *, header: bool = False) -> tuple[bytes, Headers]:
        """Write data as registry-framed Avro, as a producer would, for sending as bytes.

        Args:
            record: The data.
            schema: The schema it is written with; known to the driver from here on.
            header: Name the schema in a header instead of before the value.

        Returns:
            The value, and the headers it needs.
        """
        body = BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema, _force=True), record)
        number = self.schemas.register(schema)
        assert isinstance(number, int)
        if header:
            guid = UUID(int=number)
            self.schemas.register(schema, schema_id=guid)
            return body.getvalue(), [(ID_HEADER, b"\x01" + guid.bytes)]
        return b"\x00" + number.to_bytes(4, "big") + body.getvalue(), []

    def _port(self, topic: str | None) -> Input:
        if topic is None:
            return self.product.inputs[0]
        if topic not in self._ports:
            raise ValueError(
                f"{self.product.name} has no input {topic!r}; there are: {', '.join(self._ports)}"
            )
        return self._ports[topic]

    def _bytes(self, record: Any, port: Input, schema: Any) -> bytes | None:
        if record is None or isinstance(record, bytes):
            return record
        if isinstance(record, str):
            return record.encode()
        if port.format is Format.JSON:
            return _json.encode(record)
        if schema is not None:
            return self.frame(record, schema)[0]
        if port.reader is None:
            raise ValueError(
                f"the input {port.topic} declares no schema; say which one the record is written "
                f"with: send(record, schema=...)"
            )
        return self._written(record, port.reader)

    def _written(self, record: Any, contract: Contract) -> bytes:
        """Data as the upstream product would publish it: by the contract, and as strictly."""
        try:
            typed = msgspec.json.decode(_json.encode(record), type=contract_type(contract))
            encode = compile_encode(
                contract,
                output=Output("", None, None, None, {}),
                schema_id=self._id_of(contract),
                record_bytes=self.product.limits.input_bytes,
                shape=Shape(type(typed)),
            )
            return encode(typed, MemoryMessage("", None)).value
        except (msgspec.ValidationError, ContractError) as error:
            raise ValueError(
                f"the record does not fit the input's own schema: {error}; to send what another "
                f"writer made, say send(record, schema=...), or send bytes"
            ) from error

    def _id_of(self, contract: Contract) -> int:
        if contract.canonical not in self._ids:
            number = self.schemas.register(dict(contract.schema))
            assert isinstance(number, int)
            self._ids[contract.canonical] = number
        return self._ids[contract.canonical]

    def _moment(self, timestamp: int | None) -> tuple[int, int]:
        moment = START + self.sent * 1000 if timestamp is None else timestamp
        return (0, -1) if moment < 0 else (1, moment)

    def _keep(self, outcome: Outcome) -> Sent:
        published = [
            Published(self._read(fact.value), fact.key, fact.event_time, fact.value)
            for fact in outcome.facts
        ]
        rejected = [self._rejection(rejected) for rejected in outcome.rejected]
        tolerated = [rule for rule, _action in outcome.tolerated.elements()]
        self.published += published
        self.rejected += rejected
        self.filtered.update(outcome.filtered)
        self.tolerated.update(tolerated)
        return Sent(
            facts=[one.fact for one in published],
            filtered=next(iter(outcome.filtered), None),
            rejected=next(iter(rejected), None),
            tolerated=tolerated,
        )

    def _read(self, value: bytes) -> dict[str, Any]:
        body = BytesIO(value[5:])
        fact: Any = fastavro.schemaless_reader(body, self._contract, None)
        assert body.tell() == len(value) - 5
        return dict(fact)

    def _rejection(self, rejected: Rejected) -> Rejection:
        message = rejected.message
        assert isinstance(message, MemoryMessage)
        kind, moment = message.timestamp()
        headers = dead_letter_headers(
            rejected, provenance=self._provenance, now=moment if kind else START
        )
        return Rejection(rejected.fault_class, rejected.rule, rejected.reason, message, headers)

    def __repr__(self) -> str:
        filtered = dict(self.filtered)
        return (
            f"<{self.product.name}: {self.sent} sent -> {len(self.published)} facts, "
            f"filtered {filtered or 'none'}, rejected {self.rejected or 'none'}>"
        )


def _headers(headers: SentHeaders | None) -> Headers | None:
    if headers is None:
        return None
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]
