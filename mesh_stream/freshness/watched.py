"""One product under watch: what was learned of its partitions, and what that amounts to.

Knows no broker. Each look it is told how far its group and its topics are, says which records are
to be read, is given them, and makes up the evidence. What has not moved is not read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from mesh_stream.freshness.moments import Moments, Read, event_reader, fact_reader, input_reader
from mesh_stream.freshness.sli import Evidence, Objective, Waiting, objective_of
from mesh_stream.kafka.groups import Partition
from mesh_stream.pipeline.avro_input import WriterSchemas
from mesh_stream.pipeline.record import Message
from mesh_stream.product.product import Product
from mesh_stream.runtime.status import Status

Span = tuple[int, int]
"""(first offset, the one after the last)."""


@dataclass(slots=True)
class _Tail:
    """The newest of what lies before an offset of one partition.

    Attributes:
        upto: That offset.
        newest: Of the records that were read; the younger of each of their moments.
        guess: The same of those that could not be read for sure, and are read again.
    """

    upto: int = -1
    newest: Moments | None = None
    guess: Moments | None = None

    def span(self, begin: int, end: int) -> Span:
        """What has to be read where the partition is known to reach from `begin` to `end`."""
        if end < self.upto:
            # Made anew, or begun anew: what was seen there is no more.
            self.upto, self.newest = -1, None
        if self.guess is not None:
            self.upto, self.guess = -1, None
        return (max(begin, self.upto), end)

    def take(self, end: int, records: Iterable[Moments]) -> None:
        """Note what was read."""
        for moments in records:
            if moments.is_sure:
                self.newest = _younger(self.newest, moments)
            else:
                self.guess = _younger(self.guess, moments)
        self.upto = end

    @property
    def known(self) -> list[Moments]:
        return [moments for moments in (self.newest, self.guess) if moments is not None]


def _younger(one: Moments | None, other: Moments) -> Moments:
    if one is None:
        return other
    return Moments(
        max(one.arrived, other.arrived), max(one.event_time, other.event_time), other.is_sure
    )


@dataclass(slots=True)
class _Head:
    """The first record after an offset of one partition.

    Attributes:
        start: That offset.
        clear_to: No record is seen between there and here.
        record: Its offset and moments; None where none was found.
    """

    start: int = -1
    clear_to: int = -1
    record: tuple[int, Moments] | None = None

    def span(self, start: int, end: int) -> Span:
        """What has to be read where the group is at `start` and the partition ends at `end`."""
        if start < self.start or end < self.clear_to:
            # Begun anew, or made anew.
            self.clear_to, self.record = -1, None
        self.start = start
        if self.record is not None:
            offset, moments = self.record
            if offset >= start and moments.is_sure:
                return (end, end)
            self.record = None
        self.clear_to = max(self.clear_to, start)
        return (self.clear_to, end)

    def take(self, end: int, offset: int | None, moments: Moments | None) -> None:
        """Note what was read: a record, or that there is none before `end`."""
        if offset is None or moments is None:
            self.clear_to = max(self.clear_to, end)
        else:
            self.clear_to = offset
            self.record = (offset, moments)


@dataclass(slots=True)
class Extent:
    """How far a product's group and topics are.

    Attributes:
        committed: Partition -> next offset of the group, where it has committed one.
        begins: Partition -> its first offset.
        ends: Partition -> the one after its last.
    """

    committed: Mapping[Partition, int]
    begins: Mapping[Partition, int]
    ends: Mapping[Partition, int]

    def start(self, partition: Partition) -> int:
        """Where the group will read next."""
        begin, end = self.begins[partition], self.ends[partition]
        start = self.committed.get(partition, begin)
        # Before its first record: retention was faster. After its last: the topic was made anew.
        return start if begin <= start <= end else begin


@dataclass(slots=True)
class Spans:
    """Which records a product has to have read, by where they lie.

    Attributes:
        heads: Of which the first is wanted.
        tails: Of which the last few are, of what the group has processed.
        facts: Likewise, of what it has published.
    """

    heads: dict[Partition, Span] = field(default_factory=dict)
    tails: dict[Partition, Span] = field(default_factory=dict)
    facts: dict[Partition, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Since when a fact has been asked for.

    Attributes:
        fact: Event time of the newest fact.
        answered: Arrival of the last input record that came before that fact was seen.
        since: Of the first that came after; the same while none has.
    """

    fact: float | None
    answered: float | None
    since: float


