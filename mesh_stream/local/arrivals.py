"""Facts and dead letters as they arrive at a consumer: the demo's view from outside the workers.

A read-committed reader of its own follows every input, output and dead letter topic from where it
stood before the first worker started. It counts what each product was given and what came of it,
and how old facts were when they arrived. Nothing here is told by a worker: at the end, its counts
and theirs must be the same.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mesh_stream.consumer.dead_letters import read_dead_letter
from mesh_stream.consumer.facts import decode
from mesh_stream.errors import MeshError, PayloadError
from mesh_stream.kafka.groups import Partition
from mesh_stream.kafka.reader import Reader
from mesh_stream.pipeline.avro_input import AvroReader
from mesh_stream.pipeline.record import Message
from mesh_stream.product.product import Product

_POLL_SECONDS = 0.2
_RECENT_SECONDS = 5.0
# Ages are kept to the millisecond up to here, and to the second above.
_FINE_MS = 100_000


@dataclass(frozen=True, slots=True)
class Starts:
    """Where a product's topics stood before its workers started: partition -> next offset.

    Attributes:
        inputs: Where its group goes on reading.
        facts: The end of its output topic.
        letters: The end of its dead letter topic.
    """

    inputs: Mapping[Partition, int]
    facts: Mapping[Partition, int]
    letters: Mapping[Partition, int]


class Ages:
    """How old facts were on arrival, in milliseconds; bounded however many there are."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, millis: int) -> None:
        """Count one fact; one from the future counts as new."""
        self.counts[max(0, millis if millis < _FINE_MS else millis // 1000 * 1000)] += 1

    def quantile(self, share: float) -> int | None:
        """The age that this share of the facts did not exceed, in ms; None without facts."""
        wanted, seen = share * self.counts.total(), 0
        for millis in sorted(self.counts):
            seen += self.counts[millis]
            if seen >= wanted:
                return millis
        return None

    def share_within(self, millis: float) -> float | None:
        """The share of facts that were at most so old; None without facts."""
        total = self.counts.total()
        good = sum(count for age, count in self.counts.items() if age <= millis)
        return good / total if total else None


@dataclass(slots=True)
class Arrived:
    """What was read of one product.

    Attributes:
        inputs: Input records, with those of its own topic for events on their way to be keyed.
        facts: Facts.
        letters: (class, rule) -> dead letters that input records became.
        windows: (class, rule) -> dead letters that windows became, because their fact was wrong.
        strange: Records of the output topic that are no facts.
        ages: How old the facts were.
        recent: The same of some seconds lately; not changed any more.
        coming: What `recent` will be next.
    """

    inputs: int = 0
    facts: int = 0
    letters: Counter[tuple[str, str]] = field(default_factory=Counter)
    windows: Counter[tuple[str, str]] = field(default_factory=Counter)
    strange: int = 0
    ages: Ages = field(default_factory=Ages)
    recent: Ages = field(default_factory=Ages)
    coming: Ages = field(default_factory=Ages)


class Arrivals:
    """Follows the topics of several products, in a thread of its own.

    Args:
        products: The products, each with where it started.
        fed: Where the topics that are fed stood before the first record.
        reader: A reader that nobody else uses.
        schemas: Decodes facts.

    Attributes:
        of: Product -> what was read of it.
        fed: Records that were read of the topics that are fed.
        failure: Why the thread ended, if it failed.
    """

    def __init__(
        self,
        products: Mapping[str, tuple[Product, Starts]],
        fed: Mapping[Partition, int],
        *,
        reader: Reader,
        schemas: AvroReader,
    ) -> None:
        self.of = {name: Arrived() for name in products}
        self.fed = 0
        self.failure: MeshError | None = None
        self._reader = reader
        self._schemas = schemas
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        # One partition may be an output of one product and an input of the next.
        self._roles: dict[Partition, list[tuple[int, Callable[[Message, int], None]]]] = {}
        for name, (product, starts) in products.items():
            arrived = self.of[name]
            self._follow(starts.inputs, _count_input(arrived))
            self._follow(starts.facts, self._count_fact(arrived, product))
            self._follow(starts.letters, counting_letters(arrived, product))
        self._follow(fed, self._count_fed)

    def _follow(
        self, starts: Mapping[Partition, int], count: Callable[[Message, int], None]
    ) -> None:
        for partition, start in starts.items():
            self._roles.setdefault(partition, []).append((start, count))

    def start(self) -> None:
        """Begin to read."""
        starts = {
            partition: min(start for start, _ in roles) for partition, roles in self._roles.items()
        }
        self._reader.start(starts)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns once it has ended."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def as_of_now(self, product: str) -> Arrived:
        """What was read of a product until now; it does not change any more."""
        with self._lock:
            return copy.deepcopy(self.of[product])

    def has_reached(self, ends: Mapping[Partition, int]) -> bool:
        """Whether everything before these offsets has been read."""
        return self._reader.has_reached(ends)

    def _run(self) -> None:
        turn = time.monotonic() + _RECENT_SECONDS
        try:
            while not self._stop.is_set():
                records = self._reader.poll(_POLL_SECONDS)
                now = time.time_ns() // 1_000_000
                with self._lock:
                    for message in records:
                        self._take(message, now)
                if time.monotonic() >= turn:
                    turn += _RECENT_SECONDS
                    for arrived in self.of.values():
                        arrived.recent, arrived.coming = arrived.coming, Ages()
        except MeshError as error:
            self.failure = error

    def _take(self, message: Message, now: int) -> None:
        topic, number, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert number is not None
        assert offset is not None
        for start, count in self._roles[topic, number]:
            if offset >= start:
                count(message, now)

    def _count_fed(self, _message: Message, _now: int) -> None:
        self.fed += 1

    def _count_fact(self, arrived: Arrived, product: Product) -> Callable[[Message, int], None]:
        field_name = product.output.event_time

        def count(message: Message, now: int) -> None:
            arrived.facts += 1
            try:
                fields = decode(message, self._schemas).fields
            except PayloadError:
                arrived.strange += 1
                return
            moment = _millis(fields.get(field_name)) if fields and field_name else None
            if moment is not None:
                arrived.ages.add(now - moment)
                arrived.coming.add(now - moment)

        return count


def _count_input(arrived: Arrived) -> Callable[[Message, int], None]:
    def count(_message: Message, _now: int) -> None:
        arrived.inputs += 1

    return count


def counting_letters(arrived: Arrived, product: Product) -> Callable[[Message, int], None]:
    """Make what counts a product's dead letters, those of its windows apart."""

    def count(message: Message, _now: int) -> None:
        letter = read_dead_letter(message)
        # What a window became never was an input record.
        is_window = product.state is not None and letter.topic == product.changelog_topic
        letters = arrived.windows if is_window else arrived.letters
        letters[letter.fault_class, letter.rule] += 1

    return count


def _millis(value: Any) -> int | None:
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    return value if isinstance(value, int) else None
