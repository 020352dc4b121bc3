"""Drives a product's whole path: from a record to whatever becomes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import fastavro

from mesh_stream.pipeline.deadletter import Provenance, dead_letter_headers
from mesh_stream.pipeline.paths import paths_of
from mesh_stream.pipeline.pipeline import Interrupted
from mesh_stream.pipeline.record import Headers, Outcome, Rejected
from mesh_stream.pipeline.windows import EPOCH
from mesh_stream.product.loader import load_product
from mesh_stream.product.product import Input, Product
from mesh_stream.testing.memory import (
    CONTRACT_ID,
    MemoryMessage,
    MemorySchemas,
    MemoryStates,
    in_memory,
    partition_of,
)
from mesh_stream.testing.writing import SentHeaders, Writer, happened, headers_of, key_of

START = 1_767_225_600_000
"""Timestamp of a driver's first record: 2026-01-01T00:00:00Z, in milliseconds since the epoch."""


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
        message: The record as it was sent. Of an event that had to be keyed first: as it stood on
            the product's own topic. Of a window whose fact is wrong: its state, as JSON.
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
        partitions: Of each input, and of what it remembers.

    Attributes:
        product: The same.
        published: Facts with their keys and event times, in order.
        rejected: Dead letters, in order.
        filtered: Reason -> how many records.
        tolerated: Rule with the action `observe` or `warn` -> how many of the facts broke it.
        sent: How many records were sent.
        schemas: Writer schemas of Avro inputs.
    """

    def __init__(self, product: Product, *, partitions: int = 1) -> None:
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
        self._partitions = partitions
        self._offsets: Counter[tuple[str, int]] = Counter()
        self._writer = Writer(self.schemas, input_bytes=product.limits.input_bytes)
        paths = paths_of(product, schema_id=CONTRACT_ID, writers=self.schemas)
        self._pipelines = paths.pipelines
        self._states = None if paths.fold is None else MemoryStates(product, paths, partitions)
        self._is_held = False

    @classmethod
    def load(cls, folder: str | Path, *, partitions: int = 1) -> Self:
        """Drive the product of a folder.

        Raises:
            DeclarationError: The folder's files are wrong; names every fault.
        """
        return cls(load_product(Path(folder)), partitions=partitions)

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
        partition: int | None = None,
    ) -> Sent:
        """Send one record down the path.

        Args:
            record: What the input topic would carry: data, which is written as the input's format;
                bytes, or text that is sent as its UTF-8, as they are; or None, a tombstone. Data of
                an Avro input may hold decimals and moments as such or as JSON writes them.
            key: The record key; where it is left out, the field that the input declares as its key.
            headers: The record's headers.
            topic: The input; the product's first where it is left out.
            timestamp: Milliseconds since the epoch; -1 for a record without one. Left out: a second
                after the record before it; to a product with state, not before it happened.
            schema: For data on an Avro input: the schema of another writer; the input's own where
                it is left out.
            partition: The input's partition; the key's where it is left out.

        Raises:
            HaltError: The record breaks a rule with the action `fail`: a worker stops here.
            PlatformError: The transformation raised `DependencyError`: a worker tries again.
        """
        port = self._port(topic)
        keyed = key_of(record, port) if key is None else key
        record_key = keyed.encode() if isinstance(keyed, str) else keyed
        number = partition_of(record_key, self._partitions) if partition is None else partition
        if not 0 <= number < self._partitions:
            raise ValueError(
                f"no partition {number}; expected one of {self._partitions}, or more of them: "
                f"ProductDriver(product, partitions=...)"
            )
        message = MemoryMessage(
            topic_name=port.topic,
            payload=self._writer.value(record, port, schema),
            record_key=record_key,
            record_headers=headers_of(headers),
            record_timestamp=self._moment(timestamp, record, port),
            record_offset=self._offsets[port.topic, number],
            record_partition=number,
        )
        outcome = self._process(message)
        self._offsets[port.topic, number] += 1
        self.sent += 1
        return self._keep(outcome)

    def _process(self, message: MemoryMessage) -> Outcome:
        outcome, states = Outcome(), self._states
        before = None if states is None else states.before()
        try:
            self._pipelines[message.topic()].process([message], outcome)
            if states is not None:
                states.follow(message, outcome)
                if not self._is_held:
                    states.commit(outcome)
        except BaseException as error:
            if states is not None and not self._is_held:
                states.abort(before)
            if isinstance(error, Interrupted):
                raise error.cause from None
            raise
        return outcome

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        """What is sent within is one transaction; what is raised out of it aborts that.

        A worker commits so many records at once, and publishes at most one fact of each key (and
        window) then. Without this, each record is a transaction.
        """
        published, rejected, sent = len(self.published), len(self.rejected), self.sent
        filtered, tolerated = self.filtered.copy(), self.tolerated.copy()
        offsets = self._offsets.copy()
        before = None if self._states is None else self._states.before()
        self._is_held = True
        try:
            yield
            self._is_held = False
            if self._states is not None:
                outcome = Outcome()
                self._states.commit(outcome)
                self._keep(outcome)
        except BaseException:
            if self._states is not None:
                self._states.abort(before)
            del self.published[published:]
            del self.rejected[rejected:]
            self.filtered, self.tolerated = filtered, tolerated
            self.sent, self._offsets = sent, offsets
            raise
        finally:
            self._is_held = False

    def advance(self, to: datetime | int) -> Sent:
        """Let time pass: the events of every input have come to a moment.

        Windows close, and those of `emit: on_close` become facts; what has a `ttl` is forgotten;
        what comes after this and happened long before is late.

        Args:
            to: A moment with its time zone, or milliseconds since the epoch.
        """
        if self._states is None:
            raise ValueError(f"{self.product.name} has no state, and takes no notice of time")
        self._states.advance(_milliseconds(to))
        outcome = Outcome()
        if not self._is_held:
            self._states.commit(outcome)
        return self._keep(outcome)

    @property
    def states(self) -> dict[Any, Any]:
        """What is remembered, as of the last commit: by key, or by key and start of the window."""
        if self._states is None:
            raise ValueError(f"{self.product.name} has no state: it remembers nothing")
        return {
            key if start is None else (key, EPOCH + timedelta(milliseconds=start)): state
            for key, start, state in self._states.states()
        }

    def state(self, key: Any = "", window_start: datetime | int | None = None) -> Any:
        """What is remembered of a key, as of the last commit; None where that is nothing.

        Args:
            key: The key; left out for a product whose state has none.
            window_start: Of a product with windows: when the window, or the session, begins.
        """
        if window_start is None:
            return self.states.get(key)
        start = EPOCH + timedelta(milliseconds=_milliseconds(window_start))
        return self.states.get((key, start))

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
        return self._writer.frame(record, schema, header=header)

    def _port(self, topic: str | None) -> Input:
        if topic is None:
            return self.product.inputs[0]
        if topic not in self._ports:
            raise ValueError(
                f"{self.product.name} has no input {topic!r}; there are: {', '.join(self._ports)}"
            )
        return self._ports[topic]

    def _moment(self, timestamp: int | None, record: Any, port: Input) -> tuple[int, int]:
        moment = START + self.sent * 1000 if timestamp is None else timestamp
        if timestamp is None and self._states is not None:
            # Else every event of another day would lie too far ahead.
            moment = max(moment, happened(record, port) or 0)
        return (0, -1) if moment < 0 else (1, moment)

    def _keep(self, outcome: Outcome) -> Sent:
        published = [
            Published(self._read(fact.value), fact.key, fact.event_time, fact.value)
            for fact in outcome.facts
        ]
        rejected = [self._rejection(one) for one in (*outcome.rejected, *outcome.unfit)]
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
        message = in_memory(rejected.message)
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


def _milliseconds(moment: datetime | int) -> int:
    if isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone; expected one: datetime(..., tzinfo=UTC)")
    return (moment - EPOCH) // timedelta(milliseconds=1)