class Watched:
    """What is known of one product.

    Args:
        product: The product.
        schemas: Finds the schemas that Avro records were written with.
    """

    def __init__(self, product: Product, schemas: WriterSchemas) -> None:
        self.product = product
        self.objective: Objective = objective_of(product)
        self._readers: dict[str, Read] = {
            port.topic: input_reader(port, product, schemas) for port in product.inputs
        }
        self.reads = [port.topic for port in product.inputs]
        if product.state is not None and product.state.repartitions:
            self._readers[product.repartition_topic] = event_reader()
            self.reads.append(product.repartition_topic)
        self._read_fact = fact_reader(product, schemas)
        self._inputs = frozenset(port.topic for port in product.inputs)
        self._heads: dict[Partition, _Head] = {}
        self._tails: dict[Partition, _Tail] = {}
        self._facts: dict[Partition, _Tail] = {}
        self._last_asked = self._newest_input = self._newest_event = 0
        self._asking: _Asking | None = None

    @property
    def needs(self) -> list[str]:
        """The topics without which nothing can be said of it."""
        return [*self.reads, self.product.output.topic]

    @property
    def topics(self) -> list[str]:
        """Every topic that it is seen by."""
        return [*self.needs, self.product.dead_letter_topic]

    def forget(self, topic: str) -> None:
        """The topic was made anew: what was seen there is no more."""
        for known in (self._heads, self._tails, self._facts):
            for partition in [partition for partition in known if partition[0] == topic]:
                del known[partition]

    def spans(self, extent: Extent) -> Spans:
        """Which records have to be read, now that everything is that far."""
        wanted = Spans()
        for partition, end in extent.ends.items():
            topic, begin = partition[0], extent.begins[partition]
            if topic in self._readers:
                start = extent.start(partition)
                head = self._heads.setdefault(partition, _Head())
                wanted.heads[partition] = head.span(start, end)
                if topic in self._inputs:
                    tail = self._tails.setdefault(partition, _Tail())
                    wanted.tails[partition] = tail.span(begin, start)
            elif topic == self.product.output.topic:
                fact = self._facts.setdefault(partition, _Tail())
                wanted.facts[partition] = fact.span(begin, end)
        return wanted

    def take_head(
        self, span: Span, partition: Partition, message: Message | None, at: float
    ) -> None:
        """Note the first record of a span, or that it holds none; seen at `at`."""
        moments = None if message is None else self._readers[partition[0]](message, at)
        offset = None if message is None else message.offset()
        self._heads[partition].take(span[1], offset, moments)

    def take_tail(
        self, span: Span, partition: Partition, messages: Iterable[Message], at: float
    ) -> None:
        """Note the last records of a span of an input; seen at `at`."""
        read = self._readers[partition[0]]
        self._tails[partition].take(span[1], [read(message, at) for message in messages])

    def take_facts(
        self, span: Span, partition: Partition, messages: Iterable[Message], at: float
    ) -> None:
        """Note the last facts of a span; seen at `at`."""
        read = self._read_fact
        self._facts[partition].take(span[1], [read(message, at) for message in messages])

    def evidence(self, statuses: Mapping[int, Status], at: float) -> Evidence:
        """What all of it amounts to, seen at `at`."""
        self._last_asked = _latest(self._last_asked, statuses, lambda said: said.last_asked)
        self._newest_input = _latest(self._newest_input, statuses, lambda said: said.newest_input)
        self._newest_event = _latest(self._newest_event, statuses, lambda said: said.newest_event)
        processed = [moments for tail in self._tails.values() for moments in tail.known]
        published = [moments for tail in self._facts.values() for moments in tail.known]
        newest_fact = _seconds(self._newest_event)
        if newest_fact is None or self.product.output.event_time is not None:
            # A fact that does not say when it happened only shows when it was published.
            newest_fact = _newest(newest_fact, (moments.event_time for moments in published))
        newest_input = _newest(
            _seconds(self._newest_input), (moments.event_time for moments in processed)
        )
        last_asked = _seconds(self._last_asked)
        if not statuses and last_asked is None:
            # Nobody tells what was filtered: every record may have asked for a fact.
            last_asked = _newest(None, (moments.arrived for moments in processed))
        return Evidence(
            seen_at=at,
            newest_fact=newest_fact,
            newest_input=newest_input,
            last_asked=last_asked,
            asked_since=self._asked_since(newest_fact, last_asked),
            waiting=self._waiting(),
        )

    def _waiting(self) -> Waiting | None:
        waiting = [
            Waiting(moments.arrived, moments.event_time)
            for head in self._heads.values()
            if head.record is not None
            for _, moments in [head.record]
        ]
        freshness = self.objective.freshness
        return min(waiting, key=lambda one: one.due(freshness), default=None)

    def _asked_since(self, newest_fact: float | None, last_asked: float | None) -> float | None:
        if last_asked is None:
            return None
        asking = self._asking
        if asking is None:
            self._asking = _Asking(newest_fact, None, last_asked)
        elif asking.fact != newest_fact:
            self._asking = _Asking(newest_fact, last_asked, last_asked)
        elif asking.since == asking.answered != last_asked:
            self._asking = replace(asking, since=last_asked)
        assert self._asking is not None
        return self._asking.since


def _latest(known: int, statuses: Mapping[int, Status], what: Callable[[Status], int]) -> int:
    # A worker that has just begun has seen nothing yet; what its predecessor saw stays true.
    return max([known, *(what(status) for status in statuses.values())])


def _seconds(milliseconds: int) -> float | None:
    return milliseconds / 1000 if milliseconds else None


def _newest(known: float | None, moments: Iterable[float]) -> float | None:
    return max(moments if known is None else [known, *moments], default=None)
